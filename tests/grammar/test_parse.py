"""What texts mean: precedence, names, definitions, helper functions, dialects, warnings, spans."""

from __future__ import annotations

import ast
import operator
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossc.compiler.errors import LosscError, LossTypeError, UsageError, Warnings
from lossc.compiler.ir import F, Y, const, node, param
from lossc.compiler.literals import exact_value
from lossc.compiler.loss import Loss, Parameter
from lossc.grammar import parse, parse_expr, parse_file, parse_losses

ROOT = Path(__file__).parents[2]


# -- precedence, with Python's own parser as the oracle ---------------------------------------------------------

OPERATIONS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def python_value(tree: ast.expr) -> Fraction:
    """The exact value that Python's grammar gives to an arithmetic text."""
    if isinstance(tree, ast.Constant):
        return Fraction(str(tree.value))
    if isinstance(tree, ast.UnaryOp):
        value = python_value(tree.operand)
        return -value if isinstance(tree.op, ast.USub) else value
    assert isinstance(tree, ast.BinOp)
    left, right = python_value(tree.left), python_value(tree.right)
    if isinstance(tree.op, ast.Pow):
        if right.denominator != 1 or abs(right) > 20 or abs(left) > 1000:
            raise OverflowError
        return left ** int(right)
    result: Fraction = OPERATIONS[type(tree.op)](left, right)
    return result


@st.composite
def arithmetic(draw: st.DrawFn) -> str:
    """Arithmetic in a random arrangement of signs and brackets, with few of the latter."""
    text = ""
    opened = 0
    for i in range(draw(st.integers(1, 8))):
        text += draw(st.sampled_from(["+", "-", "*", "/", "**", "-", "*"])) if i else ""
        text += draw(st.sampled_from(["", "", "", "-", "--", "+"]))
        if draw(st.booleans()) and draw(st.booleans()):
            text, opened = text + "(", opened + 1
        text += str(draw(st.integers(0, 4)))
        if opened and draw(st.booleans()):
            text, opened = text + ")", opened - 1
    return text + ")" * opened


@settings(max_examples=1000)
@given(arithmetic())
def test_precedence_is_pythons(text: str) -> None:
    """The exact value of an arithmetic text is what Python's own parser makes of it."""
    try:
        expected = python_value(ast.parse(text, mode="eval").body)
    except (ZeroDivisionError, OverflowError):
        return
    try:
        got = exact_value(parse_expr(text))
    except LosscError as problem:
        assert problem.diagnostic.code in ("L106", "L311")
        return
    assert got == expected or abs(expected) >= 10**39 or expected.denominator > 10**39


# -- names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["y", "y_true", "target", "targets", "label", "labels"])
def test_names_of_the_target(name: str) -> None:
    """All of these mean y."""
    assert parse_expr(name) is Y


@pytest.mark.parametrize("name", ["f", "y_pred", "pred", "prediction", "input", "fx", "yhat", "f(x)", "f ( x )"])
def test_names_of_the_prediction(name: str) -> None:
    """All of these mean f."""
    assert parse_expr(name) is F


@pytest.mark.parametrize(
    ("alias", "name"), [("ln", "log"), ("sq", "square"), ("logistic", "sigmoid"), ("maximum", "max"), ("power", "pow")]
)
def test_names_that_people_type(alias: str, name: str) -> None:
    """Aliases are read as the operator itself."""
    written, args = ("(y, f)", (Y, F)) if name in ("max", "pow") else ("(y)", (Y,))
    assert parse_expr(alias + written) is node(name, *args)


def test_constants_and_what_hides_them() -> None:
    """`e` is Euler's number until something else has its name; a call always means the constant."""
    assert parse_expr("e") is node("e")
    assert parse_expr("C") is node("num_classes")
    assert parse_expr("e = y - f; e*e()") is (Y - F) * node("e")
    assert parse_expr("eps*eps()", params={"eps": 1}) is param("eps") * node("eps")
    assert parse_expr("e = e + 1; e") is node("e") + 1


def test_helper_functions() -> None:
    """Arguments replace the holes, all at once; helpers see what was named before them and nothing else."""
    assert parse_expr("sq2(a) = a*a; sq2(y - f)") is (Y - F) * (Y - F)
    assert parse_expr("swap(a, b) = b - a; swap(y, f)") is F - Y
    assert parse_expr("k = 2; twice(a) = k*a; quad(a) = twice(twice(a)); quad(y)") is const(2) * (const(2) * Y)
    assert parse_expr("g(e) = e*pi; g(y) + e") is Y * node("pi") + node("e")
    with pytest.raises(LossTypeError, match="L308"):
        parse_expr("g(a) = a; a")


def test_many_arguments_fold_from_the_left() -> None:
    """Associative operators take more than two arguments; others do not."""
    assert parse_expr("max(y, f, 1)") is node("max", node("max", Y, F), const(1))
    assert parse_expr("add(y, f, 1, 2)") is ((Y + F) + 1) + 2
    with pytest.raises(LossTypeError, match="L302"):
        parse_expr("sub(y, f, 1)")


def test_conditions_can_be_named() -> None:
    """A comparison can be named and used later, as a condition only."""
    near = node("lt", Y, F)
    assert parse_expr("near = y < f; where(near, 1, 2)") is node("where", near, const(1), const(2))
    with pytest.raises(LossTypeError, match="L303"):
        parse_expr("near = y < f; near + 1")


# -- definitions ------------------------------------------------------------------------------------------------


def test_a_definition_with_everything() -> None:
    """Header, docstring, source, names, helper and formula reach the loss."""
    loss = parse(
        '''
        half(a) = a/2   # for all that follow

        loss robust(y: real, f: positive; delta: positive = 1.5, k = 1/3, free: unit):
            """Quadratic near zero.

              indented

            Source: somebody (2020), eq. 3
            """
            e = y - f
            far(a) = delta*a + k*free
            where(abs(e) < delta, half(e^2), far(e))
        '''
    )
    e = Y - F
    delta, k, free = param("delta"), param("k"), param("free")
    far = delta * e + k * free
    assert loss == Loss(
        node("where", node("lt", node("abs", e), delta), node("pow", e, const(2)) / 2, far),
        "robust",
        "real",
        "positive",
        (
            Parameter("delta", "positive", Fraction(3, 2)),
            Parameter("k", "real", Fraction(1, 3)),
            Parameter("free", "unit", None),
        ),
        "Quadratic near zero.\n\n  indented",
        "somebody (2020), eq. 3",
    )


def test_scopes_of_definitions() -> None:
    """Names of one definition are unknown to the next; those of the file are known to all that follow."""
    first, second = parse_losses("c = 3\nloss a(y, f; d = 1):\n  e = y - f\n  c*d*e\n\nloss b(f, y):\n  c*e*(y - f)")
    assert first.body is const(3) * param("d") * (Y - F)
    assert second.body is const(3) * node("e") * (Y - F)
    with pytest.raises(LossTypeError, match="L308"):
        parse_losses("loss a(y, f; d = 1): d*(y - f)\nloss b(y, f): d*(y - f)")


def test_lines() -> None:
    """Brackets and operators let a line go on; `;` ends one; comments do not count."""
    assert parse_expr("(y -\n f\n) *\n 2  # half\n") is (Y - F) * 2
    assert parse_expr("a = y;\n\n ; b = f # c\n\n a - b ;;") is Y - F
    assert parse_expr("y - f\r\n") is Y - F


def test_what_the_caller_says() -> None:
    """Roles, hyper-parameters and a name for a bare formula; replacements for those of a definition."""
    loss = parse("delta*(y - f)", name="mine", y="binary", f="prob", params={"delta": "1e-3"})
    assert (loss.name, loss.y, loss.f) == ("mine", "binary", "prob")
    assert loss.params == (Parameter("delta", "real", Fraction(1, 1000)),)
    text = "loss other(y: real, f: real; delta: positive = 1): delta*(y - f)"
    assert parse(text).name == "other"
    loss = parse(text, name="mine", f="positive", params={"delta": 2.5})
    assert (loss.name, loss.y, loss.f) == ("mine", "real", "positive")
    assert loss.params == (Parameter("delta", "positive", Fraction(5, 2)),)
    declared = parse("k*y", params={"k": Parameter("k", "unit", Fraction(1, 2))})
    assert declared.params == (Parameter("k", "unit", Fraction(1, 2)),)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"y": "one-hot"}, "L211"),
        ({"f": "onehot"}, "L211"),
        ({"dialect": "evo"}, "L210"),
        ({"params": {"y": 1}}, "L309"),
        ({"params": {"a b": 1}}, "L304"),
        ({"params": {"__x": 1}}, "L313"),
        ({"params": {"a": "one"}}, "L202"),
        ({"params": {"a": float("nan")}}, "L202"),
        ({"params": {"a": "1e999999999"}}, "L202"),
        ({"params": {"a": [1]}}, "L202"),
        ({"name": "my loss"}, "L304"),
        ({"name": "__import__"}, "L313"),
        ({"name": "n" * 65}, "L108"),
    ],
)
def test_the_call_is_at_fault(arguments: dict[str, object], code: str) -> None:
    """A wrong argument of `parse` is a UsageError, whatever the text."""
    with pytest.raises(UsageError) as caught:
        parse("y - f", **arguments)  # type: ignore[arg-type]
    assert caught.value.diagnostic.code == code


def test_an_unknown_hyper_parameter_of_a_definition() -> None:
    """A default for a hyper-parameter that the header does not have: the known ones, and the one that was meant."""
    with pytest.raises(UsageError) as caught:
        parse("loss a(y, f; delta = 1, k = 2): delta*k*(y - f)", params={"delt": 1})
    found = caught.value.diagnostic
    assert (found.code, found.expected, found.hint) == ("L201", "one of: delta, k", "did you mean `delta`?")


def test_one_loss_is_wanted() -> None:
    """`parse` refuses texts with two definitions or with none, and things that are no text."""
    for text, code in [("loss a(y, f): y\nloss b(y, f): f", "L214"), ("", "L011"), (" # only a comment", "L011")]:
        with pytest.raises(LosscError) as caught:
            parse(text)
        assert caught.value.diagnostic.code == code
    with pytest.raises(UsageError, match="L213"):
        parse(b"y - f")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="L215"):
        parse_expr("loss a(y, f): y")


def test_files(tmp_path: Path) -> None:
    """A file gives all its losses; a bare formula has the name of the file; what cannot be read is a UsageError."""
    file = tmp_path / "two.loss"
    file.write_text("\ufeffloss a(y, f): y - f  # Černý\nloss b(y, f): f - y", "utf-8")
    assert [loss.name for loss in parse_file(file)] == ["a", "b"]
    bare = tmp_path / "my_loss.loss"
    bare.write_text("(y - f)^2")
    assert parse_file(str(bare))[0].name == "my_loss"
    wrong = tmp_path / "wrong.loss"
    wrong.write_text("y -")
    with pytest.raises(LosscError) as caught:
        parse_file(wrong)
    assert f"{wrong}:1:3" in str(caught.value)
    (tmp_path / "latin.loss").write_bytes(b"y - f # \xe9")
    (tmp_path / "large.loss").write_bytes(b"y" * 20_000)
    for bad in ("none.loss", "latin.loss", "large.loss", "", "a\0b"):
        with pytest.raises(UsageError, match="L212"):
            parse_file(tmp_path / bad)


def test_the_example_file() -> None:
    """losses/pseudo_huber.loss is what the documentation says."""
    (loss,) = parse_file(ROOT / "losses" / "pseudo_huber.loss")
    assert (loss.name, loss.params) == ("pseudo_huber", (Parameter("delta", "positive", Fraction(1)),))
    delta, e = param("delta"), Y - F
    root = node("sqrt", 1 + (e / delta) ** 2)
    assert loss.body is delta**2 * (root - 1)


# -- dialects ---------------------------------------------------------------------------------------------------


def test_dialects() -> None:
    """One string, three meanings; only the dialects of DEAP strings know ARG0 and ARG1."""
    text = "log(sqrt(y))/f - div(1, 3)"
    aq_third = node("aq", const(1), const(3))
    assert parse_expr(text, dialect="evomal") is node("aq", node("plog", node("psqrt", Y)), F) - aq_third
    assert parse_expr(text, dialect="public") is node("aq", node("clog", node("csqrt", Y)), F) - aq_third
    assert parse_expr(text) is node("log", node("sqrt", Y)) / F - node("div", const(1), const(3))
    assert parse_expr("1/3", dialect="evomal") is aq_third
    assert parse_expr("sub(ARG0, ARG1)", dialect="evomal") is Y - F
    with pytest.raises(LossTypeError, match="--dialect evomal"):
        parse_expr("sub(ARG0, ARG1)")


def test_a_deap_individual_means_what_its_functions_compute() -> None:
    """A random GP individual, computed by DEAP itself with the protected functions of Table 3.1, equals ours."""
    import math
    import random

    from deap import gp

    from lossc.compiler.evaluate import evaluate

    eps = 1e-7
    functions = {
        "add": operator.add, "sub": operator.sub, "mul": operator.mul, "min": min, "max": max,
        "div": lambda a, b: a / math.sqrt(1 + b * b), "abs": abs, "tanh": math.tanh, "square": lambda a: a * a,
        "log": lambda a: math.log(abs(a) + eps), "sqrt": lambda a: math.sqrt(abs(a) + eps),
        "sign": lambda a: float((a > 0) - (a < 0)),
    }  # fmt: skip
    primitives = gp.PrimitiveSet("MAIN", 2)
    for name, function in functions.items():
        primitives.addPrimitive(function, 2 if name in ("add", "sub", "mul", "div", "min", "max") else 1, name=name)
    primitives.addTerminal(1.0, name="1")
    primitives.addTerminal(-1.0, name="-1")
    random.seed(3)
    for _ in range(200):
        individual = gp.PrimitiveTree(gp.genHalfAndHalf(primitives, 2, 5))
        body = parse_expr(str(individual), dialect="evomal")
        y, f = random.uniform(-2, 2), random.uniform(-2, 2)
        expected = gp.compile(individual, primitives)(y, f)
        got = float(evaluate(body, {Y: y, F: f}, dps=30))
        assert got == pytest.approx(expected, rel=1e-9, abs=1e-9), str(individual)


# -- warnings and spans -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("y - f", []),
        ("f^2", [("L330", "`y`")]),
        ("1", [("L330", "`y`"), ("L330", "`f`")]),
        ("a = y; y - f", [("L331", "`a`")]),
        ("g(a) = a; y - f", [("L331", "`g`")]),
        ("loss h(y, f; d = 1): y - f", [("L332", "`d`")]),
        ("log(a) = plog(a); log(y*f)", [("L333", "`log`")]),
        ("unused = 1\nloss h(y, f): y - f", []),
    ],
)
def test_warnings(text: str, expected: list[tuple[str, str]]) -> None:
    """What is allowed but odd is reported, with its place, by name."""
    warnings = Warnings()
    parse(text, warnings=warnings)
    assert [w.code for w in warnings.items] == [code for code, _ in expected]
    for warning, (_, name) in zip(warnings.items, expected, strict=True):
        assert name in warning.message
        assert warning.severity == "warning"
        assert "-->" in warning.render()


def test_spans() -> None:
    """Every node knows where it was first written; what a helper builds points at the call."""
    text = "e = y - f\ng(a) = sqrt(a)*2\ng(e^2) + (e)"
    loss = parse(text)
    shown = {text[span.start : span.end] for span in loss.spans.values()}
    assert shown == {"y", "f", "y - f", "2", "e^2", "g(e^2)", "g(e^2) + (e)"}
    span = loss.spans[loss.body]
    assert text[span.start : span.end] == "g(e^2) + (e)"
    assert loss.text is not None and loss.text.text == text


def test_threads_do_not_disturb_each_other() -> None:
    """Many threads parse at once, with names that would collide if state were shared."""

    def job(k: int) -> bool:
        text = f"a = y*{k}; b(c) = c + a; b(f)"
        return parse_expr(text) is F + Y * k

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(job, range(400)))


def test_an_error_leaves_nothing_behind() -> None:
    """A text that fails inside a definition does not change how the next one is read."""
    with pytest.raises(LosscError):
        parse("loss a(y, f; delta = 1):\n e = y\n e*delta*unknown")
    with pytest.raises(LossTypeError, match="`delta` is not defined"):
        parse("delta*y")
    assert parse_expr("e") is node("e")


def test_importing_is_light() -> None:
    """`import lossc.grammar` brings in neither Lark nor torch, SymPy or NumPy."""
    code = "import sys, lossc.grammar; print([m for m in ('lark', 'torch', 'sympy', 'numpy') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "src", check=True)
    assert out.stdout.strip() == "[]"
