"""Fidelity: our figures beside those of the thesis's Tables 3.2, 3.3, 5.2 and 5.4, whatever they are.

    python -m benchmarks.fidelity --quick             # minutes: fewer steps and seeds
    python -m benchmarks.fidelity --full --workers 2  # many hours; killed, the same command goes on
    python -m benchmarks.fidelity --full --write      # and the tables into benchmarks/RESULTS.md

`cells` says what there is and what the thesis prints, `plan` what a form runs and in which order, `runner` is one run
as a function, `workers` do many, `journal` is the file of finished runs, and `report` makes the tables.
"""
