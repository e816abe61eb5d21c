"""Taylor polynomials as losses: TaylorGLO's cubic (Gonzalez and Miikkulainen 2021) and the quadratic of the thesis.

With y the target, f the prediction and a centre (θ_0, θ_1), every term that f enters up to the given order:

    M = -[θ_2 (f - θ_1) + θ_3/2 (f - θ_1)² + θ_4/6 (f - θ_1)³
          + θ_5 (y - θ_0)(f - θ_1) + θ_6/2 (y - θ_0)(f - θ_1)² + θ_7/2 (y - θ_0)²(f - θ_1)]

Terms in y alone have no gradient and are left out. (The baseline of the thesis's code has y and f exchanged there, so
that three of its parameters do nothing and the last is at most quadratic in f.) It is a symbolic loss like any other
and prints as a formula.
"""

from __future__ import annotations

from fractions import Fraction

from lossc.compiler.ir import Expr, F, Y, coef, const
from lossc.compiler.loss import Loss
from lossc.runtime.meta.symbolic import SPREAD, Symbolic

ORDERS = {"taylor2": 2, "taylor3": 3}


def taylor_loss(order: int, *, y: str = "real", f: str = "real") -> Loss:
    """The polynomial of order 2 (5 coefficients) or 3 (8), for targets and predictions of the given roles."""
    names = iter(range(8))
    a, b = Y - coef(next(names)), F - coef(next(names))
    terms: list[Expr] = [coef(next(names)) * b, coef(next(names)) * const(Fraction(1, 2)) * b**2]
    if order == 3:
        terms.append(coef(next(names)) * const(Fraction(1, 6)) * b**3)
    terms.append(coef(next(names)) * (a * b))
    if order == 3:
        terms.append(coef(next(names)) * const(Fraction(1, 2)) * (a * b**2))
        terms.append(coef(next(names)) * const(Fraction(1, 2)) * (a**2 * b))
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    source = "Gonzalez and Miikkulainen (2021), eq. 2" if order == 3 else "thesis, section 5.6.4"
    return Loss(-total, f"taylor{order}", y, f, doc=f"a Taylor polynomial of order {order}", source=source)


def taylor(name: str, *, y: str = "real", f: str = "real", start: str = "squared") -> Symbolic:
    """The representation "taylor2" or "taylor3".

    start   "squared": around the coefficients with which it is (y - f)², less y² (for gradients, which vanish nowhere
            there); "zero": around 0, as TaylorGLO starts CMA-ES
    """
    order = ORDERS[name]
    loss = taylor_loss(order, y=y, f=f)
    centre = {2: [0, 0, 0, -2, 2], 3: [0, 0, 0, -2, 0, 2, 0, 0]}[order] if start == "squared" else [0] * (3 * order - 1)
    return Symbolic(loss, name=name, weighted=True, start=centre, spread=SPREAD if start == "squared" else 0.0)
