"""The core of exporters: the registry, fallbacks, the printer, and plug-ins found through entry points."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import mpmath
import pytest

from lossc.compiler import ops
from lossc.compiler.errors import LossTypeError, UsageError
from lossc.compiler.evaluate import evaluate
from lossc.compiler.ir import F, node, param, postorder
from lossc.compiler.loss import Loss
from lossc.compiler.targets import BUILT_IN, emit, target_of
from lossc.compiler.targets.derivatives import roots
from lossc.compiler.targets.fallback import EQUAL, support_of, without
from lossc.compiler.targets.printer import Syntax, build
from lossc.grammar.library import named
from tests.cli.support import environment

PLUGIN = Path(__file__).resolve().parent.parent / "targets" / "plugin"
ELEMENTWISE = [op for op in EQUAL if not ops.OPS[op].axis]


# -- fallbacks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ELEMENTWISE)
def test_a_definition_by_others_is_the_same_function(op: str) -> None:
    """At points of the record's sample box the definition equals the meaning: to 30 digits, the gamma functions, whose
    series end, to 14."""
    record = ops.OPS[op]
    leaves = [param(f"x{i}") for i in range(record.arity)]
    for k in (0.03, 0.2, 0.41, 0.77, 0.98):
        at = {
            x: lo + k * (hi - lo)
            for x, (lo, hi) in zip(leaves, map(record.sample_of, range(record.arity)), strict=True)
        }
        with mpmath.workdps(40):
            true = evaluate(node(op, *leaves), at)
            close = 1e-13 if op in ("lgamma", "digamma", "trigamma") else mpmath.mpf(10) ** -30
            assert abs(evaluate(EQUAL[op](*leaves), at) - true) <= close * (1 + abs(true)), (op, at)


@pytest.mark.parametrize("op", [op for op in EQUAL if ops.OPS[op].axis])
def test_a_definition_on_the_class_axis(op: str) -> None:
    """The same for operators along the classes, at ordinary and at saturated scores."""
    for row in ([0.3, -1.0, 2.0], [40.0, -40.0, 0.0], [1.0, 1.0, 1.0]):
        with mpmath.workdps(60):
            true = evaluate(node(op, F), {F: row}, num_classes=3)
            ours = evaluate(EQUAL[op](F), {F: row}, num_classes=3)
            pairs = zip(true, ours, strict=True) if isinstance(true, list) else [(true, ours)]
            assert all(abs(a - b) <= mpmath.mpf(10) ** -35 for a, b in pairs)


def test_no_two_operators_need_each_other() -> None:
    """log1p by atanh and atanh by log1p: with neither there is none, with one both."""
    assert support_of("nothing", "log1p") == "none"
    assert support_of("c", "softplus") == "fallback"
    assert support_of("c", "exp") == "native"
    assert all(support_of("c", n.op) == "native" for n in postorder(*without("c", node("logcosh", F))))


def test_an_operator_without_a_form_is_named() -> None:
    """Never wrong code: the operator, the target, and where to look."""
    with pytest.raises(LossTypeError, match=r"L345.*`erf`") as caught:
        without("nothing", node("erf", F))
    assert "lossc targets" in str(caught.value)


# -- the registry and the printer -------------------------------------------------------------------------------------


def test_targets_are_found_by_name_and_options_are_checked() -> None:
    """A wrong name suggests the right one; a wrong option says which there are."""
    assert target_of("jax") is BUILT_IN["jax"]
    with pytest.raises(UsageError, match="did you mean `numpy`"):
        target_of("nunpy")
    with pytest.raises(UsageError, match=r"(?s)L245.*expected: one of: selftest, options"):
        emit(named("mse"), "numpy", colour="red")


def test_bytes_are_the_same_in_another_process() -> None:
    """Whatever the seed of Python's hashes is."""
    code = "from lossc.grammar.library import named; print(*map(named('focal').emit, ('numpy', 'jax', 'c')), end='')"
    env = environment(PYTHONHASHSEED="7")
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True)
    assert done.stdout.decode() == " ".join(map(named("focal").emit, ("numpy", "jax", "c")))


def test_the_printer_shares_nodes_and_names_parameters() -> None:
    """Each distinct node once; constants as literals with a note; the steps are the lines as data."""
    loss = named("pseudo_huber")
    found = roots(loss, "np")
    program = build(found.loss, Syntax(key="np"), {"y": "t", "f": "p", "delta": "d"}, found.value, found.gradient)
    assert program.lines[:3] == ["v0 = d * d", "v1 = t - p", "v2 = v1 / d"]
    assert len(set(program.lines)) == len(program.lines) == len(program.steps)
    assert len(program.results) == 2


@pytest.mark.parametrize("name", ["class", "lambda", "np", "double", "exp", "v0", "y_true", "where"])
def test_hyper_parameters_of_any_name(name: str) -> None:
    """Keywords, names of the libraries and of the files themselves: the self-test still passes."""
    from fractions import Fraction

    from lossc.compiler.ir import Y
    from lossc.compiler.loss import Parameter

    loss = Loss(param(name) * (Y - F) ** 2, "mine", params=(Parameter(name, "positive", Fraction(3, 2)),))
    made: dict[str, Any] = {"__name__": "mine"}
    exec(compile(str(emit(loss, "numpy")), "mine.py", "exec"), made)  # noqa: S102
    assert made["mine_loss"]([1.0], [3.0])[0] == 6.0
    compile(str(emit(loss, "jax")), "mine.py", "exec")
    assert f"double {name})" not in str(emit(loss, "c")) or name not in ("class", "double", "exp")


# -- plug-ins ---------------------------------------------------------------------------------------------------------

_DRIVER = """
import importlib.metadata, warnings
from importlib.metadata import EntryPoint
POINTS = {points}
importlib.metadata.entry_points = lambda group: [EntryPoint(n, v, g) for n, v, g in POINTS if g == group]
"""


def run_with(points: list[tuple[str, str, str]], code: str) -> subprocess.CompletedProcess[str]:
    """A process in which these entry points are installed."""
    env = environment()
    env["PYTHONPATH"] += f":{PLUGIN}"
    text = _DRIVER.format(points=points) + code
    return subprocess.run([sys.executable, "-c", text], env=env, capture_output=True, text=True, check=False)


GOOD = [
    ("example", "lossc_example:SOFTSIGN", "lossc.operators"),
    ("example", "lossc_example:TARGET", "lossc.targets"),
]


def test_a_plug_in_brings_an_operator_and_a_target() -> None:
    """Parsed by name, differentiated, exported to NumPy and to the target of the plug-in, equal to the formula."""
    code = """
import lossc, numpy as np
from lossc.compiler.targets import all_targets
loss = lossc.parse("softsign(y - f)^2", name="soft")
names = {}
exec(loss.emit("example"), names)
value, slope = names["both"](np.array([1.0]), np.array([3.0]))
assert abs(value[0] - 4/9) < 1e-15, value
assert abs(slope[0] - 2*(2/3)/9) < 1e-15, slope
made = {"__name__": "soft"}
exec(loss.emit("numpy"), made)
assert abs(made["soft_loss"]([1.0], [3.0])[0] - 4/9) < 1e-15
assert all_targets()["example"].support("softsign") == "native"
assert all_targets()["c"].support("softsign") == "none"
try:
    loss.emit("c")
except lossc.LosscError as problem:
    assert "softsign" in str(problem)
else:
    raise SystemExit("no error")
"""
    done = run_with(GOOD, code)
    assert done.returncode == 0, done.stderr


BAD = [
    ("gone", "no_such_module:TARGET", "lossc.targets"),
    ("wrong", "lossc_example:SOFTSIGN", "lossc.targets"),
    ("clash", "lossc.compiler.ops:OPS", "lossc.operators"),
]


def test_a_broken_plug_in_is_a_warning_that_names_it() -> None:
    """A module that is not there, an object of another kind: the rest works, and a warning says who is left out."""
    done = run_with([*BAD, *GOOD], 'import lossc; lossc.parse("softsign(y-f)").emit("example"); print("fine")')
    assert done.returncode == 0 and done.stdout == "fine\n", done.stderr
    for name in ("gone", "wrong", "clash"):
        assert f"the plug-in {name} = " in done.stderr


def test_entry_points_are_what_the_standard_library_says() -> None:
    """The example's references are ones that importlib can load."""
    assert all(EntryPoint(n, v, g).module == "lossc_example" for n, v, g in GOOD)
