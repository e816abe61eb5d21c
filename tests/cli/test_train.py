"""`lossc train` and `lossc demo`: every kind of LOSS, honest tables, clear complaints."""

from __future__ import annotations

import json
import math
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lossc.cli.commands import demo, train
from lossc.compiler.loss import Loss
from lossc.grammar.library import named
from lossc.runtime import tasks
from lossc.runtime.models import FLAT, IMAGES
from lossc.runtime.search import session
from lossc.runtime.search.session import Where
from lossc.runtime.tasks import get_task
from lossc.runtime.training import compare
from tests.cli.support import Ran, environment, example
from tests.runtime import datasets

Run = Callable[..., Ran]
FEW = ("--steps", "5")


def rows(ran: Ran) -> dict[str, float]:
    """The test metric of each loss, from JSON."""
    assert ran.code == 0, ran.err + ran.out
    return {row["name"]: row["test"]["mean"] for row in ran.json["result"]["rows"]}


def test_the_numbers_are_those_of_the_library(lossc: Run) -> None:
    """The JSON is `compare` with the seeds 0 to N-1; the text has these numbers, the metric, its units, the seeds."""
    args = ("train", "pseudo_huber", "--seeds", "2", *FEW)
    expected = compare(get_task("diabetes", steps=5), {"pseudo_huber": named("pseudo_huber").to_torch()}, range(2))
    ran, record = lossc(*args), lossc(*args, "--json").json["result"]
    for row, shown in zip(expected.rows, record["rows"], strict=True):
        assert shown["name"] == row.name
        assert shown["test"] == {"mean": row.test.mean, "std": row.test.std, "n": 2}
        assert f"{row.name:<12}  {row.test}  {row.val}" in ran.out
    assert [r["name"] for r in record["rows"]] == ["mse", "pseudo_huber"]
    assert record["seeds"] == [0, 1]
    for part in ("5 steps", "MSE: mean squared error in standardised units", "2 seeds: mean ± standard deviation"):
        assert part in ran.out
    assert ran.err == ""


def test_every_kind_of_loss_trains_the_same(lossc: Run, tmp_path: Path) -> None:
    """A named loss, its formula, a .loss file, a .json file and the emitted .py give the same numbers."""
    loss = named("cauchy")
    (tmp_path / "a.loss").write_text(loss.definition())
    (tmp_path / "a.json").write_text(loss.to_json())
    (tmp_path / "a.py").write_text(loss.emit("torch"))
    expected = rows(lossc("train", "cauchy", *FEW, "--json"))["cauchy"]
    for text, label in (("a.loss", "cauchy"), ("a.json", "cauchy"), ("a.py", "a")):
        assert rows(lossc("train", text, *FEW, "--json"))[label] == expected
    formula = rows(lossc("train", str(loss), "--param", "delta=1", *FEW, "--json"))
    assert list(formula.values())[1] == expected


def test_a_loss_equal_to_the_baseline_ties_with_it(lossc: Run) -> None:
    """The same splits, weights and batches for all: (y - f)^2 gains exactly nothing on torch's MSE to six digits, and a
    cross-entropy formula nothing on torch's own."""
    mse = rows(lossc("train", "(y - f)^2", *FEW, "--json"))
    assert math.isclose(mse["mse"], mse["(y - f)^2"], rel_tol=1e-5)
    ce = rows(lossc("train", "-y*log(f)", "--task", "digits", "--steps", "30", "--json"))
    assert ce["cross_entropy"] == ce["-y*log(f)"]


def test_hyper_parameters_of_an_emitted_file(lossc: Run, tmp_path: Path) -> None:
    """--set reaches the module of an emitted file, --name its row; a wrong one is the call's fault."""
    (tmp_path / "ph.py").write_text(named("pseudo_huber").emit("torch"))
    by_file = rows(lossc("train", "ph.py", "--set", "delta=0.25", "--name", "small", *FEW, "--json"))["small"]
    by_name = rows(lossc("train", "pseudo_huber", "--set", "delta=0.25", *FEW, "--json"))["pseudo_huber"]
    assert by_file == by_name
    assert lossc("train", "ph.py", "--set", "gamma=1", *FEW).code == 2
    assert lossc("train", "ph.py", "--set", "delta=-1", *FEW).code == 2
    assert lossc("train", "ph.py", "--y", "real", *FEW).code == 2


def test_roles_are_assumed_for_a_formula_and_said(lossc: Run) -> None:
    """A bare formula on a classification task means y: onehot, f: prob; that is said, unless roles are given."""
    assumed = lossc("train", "-y*log(f)", "--task", "digits", *FEW)
    assert assumed.code == 0
    assert "assuming --y onehot --f prob" in assumed.err
    given = lossc("train", "-y*log(f)", "--y", "onehot", "--f", "prob", "--task", "digits", *FEW)
    assert (given.code, given.err) == (0, "")
    assert [line.split()[1:3] for line in given.out.splitlines()[4:]] == [
        line.split()[1:3] for line in assumed.out.splitlines()[4:]
    ]


def test_losses_that_do_not_suit_the_task_are_refused(lossc: Run, tmp_path: Path) -> None:
    """Classwise losses on a regression task and elementwise ones on classes, named or emitted, end in L222."""
    (tmp_path / "ace.py").write_text(named("ace").emit("torch"))
    (tmp_path / "mse.py").write_text(named("mse").emit("torch"))
    for text, task in (("ace", "diabetes"), ("ace.py", "diabetes"), ("mse", "digits"), ("mse.py", "digits")):
        ran = lossc("train", text, "--task", task, *FEW)
        assert (ran.code, ran.out) == (2, "")
        assert "error[L222]" in ran.err


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["mse", "--task", "diabets"], "L221"),
        (["mse", "--size", "huge"], "L221"),
        (["mse", "--steps", "0"], "L223"),
        (["mse", "--lr", "nan"], "L223"),
        (["mse", "--batch-size", "-1"], "L223"),
        (["mse", "--seeds", "0"], "L223"),
        (["mse", "--seeds", "1000001"], "L223"),
        (["mse", "--threads", "0"], "L223"),
        (["a*(y - f)^2", "--param", "a"], "L242"),
        (["none.py"], "L230"),
    ],
)
def test_settings_that_cannot_be(lossc: Run, args: list[str], code: str) -> None:
    """Each bad setting is the call's fault, with its own code."""
    ran = lossc("train", *args, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, code)


def test_a_loss_without_f_is_the_losss_fault(lossc: Run) -> None:
    """There is nothing to learn from y^2."""
    ran = lossc("train", "y^2")
    assert ran.code == 1
    assert "error[L320]" in ran.err


def test_divergence_is_reported_not_hidden(lossc: Run) -> None:
    """A loss that becomes NaN ends its run, the table counts it and a line says when; JSON stays valid JSON."""
    ran, record = lossc("train", "log(y - f)", *FEW), lossc("train", "log(y - f)", *FEW, "--json")
    assert ran.code == record.code == 0
    assert "1 of 1" in ran.out
    assert "log(y - f) diverged (seed 0: the training loss is nan at step 1)" in ran.out
    assert record.json["result"]["rows"][1]["diverged"] == 1
    wild = lossc("train", "(y - f)^2", "--lr", "1e30", *FEW, "--json")
    assert wild.json["result"]["rows"][1]["diverged"] == 1


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1", "defines no loss"),
        ("x = (", "does not run"),
        ("import torch\nclass Loss(torch.nn.Module):\n    def __init__(self, reduction): 1/0", "cannot be made"),
        ("import torch\nclass Loss(torch.nn.Module):\n    def __init__(self): super().__init__()", "cannot be made"),
        (
            "import torch\nclass Loss(torch.nn.Module):\n    def __init__(self, reduction): super().__init__()\n"
            "    def forward(self, a, b): return {}['x']",
            "failed in training: KeyError",
        ),
    ],
)
def test_files_of_the_users_own_that_fail(lossc: Run, tmp_path: Path, source: str, said: str) -> None:
    """What goes wrong inside a .py file that the user names is said to be that, not a bug of lossc."""
    (tmp_path / "mine.py").write_text(source)
    ran = lossc("train", "mine.py", *FEW)
    assert ran.code == 2
    assert "error[L243]" in ran.err
    assert "mine.py" in ran.err
    assert said in ran.err


def test_an_edited_file_is_what_trains(lossc: Run, tmp_path: Path) -> None:
    """A user's own module, never emitted by lossc, trains as it is."""
    (tmp_path / "mine.py").write_text("import torch\n\nclass Loss(torch.nn.L1Loss):\n    pass\n")
    ours, theirs = (rows(lossc("train", text, *FEW, "--json")) for text in ("abs(y - f)", "mine.py"))
    assert math.isclose(ours["abs(y - f)"], theirs["mine"], rel_tol=1e-5)


def test_every_example_of_train_runs(lossc: Run, tmp_path: Path) -> None:
    """The examples of `lossc train --help`, as a reader would run them."""
    for line in train.EXAMPLES:
        ran = example(line, lossc, tmp_path)
        assert ran.code == 0, (line, ran.err)
        assert "Traceback" not in ran.err


# -- tasks from files ------------------------------------------------------------------------------------------------


def test_a_task_from_a_data_folder(lossc: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--data, or LOSSC_DATA, names the folder; --model picks the model, and the table says which."""
    datasets.write_mnist(tmp_path / "data" / "mnist")
    args = ("train", "-y*log(f)", "--task", "mnist", "--model", "logistic", *FEW)
    by_option = lossc(*args, "--data", "data")
    assert by_option.code == 0, by_option.err
    assert "mnist (classification), logistic 784-10, 5 steps of SGD" in by_option.out
    monkeypatch.setenv("LOSSC_DATA", str(tmp_path / "data"))
    assert rows(lossc(*args, "--json")) == rows(lossc(*args, "--data", "data", "--json"))
    assert "LeNet-5" in lossc("train", "-y*log(f)", "--task", "mnist", *FEW).out


def test_files_that_are_missing_are_explained(lossc: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which files in which folder, and how the folder is named; the call is at fault."""
    monkeypatch.delenv("LOSSC_DATA", raising=False)
    for more in ((), ("--data", "nowhere")):
        ran = lossc("train", "ace", "--task", "cifar10", *more)
        assert (ran.code, ran.out) == (2, "")
        for part in ("error[L226]", "cifar-10-batches-py/", "test_batch", "--data or LOSSC_DATA"):
            assert part in ran.err


def test_the_leaky_split_warns(lossc: Run) -> None:
    """--split as-published trains, warns as text and in JSON, and the caption says what the split does."""
    ran = lossc("train", "mse", "--split", "as-published", *FEW)
    assert ran.code == 0 and "warning[L225]" in ran.err and "test rows are trained on" in ran.out
    record = lossc("train", "mse", "--split", "as-published", *FEW, "--json").json
    assert [w["code"] for w in record["warnings"]] == ["L225"]
    honest = lossc("train", "mse", *FEW, "--json").json
    assert honest["warnings"] == [] and honest["result"]["rows"] != record["result"]["rows"]


def test_the_example_of_the_documentation(lossc: Run, tmp_path: Path) -> None:
    """The ten lines of docs/tasks.md with the command below them: the user's task, beside its baseline."""
    datasets.write_table(tmp_path)
    (tmp_path / "mytask.py").write_text(datasets.example())
    (command,) = re.findall(r"^lossc train .*mytask\.py:task.*$", datasets.DOC.read_text("utf-8"), re.MULTILINE)
    ran = lossc(*shlex.split(command)[1:])
    assert ran.code == 0, ran.err
    assert ran.out.startswith("mine (regression), model, 300 steps of SGD, learning rate 0.05")
    fewer = lossc(*shlex.split(command)[1:], "--steps", "3", "--json")
    assert fewer.json["result"]["steps"] == 3


def test_a_task_of_ones_own_that_fails(lossc: Run, tmp_path: Path) -> None:
    """A missing file, options that only lossc's tasks have, and a model that fails, each with its code."""
    assert "error[L243]" in lossc("train", "mse", "--task", "none.py:task").err
    (tmp_path / "mytask.py").write_text(
        "from torch import nn\nfrom lossc.runtime.tasks import make_task\n"
        "task = make_task('mine', [[float(i)] for i in range(20)], list(range(20)), lambda: nn.Linear(2, 1))\n"
    )
    refused = lossc("train", "mse", "--task", "mytask.py", "--size", "thesis")
    assert refused.code == 2 and "error[L235]" in refused.err and "--size" in refused.err
    failed = lossc("train", "mse", "--task", "mytask.py", *FEW)
    assert failed.code == 2 and "error[L243]" in failed.err and "mytask.py failed in training" in failed.err


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--model", "vgg16"], "L221"),
        (["--split", "leaky"], "L221"),
        (["--target-scale", "log"], "L221"),
        (["--device", "cuda:99"], "L223"),
        (["--device", "abacus"], "L223"),
        (["--task", "mnist", "--split", "as-published"], "L221"),
    ],
)
def test_options_of_a_task_that_cannot_be(lossc: Run, args: list[str], code: str) -> None:
    """Each is the call's fault, and what would do is said."""
    ran = lossc("train", "mse", *args, *FEW, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, code)
    assert ran.json["error"]["expected"]


def test_the_help_names_every_task_and_model(lossc: Run) -> None:
    """What `--task` and `--model` say of themselves is what there is."""
    words = set(re.findall(r"[\w-]+", lossc("train", "--help").out))
    assert {*tasks.NAMES, *FLAT, *IMAGES} <= words


def test_targets_scaled_to_a_range(lossc: Run) -> None:
    """--target-scale minmax: the errors are in units of the range, and the caption says so."""
    ran = lossc("train", "mse", "--target-scale", "minmax", *FEW)
    assert ran.code == 0 and "in units of the targets' range" in ran.out


# -- demo -------------------------------------------------------------------------------------------------------------


SHORT = {
    **demo.SEARCH, "population": 2, "generations": 1, "fitness_steps": 5, "meta_steps": 2, "reject_steps": 30,
    "rerank": 1, "rerank_steps": 10, "test_seeds": 1,
}  # fmt: skip
"""The search of a demo, in seconds."""


@pytest.fixture
def quick(short: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks of few steps, and a search of seconds without worker processes."""
    monkeypatch.setattr(demo, "SEARCH", SHORT)
    monkeypatch.setattr(session, "Where", lambda workers: Where(workers=workers // 2))


def test_demo_as_a_user_runs_it(tmp_path: Path) -> None:
    """First words within three seconds (ten, where other tests run); then each formula before and after, the files,
    their self-tests, a table a task, where the emitted losses do about as well as the baselines, and a search (here a
    short one: nothing else is changed)."""
    program = (
        "import sys; from lossc.cli.commands import demo; from lossc.cli.main import main;"
        f"demo.SEARCH.update({SHORT}); sys.exit(main(['demo']))"
    )
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline().startswith("Three losses of the thesis")
        assert time.monotonic() - began < 10
        out = child.stdout.read()
        assert child.wait(300) == 0
    trained = out.partition("diabetes (regression)")[2].splitlines()
    for name, task in demo.LOSSES.items():
        loss = named(name)
        assert f"as written  {loss}\n" in out
        assert f"simplified  {loss.simplify()}\n" in out
        assert (tmp_path / "out" / "demo" / f"{name}.py").read_text() == loss.emit("torch")
        assert f"python out/demo/{name}.py: ok: " in out
        row = next(line.split() for line in trained if line.startswith(f"{name} "))
        assert 0 < float(row[1]) < (0.7 if task == "diabetes" else 0.06)
    for baseline in ("mse", "cross_entropy"):
        assert any(line.startswith(f"{baseline} ") for line in trained)
    assert "losses by evomal (preset quick)" in out and "the found loss" in out
    assert (tmp_path / "out" / "demo" / "search" / "report.html").is_file()


@pytest.mark.usefixtures("quick")
def test_demo_as_json(lossc: Run, tmp_path: Path) -> None:
    """The other example of its help: one object with the losses, their files and self-tests, and both comparisons."""
    line = next(one for one in demo.EXAMPLES if "--json" in one)
    ran = lossc(*shlex.split(line)[1:])
    assert (ran.code, ran.err) == (0, "")
    result = json.loads(ran.out)["result"]
    assert [one["name"] for one in result["losses"]] == list(demo.LOSSES)
    assert all(one["self_test"].startswith("ok: ") for one in result["losses"])
    assert all((tmp_path / one["output"]).is_file() for one in result["losses"])
    assert [[row["name"] for row in c["rows"]] for c in result["comparisons"]] == [
        ["mse", "pseudo_huber", "evomal_i"],
        ["cross_entropy", "evomal_a"],
    ]


@pytest.mark.usefixtures("quick")
def test_demo_replaces_its_own_files_only(lossc: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that lossc did not write is kept, but for --force; a second demo works; a bad folder is refused."""
    monkeypatch.setattr(demo, "LOSSES", {"evomal_i": "diabetes"})
    path, report = tmp_path / "tour" / "evomal_i.py", tmp_path / "tour" / "search" / "report.html"
    path.parent.mkdir()
    path.write_text("# mine\n")
    assert lossc("demo", "--out", "tour").code == 2
    assert path.read_text() == "# mine\n"
    assert lossc("demo", "--out", "tour", "--force").code == 0
    assert demo.is_ours(str(path))
    report.write_text("of the first")
    assert lossc("demo", "--out", "tour").code == 0
    assert demo.is_ours(str(path)) and report.read_text() != "of the first"
    (tmp_path / "file").write_text("")
    assert lossc("demo", "--out", "file/tour").code == 2


@pytest.mark.usefixtures("quick")
def test_demo_stops_at_a_file_that_fails_its_self_test(lossc: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong file would be lossc's fault: exit code 70."""
    emit = Loss.emit
    monkeypatch.setattr(demo, "LOSSES", {"evomal_i": "diabetes"})
    monkeypatch.setattr(Loss, "emit", lambda self, target: emit(self, target).replace("1e-9", "-1.0"))
    ran = lossc("demo")
    assert ran.code == 70
    assert "failed its self-test" in ran.err
