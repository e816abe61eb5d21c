"""Which constants of a loss a dtype cannot hold (docs/numerics.md, V33 and finding 6).

A loss is written in real numbers. In float16, 1e-8 is 0, and the logarithm that it protects is infinite; in bfloat16,
1 - 1e-3 is 1. So before code is emitted for a dtype, every constant of the formula is looked at: one that becomes 0,
infinite or 1 there says something else than what is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from lossc.compiler import ops
from lossc.compiler.errors import Diagnostic, LossTypeError, Span
from lossc.compiler.evaluate import evaluate
from lossc.compiler.formats import FORMATS, Format
from lossc.compiler.ir import ARG, COEF, CONST, PARAM, Expr, postorder
from lossc.compiler.literals import write_number
from lossc.compiler.loss import Loss
from lossc.compiler.printing import to_text


def becomes(number: Fraction, form: Format) -> str:
    """What the number is in a format, if that is something else: "0", "infinite", "1" or "-1"; else ""."""
    size = abs(number)
    if size == 0 or size == 1:
        return ""
    if size <= form.smallest / 2:
        return "0"
    if size >= form.overflow:
        return "infinite"
    half = Fraction(2) ** -form.digits
    if -half / 2 <= size - 1 <= half:
        return "1" if number > 0 else "-1"
    return ""


@dataclass(frozen=True, slots=True)
class Unfit:
    """A constant that a dtype cannot hold: how it is written, what it becomes, and where it stands."""

    text: str
    becomes: str
    format: Format
    span: Span | None = None

    @property
    def message(self) -> str:
        return f"the constant `{self.text}` is {self.becomes} in {self.format.name}"

    @property
    def expected(self) -> str:
        """What would fit."""
        low, high = float(self.format.smallest), float(self.format.largest)
        if self.becomes in ("1", "-1"):
            return f"numbers that differ from 1 by {2.0 ** (1 - self.format.digits):.2g} or more"
        return f"constants from {low:.2g} to {high:.5g} in size, better not below {float(self.format.normal):.2g}"


def unfit_constants(loss: Loss, *compiled: Loss, dtype: str) -> list[Unfit]:
    """The constants that `dtype` cannot hold, in the order of the formula: those written, the defaults of
    hyper-parameters, then those that the passes have made (in the `compiled` forms)."""
    wanted = FORMATS[dtype]
    found: dict[Fraction, Unfit] = {}
    for here, number in _constants(loss.body):
        if changed := becomes(number, wanted):
            found.setdefault(number, Unfit(to_text(here), changed, wanted, loss.spans.get(here)))
    for p in loss.params:
        if p.default is not None and (changed := becomes(p.default, wanted)):
            found.setdefault(p.default, Unfit(f"{p.name} = {write_number(p.default)}", changed, wanted))
    for other in compiled:
        for here, number in _constants(other.body):
            if changed := becomes(number, wanted):
                found.setdefault(number, Unfit(to_text(here), changed, wanted))
    return list(found.values())


def check_constants(loss: Loss, *compiled: Loss, dtype: str) -> None:
    """Raise LossTypeError (L342) if `dtype` cannot hold a constant of the loss, with what to do instead."""
    found = unfit_constants(loss, *compiled, dtype=dtype)
    if not found:
        return
    first = found[0]
    others = f", and {len(found) - 1} more do not fit" if len(found) > 1 else ""
    hint = _hint(first.format)
    problem = LossTypeError("L342", first.message + others, first.span, expected=first.expected, hint=hint)
    raise problem if loss.text is None else problem.located(loss.text)


def constant_warnings(loss: Loss, dtype: str) -> list[Diagnostic]:
    """A warning (L335) for each written constant that `dtype` cannot hold."""
    return [
        Diagnostic("L335", u.message, u.span, loss.text, expected=u.expected, severity="warning")
        for u in unfit_constants(loss, dtype=dtype)
    ]


def _hint(wanted: Format) -> str:
    if wanted.digits < 24:
        return "without --dtype, half precision is computed in float32, where smaller constants count"
    return "write the loss in other units" if wanted.name == "float64" else "compile for float64, or in other units"


def _constants(root: Expr) -> Iterator[tuple[Expr, Fraction]]:
    """The largest parts without an argument or hyper-parameter, and the ε inside the protected operators."""
    alive: set[Expr] = set()
    order = postorder(root)
    for here in order:
        if here.op in (ARG, PARAM, COEF) or here.op == "num_classes" or any(a in alive for a in here.args):
            alive.add(here)
    seen: set[Expr] = set()
    for here in reversed(order):  # parents first
        if here in alive:
            if here.op in ops.WITH_EPSILON:
                yield here, ops.EPSILON
            continue
        if here not in seen and ops.kind_of(here) == ops.REAL_KIND:
            number = _value(here)
            if number is not None:
                yield here, number
        seen.update(postorder(here))


def _value(here: Expr) -> Fraction | None:
    if here.op == CONST:
        return here.number
    import mpmath

    found = evaluate(here, {}, dps=40)
    if isinstance(found, bool) or not mpmath.isfinite(found):
        return None
    man, exp = found.man_exp
    return Fraction(int(man)) * Fraction(2) ** int(exp) * (-1 if found < 0 else 1)
