"""Experiments on trained models: loss landscapes, implicit learning rates, representations, curves, runtimes.

One file an experiment; each is a function from a task, losses and seeds to a result with `as_json`, and draws itself in
`figures`. docs/experiments.md has the definitions.
"""
