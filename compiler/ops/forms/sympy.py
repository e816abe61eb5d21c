"""The forms of SymPy for operators that it has no function for: real expressions that are equal, in functions it has.

A function that SymPy has is not here: its record names it (`OpRecord.sympy`), and `lossc.compiler.sympy_bridge` and the
target "sympy" both read that. `sp` is SymPy; Python's operators build sums, products, powers and comparisons.
"""

from __future__ import annotations

from collections.abc import Mapping

KEY = "sympy"

# The table is laid out by hand.
# fmt: off
FORMS: Mapping[str, str] = {
    "add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "div": "{0} / {1}", "neg": "-{0}", "pow": "{0} ** {1}",
    "square": "{0} ** 2", "sqrt": "sp.sqrt({0})",
    "eps": "sp.Rational(1, 10000000)",
    "expm1": "sp.exp({0}) - 1", "log1p": "sp.log(1 + {0})", "log2": "sp.log({0}) / sp.log(2)",
    "log10": "sp.log({0}) / sp.log(10)", "log1mexp": "sp.log(1 - sp.exp({0}))",
    "sigmoid": "1 / (1 + sp.exp(-{0}))", "logsigmoid": "-sp.log(1 + sp.exp(-{0}))", "softplus": "sp.log(1 + sp.exp({0}))",
    "relu": "sp.Max({0}, 0)", "logcosh": "sp.log(sp.cosh({0}))",
    "lgamma": "sp.loggamma({0})", "digamma": "sp.digamma({0})", "trigamma": "sp.polygamma(1, {0})",
    "lt": "{0} < {1}", "le": "{0} <= {1}", "gt": "{0} > {1}", "ge": "{0} >= {1}", "eq": "sp.Eq({0}, {1})",
    "ne": "sp.Ne({0}, {1})",
    "clamp": "sp.Min(sp.Max({0}, {1}), {2})", "where": "sp.Piecewise(({1}, {0}), ({2}, True))",
    "hypot": "sp.sqrt({0} ** 2 + {1} ** 2)", "logaddexp": "sp.log(sp.exp({0}) + sp.exp({1}))",
    "xlogy": "sp.Piecewise((0, sp.Eq({0}, 0)), ({0} * sp.log({1}), True))", "atan2": "sp.atan2({0}, {1})",
    "log1psq": "sp.log(1 + {0} ** 2)", "div1psq": "{0} / (1 + {0} ** 2)", "sqdiv1psq": "{0} ** 2 / (1 + {0} ** 2)",
    "hypotm": "sp.sqrt({0} ** 2 + {1} ** 2) - {1}", "over_hypot": "{0} / sp.sqrt({0} ** 2 + {1} ** 2)",
    "logratio": "sp.log({0} / {1})", "aq": "{0} / sp.sqrt(1 + {1} ** 2)",
    "plog": "sp.log(sp.Abs({0}) + sp.Rational(1, 10000000))", "psqrt": "sp.sqrt(sp.Abs({0}) + sp.Rational(1, 10000000))",
    "clog": "sp.log(sp.Max(sp.Abs({0}), sp.Rational(1, 10000000)))",
    "csqrt": "sp.sqrt(sp.Max(sp.Abs({0}), sp.Rational(1, 10000000)))",
}
