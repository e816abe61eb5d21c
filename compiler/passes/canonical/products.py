"""Products, quotients and powers: flatten, collect exponents, rebuild in order.

A product is a coefficient and, for each base, how often it stands above and below the bar. Above and below cancel only
where the base is certainly not zero; otherwise just enough stays below to keep the hole in the domain (x^3/x stays
x^3/x, 1/(1/x) stays undefined at 0).
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

from lossc.compiler.facts import Facts
from lossc.compiler.ir import CONST, ONE, ZERO, Expr, const, node
from lossc.compiler.passes.canonical.order import sort_key
from lossc.compiler.passes.canonical.sums import fits, is_sum, negate, scale, sign_normal, split_coefficient

MAX_POWER = 64
"""Largest exponent that is folded or written (docs/language.md, limits)."""


class _Count(NamedTuple):
    """How often a base stands above and below the bar, and whether it ever stood below one."""

    up: int
    down: int
    under: bool


def exponent_of(here: Expr) -> Expr | None:
    """x where `here` is exp(x), as e is exp(1); else None."""
    return here.args[0] if here.op == "exp" else ONE if here.op == "e" else None


class Product:
    """coefficient * Π base^(above - below) * exp(exponent), in the making."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.coefficient = Fraction(1)
        self.numbers: dict[Expr, int] = {}
        self.powers: dict[Expr, _Count] = {}
        self.exponents: list[tuple[Expr, int]] = []
        self.nowhere = False
        """Set by a division by an exact 0: the product is defined nowhere."""

    def put(self, x: Expr, above: int, below: int, divided: bool = False) -> None:
        """Multiply by x^above / x^below, for a canonical x; `divided` if it stood below some bar on the way."""
        stack = [(x, above, below, divided or below > 0)]
        while stack:
            here, up, down, under = stack.pop()
            if here.op == CONST:
                self._number(here, up, down, under)
            elif here.op == "neg":
                self.coefficient *= (-1) ** ((up + down) % 2)
                stack.append((here.args[0], up, down, under))
            elif here.op == "mul":
                stack += [(a, up, down, under) for a in here.args]
            elif here.op == "div":
                stack += [(here.args[0], up, down, under), (here.args[1], down, up, True)]
            elif is_power(here):
                n = int(here.args[1].number)
                stack.append((here.args[0], up * n, down * n, under))
            else:
                self._base(here, up, down, under)

    def _number(self, here: Expr, up: int, down: int, under: bool) -> None:
        if here.number == 0 and under:
            self.nowhere = True
        elif abs(here.number) == 1:
            self.coefficient *= here.number ** ((up + down) % 2)
        else:
            self.numbers[here] = self.numbers.get(here, 0) + up - down

    def _fold_numbers(self) -> None:
        """All numbers into the coefficient if that stays a writable literal; else they stay as they are."""
        total = self.coefficient
        for here, n in sorted(self.numbers.items(), key=lambda item: item[0].number):
            total = total * here.number**n if abs(n) <= MAX_POWER and fits(total) else Fraction(1, 3**100)
        if fits(total):
            self.coefficient = total
            return
        for here, n in self.numbers.items():
            self.coefficient *= (-1) ** (n % 2) if here.number < 0 else 1
            size = abs(here.number)
            whole = size ** abs(n) if abs(n) <= MAX_POWER else Fraction(1, 3**100)
            base, count = (const(whole), 1) if fits(whole) else (const(size), abs(n))
            old = self.powers.get(base, _Count(0, 0, False))
            self.powers[base] = old._replace(up=old.up + count) if n > 0 else old._replace(down=old.down + count)

    def _base(self, here: Expr, up: int, down: int, under: bool) -> None:
        if (exponent := exponent_of(here)) is not None:
            self.exponents.append((exponent, up - down))
            return
        if is_sum(here):
            sign, here = sign_normal(here, self.facts)
            self.coefficient *= sign ** ((up + down) % 2)
        old = self.powers.get(here, _Count(0, 0, False))
        self.powers[here] = _Count(old.up + up, old.down + down, old.under or under)

    def build(self) -> Expr:
        """The canonical expression."""
        from lossc.compiler.passes.canonical.powers import merged_power, product

        while self.exponents or self._merge_roots():
            self._merge_exponentials()
        self._fold_numbers()
        if self.nowhere:
            return node("div", ONE, ZERO)
        if self.coefficient == 0:
            return self._zero()
        top: dict[Expr, int] = {}
        bottom: dict[Expr, int] = {}
        for base, count in self.powers.items():
            above, below = self._cancel(base, count)
            if above:
                top[base] = above
            if below:
                bottom[base] = below
        for base in [b for b in bottom if top.get(b, 0) > 1]:
            merged = merged_power(base, top[base], self.facts)
            if merged is not None:
                del top[base]
                return product(self.facts, (merged, 1), (scale(self.coefficient, _assemble(top, bottom)), 1))
        whole = _assemble(top, bottom)
        if self.coefficient == -1 and is_sum(whole):
            return negate(whole, self.facts)
        return scale(self.coefficient, whole)

    def _merge_exponentials(self) -> None:
        """exp(a)*exp(b)/exp(c) = exp(a + b - c), which cannot overflow half way."""
        if not self.exponents:
            return
        from lossc.compiler.passes.canonical.identities import apply, total_sum

        grown = apply("exp", (total_sum(self.facts, *self.exponents),), self.facts)
        self.exponents = []
        if exponent_of(grown) is not None:
            self.powers[grown] = _Count(1, 0, False)
        else:
            self.put(grown, 1, 0)

    def _merge_roots(self) -> bool:
        """|x|*sign(x) is x, |x|^2 is x^2, sqrt(x)^2 is x (for x known to be >= 0): where a base stands on one side."""
        from lossc.compiler.passes.canonical.powers import merged_power

        changed = False
        for base in [b for b in self.powers if b.op == "sign"]:
            size, sign = node("abs", base.args[0]), self.powers[base]
            if size in self.powers and not (sign.down or self.powers[size].down):
                del self.powers[base]
                self._drop_one(size)
                self._drop_one(base, sign)
                self.put(base.args[0], 1, 0)
                changed = True
        for base, count in list(self.powers.items()):
            n = max(count.up, count.down)
            if n > 1 and min(count.up, count.down) == 0:
                merged = merged_power(base, n, self.facts)
                if merged is not None:
                    del self.powers[base]
                    self.put(merged, int(count.up > 0), int(count.down > 0), count.under)
                    changed = True
        return changed

    def _drop_one(self, base: Expr, count: _Count | None = None) -> None:
        """Take one factor `base` off the top."""
        old = count if count is not None else self.powers.pop(base)
        if old.up > 1:
            self.powers[base] = old._replace(up=old.up - 1)

    def _cancel(self, base: Expr, count: _Count) -> tuple[int, int]:
        net = count.up - count.down
        if net < 0:
            return 0, -net
        if not count.under or (self.facts.nonzero(base) and self.facts.total(base)):
            return net, 0
        if any(_divides_by(other, base) for other in self.powers if other is not base):
            return net, 0
        return net + 1, 1

    def _zero(self) -> Expr:
        """0 times something: 0 if all of it is certainly defined, else 0 times the part that may not be."""
        unsure = [
            (b, count.under)
            for b, count in self.powers.items()
            if not self.facts.total(b) or (count.under and not self.facts.nonzero(b))
        ]
        if not unsure:
            return ZERO
        rest = Product(self.facts)
        rest.powers = {b: _Count(0, 1, True) if under else _Count(1, 0, False) for b, under in unsure}
        return node("mul", ZERO, split_coefficient(rest.build())[1])


def _divides_by(root: Expr, base: Expr) -> bool:
    """Whether `root` is certainly undefined where base is 0, since it divides by it: then nothing else must say so."""
    stack = [root]
    seen: set[Expr] = set()
    while stack:
        here = stack.pop()
        if here in seen or here.op == "where" or here is base:
            continue
        seen.add(here)
        if here.op == "div" and base in _factors(here.args[1]):
            return True
        stack += here.args
    return False


def _factors(x: Expr) -> list[Expr]:
    out, stack = [], [x]
    while stack:
        here = stack.pop()
        if here.op == "mul":
            stack += here.args
        elif here.op == "neg" or is_power(here):
            stack.append(here.args[0])
        else:
            out.append(here)
    return out


def _assemble(top: dict[Expr, int], bottom: dict[Expr, int]) -> Expr:
    """Π top / Π bottom, factors of one exponent raised together: (x*y/z)^2 costs less than x^2*y^2/z^2."""
    ups, downs = [b for b, n in top.items() if n == 1], [b for b, n in bottom.items() if n == 1]
    for n in sorted({n for n in (*top.values(), *bottom.values()) if n > 1}, reverse=True):
        up_n, down_n = [b for b, k in top.items() if k == n], [b for b, k in bottom.items() if k == n]
        if up_n:
            ups += _powers(_ratio(_chain(up_n), down_n), n)
        else:
            downs += _powers(_chain(down_n), n)
    return _ratio(_chain(ups), downs)


def is_power(x: Expr) -> bool:
    """Whether x is base^n for a positive whole n that products may collect."""
    return (
        x.op == "pow"
        and x.args[1].op == CONST
        and x.args[1].number.denominator == 1
        and 0 < x.args[1].number <= MAX_POWER
    )


def _powers(base: Expr, n: int) -> list[Expr]:
    out: list[Expr] = []
    while n > MAX_POWER:
        out.append(node("pow", base, const(MAX_POWER)))
        n -= MAX_POWER
    out.append(base if n == 1 else node("pow", base, const(n)))
    return out


def _chain(factors: Iterable[Expr]) -> Expr:
    ordered = sorted(factors, key=sort_key)
    if not ordered:
        return ONE
    out = ordered[0]
    for factor in ordered[1:]:
        out = node("mul", out, factor)
    return out


def _ratio(top: Expr, bottom: list[Expr]) -> Expr:
    return node("div", top, _chain(bottom)) if bottom else top
