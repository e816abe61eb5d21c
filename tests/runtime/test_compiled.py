"""Losses as modules in this process: the emitted source itself, audited, cached, and a citizen of Python."""

from __future__ import annotations

import copy
import inspect
import pickle
import sys
import traceback
from pathlib import Path

import pytest
import torch
from torch import nn

import lossc
from lossc.compiler.errors import LosscError, UsageError
from lossc.compiler.targets import emit
from lossc.grammar.library import named
from lossc.runtime import compiled
from lossc.runtime.compiled import load_file, load_source, to_torch

MSE = lossc.parse("(y - f)^2", name="mse")
PSEUDO_HUBER = named("pseudo_huber")
REQUIRED = lossc.parse("loss scaled(y, f; delta: positive, lambda: unit = 0.5):\n    delta*lambda*(y - f)^2\n")
F, Y = torch.tensor([0.5, 2.0]), torch.tensor([1.0, -1.0])


def test_the_module_is_the_emitted_one() -> None:
    """Same class name, same numbers as torch's own, with every reduction."""
    for reduction in ("mean", "sum", "none"):
        module = to_torch(MSE, reduction)
        assert type(module).__name__ == "MseLoss"
        assert torch.equal(module(F, Y), nn.functional.mse_loss(F, Y, reduction=reduction))
    assert torch.equal(MSE.to_torch("sum")(F, Y), to_torch(MSE, "sum")(F, Y))


def test_hyperparameters_by_the_names_of_the_loss() -> None:
    """Defaults, values, and names that Python reserves."""
    assert repr(to_torch(PSEUDO_HUBER, delta=2)) == "PseudoHuberLoss(reduction='mean', delta=2.0)"
    module = to_torch(REQUIRED, "none", delta=2.0, **{"lambda": 0.25})
    assert torch.equal(module(F, Y), 0.5 * (Y - F) ** 2)


@pytest.mark.parametrize(
    ("loss", "call", "code"),
    [
        (MSE, {"reduction": "average"}, "L241"),
        (MSE, {"delta": 1.0}, "L201"),
        (PSEUDO_HUBER, {"delta": -1.0}, "L202"),
        (PSEUDO_HUBER, {"delta": 0.0}, "L202"),
        (PSEUDO_HUBER, {"delta": float("nan")}, "L202"),
        (PSEUDO_HUBER, {"delta": float("inf")}, "L202"),
        (PSEUDO_HUBER, {"delta": "big"}, "L202"),
        (PSEUDO_HUBER, {"delta": None}, "L202"),
        (REQUIRED, {}, "L242"),
        (REQUIRED, {"delta": 1.0, "lambda": 2.0}, "L202"),
    ],
    ids=str,
)
def test_wrong_calls_are_usage_errors(loss: lossc.Loss, call: dict[str, object], code: str) -> None:
    """Never a traceback of our insides: a UsageError with its code."""
    with pytest.raises(UsageError, match=code):
        to_torch(loss, **call)  # type: ignore[arg-type]


def test_equal_sources_are_one_module() -> None:
    """Compiled once: instances of one loss share their class, and different losses do not."""
    assert type(to_torch(MSE)) is type(to_torch(MSE, "sum"))
    assert type(to_torch(MSE)) is not type(to_torch(PSEUDO_HUBER))
    assert load_source(emit(MSE), "mse") is load_source(emit(MSE), "mse")


def test_modules_can_be_copied_and_pickled() -> None:
    """copy, deepcopy and pickle within the process, alone and inside a model."""
    module = to_torch(PSEUDO_HUBER, "none", delta=3.0)
    model = nn.ModuleDict({"loss": module, "net": nn.Linear(1, 1)})
    for again in (copy.copy(module), copy.deepcopy(module), pickle.loads(pickle.dumps(module))):  # noqa: S301  our own
        assert type(again) is type(module) and again.delta == 3.0
        assert torch.equal(again(F, Y), module(F, Y))
    assert torch.equal(copy.deepcopy(model)["loss"](F, Y), module(F, Y))


def test_the_source_is_there_to_see() -> None:
    """inspect shows the class; a traceback through the module shows its lines."""
    module = to_torch(PSEUDO_HUBER)
    assert inspect.getsource(type(module)).startswith("class PseudoHuberLoss(nn.Module):")
    try:
        module(F, Y[:1])
    except ValueError:
        assert "if target.shape != input.shape" not in traceback.format_exc().splitlines()[-1]
        assert "_arguments(input, target)" in traceback.format_exc()


def test_old_modules_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search compiles thousands of losses: only the latest stay registered, and modules in use go on working."""
    monkeypatch.setattr(compiled, "MAX_LOADED", 3)
    kept = to_torch(lossc.parse("(y - f)^2 + 1"), "none")
    for k in range(2, 8):
        to_torch(lossc.parse(f"(y - f)^2 + {k}"))
    registered = [n for n in sys.modules if n.startswith("_lossc_") and not n.startswith("_lossc_file")]
    assert type(kept).__module__ not in registered
    assert kept(F, Y).tolist() == [1.25, 10.0]


def test_only_emitted_source_is_loaded() -> None:
    """Source that lossc cannot have written is refused before it runs."""
    with pytest.raises(UsageError, match="L244"):
        load_source("import os\nos.abort()\n", "evil")
    with pytest.raises(UsageError, match="L244"):
        load_source(emit(MSE).replace("v0 * v0", "eval('v0')"), "evil")


def test_a_hostile_name_is_only_a_name() -> None:
    """The private module name is made of plain characters."""
    module = load_source(emit(MSE, selftest=False), "../../x\n; import os")
    assert module.__name__.isidentifier()


# -- files ------------------------------------------------------------------------------------------------------------


def test_an_emitted_file_is_loaded(tmp_path: Path) -> None:
    """`load_file` gives the class; its instances are drop-ins, and the self-test does not run."""
    path = tmp_path / "ph.py"
    path.write_text(emit(PSEUDO_HUBER))
    cls = load_file(path)
    assert cls.__name__ == "PseudoHuberLoss"
    assert torch.equal(cls("none", delta=2.0)(F, Y), to_torch(PSEUDO_HUBER, "none", delta=2.0)(F, Y))
    assert type(pickle.loads(pickle.dumps(cls()))) is cls  # noqa: S301  our own


def test_a_file_of_the_user_may_hold_anything(tmp_path: Path) -> None:
    """The user's own module: edited, with other imports, with one nn.Module and no `Loss`."""
    path = tmp_path / "own.py"
    path.write_text(
        "import math, random\nfrom torch import nn\n\n\nclass Mine(nn.Module):\n"
        "    def forward(self, f, y):\n        return (f - y).abs().mean() * math.pi\n"
    )
    assert load_file(str(path))()(F, Y).item() == pytest.approx(1.75 * 3.14159265)


@pytest.mark.parametrize(
    "text",
    ["x = 1\n", "def broken(:\n", "raise RuntimeError('no')\n", "raise SystemExit(3)\n", "Loss = 3\n", "\xff"],
)
def test_files_without_a_loss_are_refused(tmp_path: Path, text: str) -> None:
    """L243 for files that do not run, or define no module; nothing stays registered."""
    path = tmp_path / "bad.py"
    path.write_bytes(text.encode("latin-1"))
    before = set(sys.modules)
    with pytest.raises(UsageError, match="L243"):
        load_file(path)
    assert not {n for n in set(sys.modules) - before if n.startswith("_lossc_file")}


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """L243 for a path that is no file, a folder, or no Python file."""
    (tmp_path / "loss.txt").write_text("x")
    for path in (tmp_path / "none.py", tmp_path, tmp_path / "loss.txt"):
        with pytest.raises(LosscError, match="L243"):
            load_file(path)
