r"""Target "latex": the formula as one would typeset it, with the fewest brackets.

    >>> to_latex(lossc.parse("-sum_c(y*log(f))"))
    '-\\sum_{c} y \\log f'

Works for any depth (an explicit stack) and reads the same for equal trees. `y` and `f` stay y and f; hyper-parameters
with the names of Greek letters become these.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import TypeAlias

from lossc.compiler.errors import LimitError, UsageError
from lossc.compiler.ir import ARG, COEF, CONST, PARAM, Expr, fold, postorder, rebuild
from lossc.compiler.literals import write_number
from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.ops import call
from lossc.compiler.printing import MAX_PRINTED
from lossc.compiler.targets.identifiers import ascii_name

Piece: TypeAlias = "str | tuple[Expr, int, bool]"
"""A text, or a node with the least level that needs no brackets and whether a factor follows it."""

_ANY, _SUM, _MINUS, _BIG, _PRODUCT, _APPLIED, _FRACTION, _POWER, _ATOM = 0, 10, 12, 13, 20, 22, 26, 30, 40
"""How tightly a written form binds; `_BIG` is an operator with a long reach to the right (sums, cases)."""

GREEK = frozenset({
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
    "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
})  # fmt: skip

NAMED = {
    "log": r"\log", "log2": r"\log_{2}", "log10": r"\log_{10}", "sin": r"\sin", "cos": r"\cos", "tan": r"\tan",
    "asin": r"\arcsin", "acos": r"\arccos", "atan": r"\arctan", "sinh": r"\sinh", "cosh": r"\cosh", "tanh": r"\tanh",
    "asinh": r"\operatorname{arsinh}", "acosh": r"\operatorname{arcosh}", "atanh": r"\operatorname{artanh}",
    "sigmoid": r"\sigma", "logsigmoid": r"\log \sigma", "softplus": r"\operatorname{softplus}",
    "relu": r"\operatorname{relu}", "logcosh": r"\log \cosh", "erf": r"\operatorname{erf}",
    "erfc": r"\operatorname{erfc}", "sign": r"\operatorname{sign}", "heaviside": r"\operatorname{H}",
    "lgamma": r"\log \Gamma", "digamma": r"\psi", "trigamma": r"\psi_{1}", "softmax": r"\operatorname{softmax}",
    "log_softmax": r"\log \operatorname{softmax}",
}  # fmt: skip
"""Functions of one argument."""

_BRACKETED = frozenset({"sigmoid", "logsigmoid", "lgamma", "digamma", "trigamma", "heaviside"})
"""Functions whose argument always stands in brackets: `σ z` does not read as a function."""

_CALLED = frozenset({"max", "min", "clamp", "atan2"})
_LISTED = {"max": r"\max", "min": r"\min"}
_COMPARED = {"lt": "<", "le": r"\le", "gt": ">", "ge": r"\ge", "eq": "=", "ne": r"\ne"}
_CONSTANTS = {"pi": r"\pi", "e": "e", "eps": r"\varepsilon", "num_classes": "C"}

EXPANDED: dict[str, Callable[..., Expr]] = {
    "log1p": lambda x: call("log", 1 + x),
    "expm1": lambda x: call("exp", x) - 1,
    "square": lambda x: x**2,
    "hypot": lambda x, y: call("sqrt", x**2 + y**2),
    "logaddexp": lambda x, y: call("log", call("exp", x) + call("exp", y)),
    "xlogy": lambda x, y: x * call("log", y),
    "aq": lambda x, y: x / call("sqrt", 1 + y**2),
    "plog": lambda x: call("log", call("abs", x) + call("eps")),
    "psqrt": lambda x: call("sqrt", call("abs", x) + call("eps")),
    "clog": lambda x: call("log", call("max", call("abs", x), call("eps"))),
    "csqrt": lambda x: call("sqrt", call("max", call("abs", x), call("eps"))),
    "mean_c": lambda x: 1 / call("num_classes") * call("sum_c", x),
    "logsumexp_c": lambda x: call("log", call("sum_c", call("exp", x))),
}
"""Operators that mathematics writes by means of others."""


ENVIRONMENTS = ("", "equation", "equation*", "align", "align*", "aligned")
"""What an equation may stand in; "" for math mode, which the reader's text has begun."""


def to_latex(loss: Loss, *, environment: str = "", name: str = "", gradient: bool = False) -> str:
    r"""The formula of a loss in LaTeX, for math mode or in an environment of its own.

    With `name` (or an environment, or the gradient) it is an equation, \mathcal{L}(y, f) = ...; a loss of several
    classes is then the sum over them. With `gradient` the derivative in f follows on a line of its own.

    Raises LimitError (L111) for a tree of more than 200,000 nodes, UsageError (L245) for an unknown environment,
    LossTypeError (L310) where the gradient has no closed form.
    """
    if environment not in ENVIRONMENTS:
        known = "one of: " + ", ".join(e or "(none)" for e in ENVIRONMENTS)
        raise UsageError("L245", f"`{environment[:40]}` is not an environment for a formula", expected=known)
    if not (environment or name or gradient):
        return latex_of(loss.body)
    sides = equations(loss, name=name, gradient=gradient)
    if not environment and len(sides) == 1:
        return " = ".join(sides[0])
    single = environment.startswith("equation") and len(sides) == 1
    rows = (r" \\" + "\n").join(f"  {left} {'=' if single else '&='} {right}" for left, right in sides)
    lines = [rows]
    if not environment or (environment.startswith("equation") and not single):
        lines = [r"\begin{aligned}", *lines, r"\end{aligned}"]
    return "\n".join([rf"\begin{{{environment}}}", *lines, rf"\end{{{environment}}}"] if environment else lines)


def equations(loss: Loss, *, name: str = "", gradient: bool = False) -> list[tuple[str, str]]:
    r"""Left and right sides: \mathcal{L}(y, f) and the loss of a sample, ∂L/∂f and the derivative of that."""
    summed = loss.layout == CLASSWISE and not loss.reduces_itself
    letter = symbol(name) if name else r"\mathcal{L}"
    letter = rf"\mathcal{{{letter}}}" if len(letter) == 1 else letter
    below = "; " + ", ".join(symbol(p.name) for p in loss.params) if loss.params else ""
    found = [(rf"{letter}(y, f{below})", latex_of(call("sum_c", loss.body) if summed else loss.body))]
    if gradient:
        which = "f_{c}" if loss.layout == CLASSWISE else "f"
        found.append((rf"\frac{{\partial {letter}}}{{\partial {which}}}", latex_of(loss.grad("f").body)))
    return found


def latex_of(root: Expr) -> str:
    """An expression in LaTeX; see `to_latex`."""
    root = fold(root, _expand)
    if root.tree_size > MAX_PRINTED:
        raise LimitError("L111", f"the formula has more than {MAX_PRINTED:,} nodes: too many to print")
    return _Writer(root).run()


def _expand(here: Expr, args: list[Expr]) -> Expr:
    return EXPANDED[here.op](*args) if here.op in EXPANDED else rebuild(here, args)


class _Writer:
    """Prints with a stack of texts and of (node, least level, whether something follows that it must not swallow)."""

    def __init__(self, root: Expr) -> None:
        self.root = root
        self.level: dict[Expr, int] = {}
        self.digit_first: dict[Expr, bool] = {}
        for here in postorder(root):
            self.level[here] = self._level(here)
            self.digit_first[here] = self._starts_with_digit(here)

    def run(self) -> str:
        out: list[str] = []
        stack: list[Piece] = [(self.root, _ANY, False)]
        while stack:
            piece = stack.pop()
            if isinstance(piece, str):
                out.append(piece)
                continue
            here, least, followed = piece
            if self.level[here] < least:
                stack += [r"\right)", (here, _ANY, False), r"\left("]
            else:
                stack.extend(reversed(self._parts(here, followed)))
        return "".join(out)

    def _level(self, here: Expr) -> int:
        if here.op == CONST:
            text = number(here.number)
            if text.startswith("-"):
                return _MINUS
            return _FRACTION if "frac" in text else _PRODUCT if r"\times" in text else _POWER if "^" in text else _ATOM
        if here.op == "mul":
            return _MINUS if self.level[here.args[0]] == _MINUS else _PRODUCT
        levels = {"add": _SUM, "sub": _SUM, "neg": _MINUS, "div": _FRACTION, "pow": _POWER, "exp": _POWER}
        if here.op in levels:
            return levels[here.op]
        if here.op in ("sum_c", "max_c", "where"):
            return _BIG
        return _APPLIED if here.op in NAMED else _SUM if here.op in _COMPARED else _ATOM

    def _starts_with_digit(self, here: Expr) -> bool:
        if here.op == CONST:
            return number(here.number)[0].isdigit()
        return here.op in ("mul", "pow") and self.digit_first[here.args[0]] and self.level[here.args[0]] >= _PRODUCT

    def _parts(self, here: Expr, followed: bool) -> list[Piece]:
        if not here.args:
            return [leaf(here)]
        first, last = here.args[0], here.args[-1]
        if here.op in ("add", "sub"):
            sign = " + " if here.op == "add" else " - "
            return [(first, _SUM, False), sign, (last, _BIG, followed)]
        if here.op == "neg":
            return ["-", (first, _BIG, followed)]
        if here.op == "mul":
            least = _MINUS if self.level[first] == _MINUS else _PRODUCT
            sign = r" \cdot " if self.digit_first[last] and self.level[last] >= _PRODUCT else " "
            return [(first, least, True), sign, (last, _PRODUCT, followed)]
        if here.op == "div":
            return [r"\frac{", (first, _ANY, False), "}{", (last, _ANY, False), "}"]
        if here.op == "pow":
            return [(first, _ATOM, False), "^{", (last, _ANY, False), "}"]
        if here.op in NAMED:
            return self._applied(here, first, followed)
        return self._special(here, followed)

    def _applied(self, here: Expr, x: Expr, followed: bool) -> list[Piece]:
        if self.level[x] == _ATOM and x.op not in _CALLED and not followed and here.op not in _BRACKETED:
            return [NAMED[here.op], " ", (x, _ATOM, False)]
        return [NAMED[here.op], r"\left(", (x, _ANY, False), r"\right)"]

    def _special(self, here: Expr, followed: bool) -> list[Piece]:
        first, last = here.args[0], here.args[-1]
        if here.op == "sqrt":
            return [r"\sqrt{", (first, _ANY, False), "}"]
        if here.op == "exp":
            return ["e^{", (first, _ANY, False), "}"]
        if here.op == "abs":
            return [r"\left|", (first, _ANY, False), r"\right|"]
        if here.op in ("sum_c", "max_c"):
            return [r"\sum_{c} " if here.op == "sum_c" else r"\max_{c} ", (first, _PRODUCT, followed)]
        if here.op in _COMPARED:
            return [(first, _SUM, False), f" {_COMPARED[here.op]} ", (last, _SUM, False)]
        if here.op == "where":
            condition, then, otherwise = here.args
            return [
                r"\begin{cases} ", (then, _ANY, False), r" & \text{if } ", (condition, _ANY, False), r" \\ ",
                (otherwise, _ANY, False), r" & \text{otherwise} \end{cases}",
            ]  # fmt: skip
        listed: list[Piece] = [_LISTED.get(here.op, rf"\operatorname{{{here.op}}}"), r"\left("]
        for i, a in enumerate(here.args):
            listed += [", ", (a, _ANY, False)] if i else [(a, _ANY, False)]
        return [*listed, r"\right)"]


def leaf(here: Expr) -> str:
    """A name or a number."""
    if here.op == CONST:
        return number(here.number)
    if here.op == COEF:
        return rf"\varphi_{{{here.value}}}"
    return symbol(here.name) if here.op in (ARG, PARAM) else _CONSTANTS[here.op]


def symbol(name: str) -> str:
    r"""A name as a symbol: `delta` is \delta, `w1` is w_{1}, `margin` is \mathrm{margin}."""
    found = re.fullmatch(r"([A-Za-z]+?)_?([0-9]*)(?:_(\w+))?", ascii_name(name))
    if found is None:
        return r"\mathrm{" + ascii_name(name).replace("_", r"\_") + "}"
    stem, digits, rest = found.groups()
    shown = f"\\{stem}" if stem in GREEK else stem if len(stem) == 1 else rf"\mathrm{{{stem}}}"
    below = ", ".join([*([digits] if digits else []), *([rf"\mathrm{{{rest}}}".replace("_", r"\_")] if rest else [])])
    return f"{shown}_{{{below}}}" if below else shown


def number(value: Fraction) -> str:
    r"""An exact number: 0.5, \frac{1}{3}, 10^{-7}, 2.5 \times 10^{-7}."""
    text = write_number(value)
    if "/" in text:
        top, bottom = text.lstrip("-").split("/")
        return f"{'-' if value < 0 else ''}\\frac{{{top}}}{{{bottom}}}"
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return text
    power = f"10^{{{int(exponent)}}}"
    return power if mantissa == "1" else f"-{power}" if mantissa == "-1" else rf"{mantissa} \times {power}"
