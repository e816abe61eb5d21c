"""Fitness, folds, inheritance and the comparison at the end: what a loss is worth, and what was seen before."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel
from torch import nn

import lossc
from lossc.compiler.errors import UsageError, Warnings
from lossc.compiler.ir import F, Y, leaves, node, preorder
from lossc.compiler.passes.parameterize import OUTPUTS, edge_coefficients, parameterize
from lossc.runtime.meta.symbolic import Symbolic
from lossc.runtime.search.bench import Bench, make_run
from lossc.runtime.search.candidate import run_job
from lossc.runtime.search.config import make_search_config
from lossc.runtime.search.filters import equivalent
from lossc.runtime.search.finals import Tested, difference
from lossc.runtime.search.fitness import HOPELESS, measured
from lossc.runtime.search.generate import random_loss
from lossc.runtime.search.inherit import inherited
from lossc.runtime.search.seen import Seen
from lossc.runtime.search.variation import Variation, one_point
from lossc.runtime.tasks import TaskSpec, get_task
from lossc.runtime.training import train


def bench(**changes: Any) -> Bench:
    """Diabetes, small batches."""
    config = make_search_config("quick", **{"fitness_steps": 12, "rung": 0.0, **changes})
    return Bench(get_task("diabetes", batch_size=16), config)


# -- fitness ----------------------------------------------------------------------------------------------------------


def test_fitness_is_the_training_that_train_does() -> None:
    """With one seed and no rungs: the metric of an ordinary training on the fold for fitnesses."""
    here = bench()
    found = measured(here, nn.MSELoss())
    from lossc.runtime.data import derive

    plain = train(here.task.with_settings(steps=12), nn.MSELoss(), derive(here.config.seed, "fitness", 0))
    assert found.fitness == plain.val and found.values == [plain.val] and found.steps == 12


class Constant(nn.Module):
    """Depends on the prediction, and leads nowhere near the target."""

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return -(input - target).abs().mean()


def test_the_hopeless_are_given_up_at_the_rung() -> None:
    """A loss that drives predictions away is trained for a quarter of the steps; a good one for all of them."""
    here = bench(rung=0.25)

    bad, good = measured(here, Constant()), measured(here, nn.MSELoss())
    assert (bad.why, bad.fitness, bad.steps) == (HOPELESS, None, 3)
    assert good.why == "" and good.steps == 12
    assert good.fitness == measured(bench(), nn.MSELoss()).fitness  # the rung is a stop on the same way


def test_a_race_stops_behind_the_best() -> None:
    """Behind by more than the margin at every seed so far: no more seeds, and the estimate is paired."""
    here = bench(fitness_seeds=4, race_margin=0.1)
    whole = measured(here, nn.MSELoss())
    assert len(whole.values) == 4 and whole.fitness == pytest.approx(sum(whole.values) / 4)

    ahead = [v * 0.5 for v in whole.values]
    raced = measured(here, nn.MSELoss(), ahead)
    assert raced.values == whole.values[:1] and raced.steps == 12
    assert raced.fitness == pytest.approx(sum(ahead) / 4 + whole.values[0] - ahead[0])
    close = measured(here, nn.MSELoss(), [v - 1e-3 for v in whole.values])
    assert close == whole  # within the margin: all seeds
    assert measured(here, nn.MSELoss(), [0.0]) == whole  # not of as many seeds: not comparable


# -- the parts of the data --------------------------------------------------------------------------------------------


def test_the_folds_share_no_row() -> None:
    """Training, the fold for fitnesses, the fold for judging again and the test part: each row once."""
    here = bench()
    first, last = here.task.split(0), here.final.split(5)

    parts = [first.train.rows, first.val.rows, last.val.rows, last.test.rows]
    rows = torch.cat(parts).tolist()
    assert len(rows) == len(set(rows)) == len(here.whole.data.targets)
    assert torch.equal(here.task.split(7, torch.float64).val.rows, first.val.rows)
    assert torch.equal(first.train.rows, last.train.rows)
    whole = bench(folds=False)
    assert torch.equal(whole.task.split(0).val.rows, whole.final.split(0).val.rows)


def test_the_baseline_is_tested_like_any_loss() -> None:
    """A test without a loss is a training with torch's own baseline, on the test part."""
    here = bench()
    loss = lossc.parse("(y - f)^2").to_json()
    ours = run_job(here, {"stage": "test", "loss": None, "seed": 3})
    same = Symbolic(lossc.Loss.from_json(loss), output=here.config.output)

    other = run_job(here, {"stage": "test", "loss": loss, "phi": [1.0] * same.size, "seed": 3})
    assert ours["test"] is not None and other["steps"] == ours["steps"] == here.whole.steps
    assert run_job(here, {"stage": "test", "loss": None, "seed": 3})["test"] == ours["test"] != other["test"]


def test_a_worker_makes_its_bench_from_plain_data() -> None:
    """The same outcome as here."""
    config = make_search_config("quick", meta_steps=2, fitness_steps=3)
    given_ = {"task": TaskSpec("diabetes", batch_size=16).as_json(), "settings": config.model_dump(mode="json")}
    job = {"stage": "train", "loss": lossc.parse("(y - f)^2").to_json()}

    there, here = make_run(given_)(job), run_job(Bench(get_task("diabetes", batch_size=16), config), job)
    assert {**there, "seconds": 0} == {**here, "seconds": 0}


def test_a_task_as_plain_data() -> None:
    """There and back; settings that an own task cannot have, and what is no task, are said to be."""
    spec = TaskSpec("diabetes", size="thesis", lr=0.1)
    assert TaskSpec.from_json(spec.as_json()) == spec and spec.load(Warnings()).sgd.lr == 0.1
    assert TaskSpec("a.py:t", data="d").anchored().name.startswith("/")
    for wrong in ({}, {"name": "x", "nope": 1}):
        with pytest.raises(UsageError):
            TaskSpec.from_json(wrong)
    with pytest.raises(UsageError) as caught:
        TaskSpec("mine.py:task", target_scale="minmax").load()
    assert "--target-scale" in str(caught.value)


# -- inheritance ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", list(OUTPUTS))
@given(seed=st.integers(0, 10_000))
def test_every_coefficient_has_its_edge(output: str, seed: int) -> None:
    """Setting the coefficient of an edge multiplies what the subtree there gives; all coefficients are found once."""
    loss = lossc.Loss(random_loss(random.Random(seed)), "found", "real", "real")
    weighted = parameterize(loss, output=output)

    edges = edge_coefficients(loss, weighted, output=output)
    assert len(edges) == loss.body.tree_size
    assert sorted(i for i in edges if i is not None) == list(range(len(leaves(weighted.body, "coef"))))
    for here, index in zip(preorder(loss.body), edges, strict=True):
        if index is None:
            continue
        below = [n.args[1] for n in preorder(weighted.body) if n.op == "mul" and n.args[0].op == "coef"
                 and n.args[0].index == index]  # fmt: skip
        assert {b.op for b in below} == {here.op}


def test_a_child_takes_over_what_it_shares() -> None:
    """The frame from the first parent, an exchanged subtree from the second, and nothing for what is new."""
    first = lossc.parse("tanh(y*f) + square(y - f)").body
    second = lossc.parse("abs(y - f)*f").body
    learned = [(first, [float(i) for i in range(first.tree_size)]), (second, [100.0 + i for i in range(6)])]

    child = lossc.parse("tanh(abs(y - f)) + square(y - f)").body
    assert inherited(child, learned) == [0, 1, 101, 102, 103, 104, 5, 6, 7, 8]
    new = node("add", node("tanh", node("max", Y, F)), first.args[1])
    assert inherited(new, learned) == [0, 1, None, None, None, 5, 6, 7, 8]
    assert inherited(first, learned) == learned[0][1]
    assert inherited(child, []) == [None] * child.tree_size


@given(seed=st.integers(0, 10_000))
def test_inheriting_is_total(seed: int) -> None:
    """A value or None for every node, whatever crossover makes; values come from the parents."""
    rng = random.Random(seed)
    first, second = random_loss(rng), random_loss(rng)
    child = one_point(rng, first, second, Variation())
    learned = [(first, [float(i) for i in range(first.tree_size)]), (second, [1000.0 + i for i in range(1000)])]

    found = inherited(child, learned)
    assert len(found) == child.tree_size
    assert found[0] is not None  # the root is the first parent's
    if child is first:
        assert found == learned[0][1]


def test_learning_starts_from_the_parents() -> None:
    """With no meta-steps to change them, the child's coefficients are its parents'."""
    here = bench(meta_steps=0)
    child, parent = lossc.parse("abs(y - f)").to_json(), lossc.parse("abs(y - f)*f").to_json()
    phi = [0.5 + 0.1 * i for i in range(Symbolic(lossc.Loss.from_json(parent), output="softplus").size)]
    edges = Symbolic(lossc.Loss.from_json(parent), output="softplus").edges

    found = run_job(here, {"stage": "train", "loss": child, "parents": [{"loss": parent, "phi": phi}]})
    expected = [phi[i] for i in edges[1:5] if i is not None]
    assert found["phi"] == expected and len(expected) == 4


# -- what was seen, and what is clear ---------------------------------------------------------------------------------

ENTRY = st.one_of(
    st.floats(-1e3, 1e3, allow_nan=False), st.floats(-1e-8, 1e-8, allow_nan=False),
    st.sampled_from([0.0, 1e-12, -1e-12]),
)  # fmt: skip


@given(st.lists(st.lists(ENTRY, min_size=1, max_size=3), min_size=1, max_size=12), st.floats(-0.06, 0.06))
def test_buckets_find_what_comparing_with_all_finds(signatures: list[list[float]], shift: float) -> None:
    """The lowest ticket with an equivalent signature, near the edge of the tolerance too."""
    seen = Seen()
    for ticket, signature in enumerate(signatures):
        seen.add(ticket, signature)
    for asked in (signatures[-1], [v * (1 + shift) for v in signatures[-1]]):
        everyone = [t for t, s in enumerate(signatures) if equivalent(s, asked)]
        assert seen.first(asked) == min(everyone, default=None)


def test_differences_are_paired() -> None:
    """p is that of SciPy's paired t-test; equal rows have no difference, missing values no p."""
    ours, theirs = Tested("a", (0.5, 0.6, 0.4, 0.55)), Tested("b", (0.52, 0.65, 0.41, 0.6))
    found = difference(ours, theirs)

    assert found.p == pytest.approx(ttest_rel(theirs.values, ours.values).pvalue, rel=1e-9)
    assert found.gain.mean == pytest.approx(0.0325) and found.clear == ((found.p or 1) < 0.05)
    assert difference(ours, ours).p == 1.0 and not difference(ours, ours).clear
    gone = difference(ours, Tested("c", (0.5, None, 0.4, 0.5)))
    assert gone.p is None and math.isnan(gone.gain.mean) and not gone.clear
    assert difference(Tested("a", (0.5,)), Tested("b", (0.7,))).p is None
