"""The experiments on the command line: the numbers are the library's, several losses, figures, complaints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

from lossc.cli.experiments import split_settings
from lossc.grammar.library import named
from lossc.runtime.experiments.landscape import Window, landscapes
from lossc.runtime.tasks import Task, get_task
from lossc.runtime.training import TrainResult, train
from tests.cli.support import Ran

Run = Callable[..., Ran]
FEW = ("--steps", "5", "--seeds", "1")
LOOK = ("--points", "3", "--directions", "1", "--rows", "50")


@pytest.mark.parametrize(
    ("text", "loss", "sets"),
    [
        ("ace_phi:phi1=1.1", "ace_phi", ("phi1=1.1",)),
        ("a.loss:huber:delta=2,k=1e-3", "a.loss:huber", ("delta=2", "k=1e-3")),
        ("a.loss:huber", "a.loss:huber", ()),
        ("where(y == f, 1, (y - f)^2)", "where(y == f, 1, (y - f)^2)", ()),
        ("delta*(y - f)^2:delta=2", "delta*(y - f)^2", ("delta=2",)),
    ],
)
def test_a_loss_may_bring_its_settings(text: str, loss: str, sets: tuple[str, ...]) -> None:
    """`LOSS:name=value,...` is a loss and settings; other colons are left alone."""
    assert split_settings(text) == (loss, sets)


def test_landscapes_are_those_of_the_library(lossc: Run, tmp_path: Path) -> None:
    """JSON and text have the numbers of `landscapes`, for losses with settings, files and shared settings; the figure
    is written."""
    (tmp_path / "ace.py").write_text(named("ace_phi").emit("torch"))
    losses = ("label_smoothing", "label_smoothing:xi=0.3", "ace.py:phi1=1.1")
    args = ("landscape", *losses, "--set", "xi=0.2", "--plane", "3", *FEW, *LOOK)
    ran = lossc(*args, "-o", "l.png", "--json")
    modules = {
        "label_smoothing": named("label_smoothing").to_torch(xi=0.2),
        "label_smoothing:xi=0.3": named("label_smoothing").to_torch(xi=0.3),
        "ace:phi1=1.1": named("ace_phi").to_torch(phi1=1.1),
    }
    window = Window(points=3, directions=1, rows=50, side=3)
    expected = landscapes(get_task("digits", steps=5), modules, [0], window).as_json()
    assert ran.json["result"] == {**expected, "output": "l.png"}
    assert (tmp_path / "l.png").read_bytes().startswith(b"\x89PNG")
    shown = lossc(*args)
    for one in expected["losses"]:
        assert one["name"] in shown.out
        assert f"{one['flatness']['trace']['mean']:.3g}" in shown.out
    assert shown.err == ""


def test_the_scale_of_a_multiple(lossc: Run, tmp_path: Path) -> None:
    """3*mse is a learning rate three times as large, and nothing else: in text, in JSON and in the sweep."""
    args = ("lr-sweep", "3*(y - f)^2", "--task", "diabetes", "--rates", "0.01,0.03", *FEW)
    ran = lossc(*args)
    assert ran.code == 0 and "3*(y - f)^2 / 3" in ran.out
    record = lossc(*args, "-o", "s.svg", "--json").json["result"]
    assert [s["weights"]["scale"] for s in record["scales"]["3*(y - f)^2"]] == pytest.approx([3] * 5, rel=1e-4)
    base, it, matched = record["sweep"]
    assert base["gain"] is None and it["scale"] == pytest.approx(3, rel=1e-4)
    assert matched["rates"][0]["test"]["mean"] == pytest.approx(base["rates"][0]["test"]["mean"], rel=1e-4)
    assert b"<svg" in (tmp_path / "s.svg").read_bytes()
    only = lossc("lr-sweep", "3*(y - f)^2", "--task", "diabetes", "--scale-only", *FEW)
    assert only.out == ran.out[: len(only.out)] and "best rate" not in only.out


def test_representations_curves_and_times(lossc: Run) -> None:
    """Text shows what JSON has, for each loss; figures are written."""
    common = ("label_smoothing", "ace_phi:phi1=1.1", "--steps", "4", "--seeds", "2")
    record = lossc("representations", *common, "--rows", "60", "-o", "t.png", "--json").json["result"]
    assert [one["name"] for one in record["losses"]] == ["cross_entropy", "label_smoothing", "ace_phi:phi1=1.1"]
    assert len(record["losses"][0]["picture"]) == len(record["losses"][0]["classes"]) == 60
    shown = lossc("representations", *common, "--rows", "60").out
    tight = record["losses"][2]["figures"]["train"]["tightness"]
    assert f"{tight['mean']:.4f} ± {tight['std']:.4f}" in shown
    record = lossc("curves", *common, "--points", "2", "-o", "c.pdf", "--json").json["result"]
    last = record["losses"][1]["last"]["val"]
    assert f"{last['mean']:.4f} ± {last['std']:.4f}" in lossc("curves", *common, "--points", "2").out
    assert record["losses"][1]["mean"]["val"][-1] == last["mean"]
    timed = ("runtime", "label_smoothing", "sparse_lsr:xi=0.2", "--classes", "4,3", "--rows", "5", "--blocks", "2")
    record = lossc(*timed, "-o", "r.png", "--json").json["result"]
    assert record["losses"] == ["label_smoothing", "sparse_lsr:xi=0.2"]
    assert {t["classes"] for t in record["times"]} == {3, 4} and len(record["times"]) == 16
    shown = lossc(*timed).out
    assert shown.count("sparse_lsr:xi=0.2 (ratio)") == 4 and "4 / 3" in shown
    assert all(Path(name).stat().st_size > 5000 for name in ("t.png", "c.pdf", "r.png"))


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("landscape", "mse"), "L222"),
        (("landscape", "ace", "ace", *FEW), "L235"),
        (("landscape", "ace", "--set", "xi=0.1"), "L201"),
        (("landscape", "ace:xi=0.1"), "L201"),
        (("landscape", "ace", "--points", "2"), "L223"),
        (("landscape", "ace", "-o", "l.jpg"), "L260"),
        (("landscape", "ace", "-o", "none/l.png"), "L233"),
        (("landscape", "ace", "--seeds", "0"), "L223"),
        (("representations", "mse", "--task", "diabetes", "-o", "t.png"), "L222"),
        (("representations", "ace", "--model", "logistic", *FEW), "L222"),
        (("curves", "ace", "--points", "0"), "L223"),
        (("runtime", "mse"), "L222"),
        (("runtime", "ace", "--classes", "3,many"), "L236"),
        (("runtime", "ace", "--classes", "1"), "L223"),
        (("runtime", "ace", "--classes", "10000000"), "L223"),
        (("runtime", "ace", "--rows", "0"), "L223"),
        (("runtime", "ace", "--blocks", "1"), "L223"),
        (("lr-sweep", "ace", "--rates", "0.1,fast"), "L236"),
        (("lr-sweep", "ace", "--rates", "0"), "L223"),
        (("lr-sweep", "ace", "--scale-only", "-o", "l.png"), "L235"),
    ],
)
def test_calls_that_cannot_be(lossc: Run, args: tuple[str, ...], code: str) -> None:
    """Refused before any work is done, with a code; no file is left."""
    ran = lossc(*args)
    assert ran.code in (1, 2) and f"error[{code}]" in ran.err and ran.out == ""
    assert lossc(*args, "--json").json["error"]["code"] == code
    assert not list(Path.cwd().glob("*.png"))


def test_an_interrupted_sweep_shows_what_is_done(lossc: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the second seed: the table of the first, a clean message, no figure, exit code 130."""
    calls = []

    def training(task: Task, loss: nn.Module, seed: int, **more: object) -> TrainResult:
        calls.append(seed)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return train(task, loss, seed)

    monkeypatch.setattr("lossc.runtime.experiments.sweep.train", training)
    ran = lossc(
        "lr-sweep", "mae", "--task", "diabetes", "--steps", "2", "--seeds", "3", "--rates", "0.01", "-o", "a.png"
    )
    assert (ran.code, calls) == (130, [0, 0, 0, 1, 1, 1])
    assert "at the best rate" in ran.out and "±" not in ran.out.partition("at the best rate")[2]
    assert "interrupted: 5 runs were done" in ran.err
    assert not Path("a.png").exists()
