"""The fidelity benchmark: runs are functions of their jobs, a torn journal is gone on with, tables say what was run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.fidelity import __main__ as command
from benchmarks.fidelity.cells import LABELS, METHODS, SETUPS
from benchmarks.fidelity.journal import Journal
from benchmarks.fidelity.plan import FORMS, Form, Job, jobs
from benchmarks.fidelity.report import early, gain, report, spread
from benchmarks.fidelity.runner import Outcome, family_of, in_range_units, run, task_of
from benchmarks.fidelity.workers import run_all
from lossc.runtime.data import AS_PUBLISHED, HONEST
from lossc.runtime.tasks import SGD
from lossc.runtime.training import train

TINY = Form("quick", 3, 2, 2, 0, 1, size="small")


def tiny(only: Sequence[str]) -> list[Job]:
    """Jobs of three steps on a small network; diabetes needs no data folder."""
    return jobs(TINY, only)


def told(job: Job, outcome: Outcome) -> None:
    """Nothing is shown."""


def outcome(test: float, failure: str = "") -> Outcome:
    """A run that came to `test`."""
    return Outcome(test, test, test / 2, 500, failure, "", 1.0)


@pytest.mark.parametrize("job", tiny(["3/diabetes", "5/diabetes", "5/diabetes-standard"]), ids=str)
def test_every_method_runs_end_to_end(job: Job) -> None:
    """From a job to finite metrics, the same ones again; the baseline is the product's own training."""
    found = run(job)

    assert math.isfinite(found.test) and not found.failure
    assert replace(run(job), seconds=0) == replace(found, seconds=0)
    task = task_of(SETUPS[job.setup], job)
    assert bool(found.learned) == (job.method != "baseline")
    if job.method == "baseline" and not SETUPS[job.setup].to_range:
        assert found.test == train(task, task.baseline_loss(), job.seed).test


def test_taylorglo_is_the_papers() -> None:
    """50 generations from 0 on, in the full form, and after all other runs."""
    planned = jobs(FORMS["full"], ["3/diabetes"])
    by_cma = [job for job in planned if job.method == "taylorglo"]
    family = family_of("taylorglo", task_of(SETUPS["3/diabetes"], by_cma[0]))

    assert planned[-len(by_cma) :] == by_cma and {job.learning for job in by_cma} == {50}
    assert family.size == 8 and not family.initial(0).any()


def test_tasks_are_set_up_as_their_chapters_say() -> None:
    """Chapter 5 has plain SGD of 1e-3 and targets in 0..1, chapter 3 the recipe of the public code."""
    job = Job("3/diabetes", "baseline", 0, AS_PUBLISHED, 7)
    offline, online = task_of(SETUPS["3/diabetes"], job), task_of(SETUPS["5/diabetes"], job)

    assert (offline.sgd, offline.batch_size) == (SGD(0.01, 0.9, True, 5e-4), 128)
    assert (online.sgd, online.target_scale) == (SGD(0.001), "minmax")
    assert offline.dealing == online.dealing == AS_PUBLISHED and offline.steps == 7


def test_units_of_the_range() -> None:
    """What predicts the training mean has the variance over the squared range, whichever way targets are scaled."""
    setup = SETUPS["5/diabetes-standard"]
    task = task_of(setup, Job(setup.key, "baseline", 0, HONEST, 7))
    y = replace(task, target_scale="minmax").split(0).train.y

    found = in_range_units(outcome(1.0), task, 0)
    assert found.test == found.val == pytest.approx(float(y.var(correction=0)), rel=1e-5)
    assert math.isclose(found.best_val, found.test / 2)


def test_a_torn_journal_is_gone_on_with(tmp_path: Path) -> None:
    """Killed in the middle of a line: what was whole is kept, the rest is run again, and no line is spoilt."""
    todo = tiny(["3/diabetes"])[:3]
    whole, torn = Journal(tmp_path / "a" / "whole.jsonl"), Journal(tmp_path / "torn.jsonl")
    assert run_all(todo, whole, told) == 3
    lines = whole.path.read_bytes().splitlines(keepends=True)
    torn.path.write_bytes(lines[0] + b'{"job": 1}\n' + lines[1][:-20])

    known = torn.read()
    assert list(known) == todo[:1]
    assert run_all([j for j in todo if j not in known], torn, told) == 2
    again = {job: replace(found, seconds=0) for job, found in torn.read().items()}
    assert again == {job: replace(found, seconds=0) for job, found in whole.read().items()}


def test_what_is_not_finite_survives_the_journal(tmp_path: Path) -> None:
    """NaN is written as null, and read as NaN."""
    journal, job = Journal(tmp_path / "runs.jsonl"), tiny(["3/diabetes"])[0]
    journal.add(job, outcome(math.nan, "the training loss is inf at step 3"))

    assert "NaN" not in journal.path.read_text()
    assert math.isnan(journal.read()[job].test) and journal.read()[job].failure


def test_no_run_starts_after_the_time(tmp_path: Path) -> None:
    """`minutes` ends a benchmark between two runs."""
    assert run_all(tiny(["3/diabetes"]), Journal(tmp_path / "runs.jsonl"), told, minutes=-1) == 0


@pytest.mark.parametrize("form", FORMS.values(), ids=lambda f: f.name)
def test_a_plan_has_every_run_once(form: Form) -> None:
    """No job twice, every cell from seed 0 on, the leaky split where it exists, all methods labelled."""
    planned = jobs(form)

    assert len(set(planned)) == len(planned)
    for cell in {job.cell for job in planned}:
        seeds = sorted(job.seed for job in planned if job.cell == cell)
        assert seeds == list(range(len(seeds)))
        assert SETUPS[cell[0]].published or cell[2] == HONEST
    assert {job.method for job in planned} <= set(LABELS)
    assert {job.seed for job in jobs(form, ["diabetes"], 1)} == {0}


def test_figures_are_those_of_the_tables() -> None:
    """A figure of each table, by hand; every method that the thesis has is there."""
    printed = {
        ("3/mnist-lenet5", "symbolic"): "0.0100 ± 0.0010", ("3/boston", "ml3"): "0.2474 ± 0.0526",
        ("5/california", "adalfl"): "0.0151 ± 0.0007", ("5/diabetes", "meta-lr"): "0.0463 ± 0.0013",
    }  # fmt: skip

    assert {k: str(SETUPS[k[0]].figures[k[1]]) for k in printed} == printed
    assert all(set(s.figures) == set(METHODS[s.chapter]) for s in SETUPS.values())


def test_the_table_counts_what_diverged() -> None:
    """Mean and deviation are of the runs that ended, gains of seeds where both did; the leaky split has a column."""
    form = Form("quick", 3, 2, 2, 0, 3)
    runs = {job: outcome(0.5) for job in jobs(form, ["3/diabetes"]) if job.method == "baseline"}
    ml3 = {job: outcome(0.1 * (job.seed + 1)) for job in jobs(form, ["3/diabetes"]) if job.method == "ml3"}
    honest = {job: found for job, found in ml3.items() if job.split == HONEST}
    last = next(job for job in honest if job.seed == 2)
    honest[last] = outcome(math.nan, "the training loss is inf at step 3")
    runs |= ml3 | honest

    assert spread(honest) == "0.1500 ± 0.0707"
    assert gain(runs, honest) == "0.3500 ± 0.0707"
    assert early(honest) == "0.0750 at 500"
    assert spread({last: honest[last]}) == "diverged" and spread({}) == ""
    text = report(form, runs, ["5/crime"])
    assert "12 of the" in text and "5/crime" in text
    assert (
        "| Diabetes, MLP | ML3 | 0.4278 ± 0.1080 (3.3) | 0.1500 ± 0.0707 | 3, 1 diverged | 0.3500 ± 0.0707 "
        "| 0.2000 ± 0.1000 | 3 | 0.0750 at 500 |" in text
    )


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It skips what has no data and says so, runs the rest, and does nothing a second time."""
    monkeypatch.delenv("LOSSC_DATA", raising=False)
    monkeypatch.setattr(command, "FORMS", {"quick": TINY})
    call = ["--quick", "--only", "3/diabetes,crime", "--workers", "0", "--results", str(tmp_path / "runs.jsonl")]

    command.main(call)
    first = capsys.readouterr()
    assert "skipped 5/crime: error[L226]" in first.err and "8 runs to do" in first.err
    assert "| Diabetes, MLP | baseline | 0.3829 ± 0.0065 (3.3) | " in first.out
    assert "for want of files: 5/crime" in first.out
    command.main(call)
    second = capsys.readouterr()
    assert "0 runs to do" in second.err and second.out == first.out
