"""A user's own data set and model: `make_task`, and tasks from Python files."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lossc.compiler.errors import UsageError
from lossc.runtime.tasks import Task, load_task, make_task, task_file
from lossc.runtime.training import compare, train
from tests.runtime import datasets

DRAW = np.random.default_rng(0)
X, Y = DRAW.normal(size=(80, 3)), DRAW.normal(size=80)
CLASSES = DRAW.integers(0, 4, 80)


def linear() -> nn.Module:
    """A model with torch's own initialisation."""
    return nn.Linear(3, 1)


def test_arrays_become_a_task() -> None:
    """Rows, targets and a model: standardised, dealt 60/20/20, MSE; trainable, and comparable with the baseline."""
    task = make_task("mine", X.tolist(), torch.tensor(Y), linear, lr=0.1, steps=5, batch_size=8)
    parts = task.split(0)
    assert [len(p) for p in (parts.train, parts.val, parts.test)] == [48, 16, 16]
    assert abs(float(parts.train.x.mean())) < 1e-6 and task.metric.name == "MSE" and task.model == "linear"
    found = compare(task, {"mae": nn.L1Loss()}, [0, 1])
    assert [row.name for row in found.rows] == ["mse", "mae"] and not any(row.diverged for row in found.rows)


def test_classes_images_and_held_rows() -> None:
    """Class indices make a classification; images keep their shape; held rows are the test part, in order."""
    images = np.zeros((80, 1, 8, 8)) + CLASSES[:, None, None, None]
    task = make_task("mine", images, CLASSES, "logistic", classes=4, held=20, steps=100, lr=0.1)
    parts = task.split(0)
    assert parts.train.x.shape[1:] == (1, 8, 8) and parts.test.rows.tolist() == list(range(60, 80))
    assert task.metric.name == "error rate" and task.baseline == "cross_entropy"
    assert train(task, task.baseline_loss(), 0).test < 0.5


def test_the_seed_decides_the_users_model() -> None:
    """A model without a stream is the same for one seed, another for another, in any dtype, and torch's global stream
    stays where it was."""
    task = make_task("mine", X, Y, linear)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    a, b, other = (task.fresh_model(s).state_dict()["weight"] for s in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, other)
    assert torch.equal(torch.get_rng_state(), before)
    assert task.fresh_model(0, torch.float64).state_dict()["weight"].dtype == torch.float64


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"inputs": X[:5]}, "L222"),
        ({"inputs": X[:, 0]}, "L222"),
        ({"inputs": [["a"]]}, "L222"),
        ({"targets": np.where(Y > 1, np.nan, Y)}, "L222"),
        ({"inputs": np.where(X > 1, np.inf, X)}, "L222"),
        ({"targets": CLASSES + 0.5, "classes": 4}, "L222"),
        ({"targets": CLASSES, "classes": 3}, "L222"),
        ({"held": 80}, "L222"),
        ({"held": -1}, "L222"),
        ({"model": "resnet18"}, "L221"),
        ({"model": "mpl"}, "L221"),
        ({"target_scale": "log"}, "L221"),
        ({"steps": 0}, "L223"),
        ({"lr": 0.0}, "L223"),
    ],
)
def test_what_does_not_fit(settings: dict[str, object], code: str) -> None:
    """Arrays that do not fit together and settings out of range are the caller's fault, said before any training."""
    given = {"inputs": X, "targets": Y, "model": linear, **settings}
    with pytest.raises(UsageError) as caught:
        make_task("mine", **given)  # type: ignore[arg-type]
    assert caught.value.diagnostic.code == code


def test_names_of_tasks_in_files() -> None:
    """`file.py:name`, or `file.py` for its `task`; other names are no files."""
    assert task_file("a/mytask.py:other") == ("a/mytask.py", "other")
    assert task_file("mytask.py") == ("mytask.py", "task")
    assert task_file("mnist") is None and task_file("mnist:task") is None


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1", "has no task `task`"),
        ("task = 3", "has no task `task`"),
        ("task = ", "does not run"),
        ("raise SystemExit(3)", "does not run: SystemExit"),
        ("def task():\n    return 1 / 0", "fails: ZeroDivisionError"),
        ("def task():\n    return 'mnist'", "has no task `task`"),
    ],
)
def test_files_without_a_task(tmp_path: Path, source: str, said: str) -> None:
    """What goes wrong in a user's file is said to be that (L243)."""
    (tmp_path / "mytask.py").write_text(source)
    with pytest.raises(UsageError) as caught:
        load_task(str(tmp_path / "mytask.py"))
    assert caught.value.diagnostic.code == "L243" and said in caught.value.diagnostic.message
    with pytest.raises(UsageError) as caught:
        load_task(str(tmp_path / "nowhere.py"))
    assert caught.value.diagnostic.code == "L243"


def test_a_file_may_import_its_neighbours(tmp_path: Path) -> None:
    """A task's file finds the files beside it wherever lossc is started; the search path is put back."""
    (tmp_path / "some_lossc_neighbour.py").write_text("from lossc.runtime.tasks import get_task\n")
    (tmp_path / "mytask.py").write_text("from some_lossc_neighbour import get_task\ntask = get_task('sine')\n")
    before = list(sys.path)
    assert load_task(str(tmp_path / "mytask.py")).name == "sine"
    assert sys.path == before
    sys.modules.pop("some_lossc_neighbour")


def test_a_function_may_give_the_task(tmp_path: Path) -> None:
    """A function of that name is called; a complaint of lossc inside it stays as it is."""
    head = "from lossc.runtime.tasks import get_task\n"
    (tmp_path / "mytask.py").write_text(head + "def task():\n    return get_task('diabetes', steps=3)\n")
    assert isinstance(load_task(str(tmp_path / "mytask.py")), Task)
    (tmp_path / "mytask.py").write_text(head + "def task():\n    return get_task('diabets')\n")
    with pytest.raises(UsageError) as caught:
        load_task(str(tmp_path / "mytask.py"))
    assert caught.value.diagnostic.code == "L221"


def test_the_documented_example_is_ten_lines_that_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block of docs/tasks.md has no more than ten lines with something on them, and makes a task that learns."""
    assert len([line for line in datasets.example().splitlines() if line.strip()]) <= 10
    monkeypatch.chdir(tmp_path)
    datasets.write_table(tmp_path)
    (tmp_path / "mytask.py").write_text(datasets.example())
    task = load_task("mytask.py")
    assert (task.name, task.model, task.steps) == ("mine", "model", 300)
    assert train(task, task.baseline_loss(), 0).test < 0.5
