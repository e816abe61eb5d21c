"""The forms of Julia. `T` is the type to compute in, so that Float32 stays Float32: no form holds a float literal.

Julia throws a DomainError where IEEE arithmetic gives NaN (log(-1.0), sqrt(-1.0), sin(Inf)), branches that are not
taken included. So these forms ask first; where the operand is known to be in the domain, `DEFINED` has the plain form.
"""

from __future__ import annotations

from collections.abc import Mapping

KEY = "julia"

# The tables are laid out by hand.
# fmt: off
FORMS: Mapping[str, str] = {
    "pi": "T(pi)", "e": "T(ℯ)", "eps": "T(1e-7)",
    "add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "div": "{0} / {1}", "neg": "-{0}",
    "pow": "({0} < 0 && !isinteger({1}) ? T(NaN) : {0}^{1})", "square": "{0} * {0}", "abs": "abs({0})",
    "sign": "sign({0})", "heaviside": "(sign({0}) + 1) / 2",
    "exp": "exp({0})", "expm1": "expm1({0})",
    "log": "({0} < 0 ? T(NaN) : log({0}))", "log1p": "({0} < -1 ? T(NaN) : log1p({0}))",
    "log2": "({0} < 0 ? T(NaN) : log2({0}))", "log10": "({0} < 0 ? T(NaN) : log10({0}))",
    "log1mexp": "({0} > 0 ? T(NaN) : {0} > -log(T(2)) ? log(-expm1({0})) : log1p(-exp({0})))",
    "sqrt": "({0} < 0 ? T(NaN) : sqrt({0}))",
    "sigmoid": "({0} >= 0 ? 1 / (1 + exp(-{0})) : exp({0}) / (1 + exp({0})))",
    "logsigmoid": "min({0}, 0) - log1p(exp(-abs({0})))", "softplus": "max({0}, 0) + log1p(exp(-abs({0})))",
    "relu": "max({0}, 0)",
    "logcosh": "(abs({0}) < 1 ? log1p(2 * sinh({0} / 2)^2) : abs({0}) + log1p(exp(-2 * abs({0}))) - log(T(2)))",
    "erf": "erf({0})", "erfc": "erfc({0})",
    "sin": "(isinf({0}) ? T(NaN) : sin({0}))", "cos": "(isinf({0}) ? T(NaN) : cos({0}))",
    "tan": "(isinf({0}) ? T(NaN) : tan({0}))",
    "asin": "(abs({0}) > 1 ? T(NaN) : asin({0}))", "acos": "(abs({0}) > 1 ? T(NaN) : acos({0}))",
    "atan": "atan({0})", "sinh": "sinh({0})", "cosh": "cosh({0})", "tanh": "tanh({0})", "asinh": "asinh({0})",
    "acosh": "({0} < 1 ? T(NaN) : acosh({0}))", "atanh": "(abs({0}) > 1 ? T(NaN) : atanh({0}))",
    "lgamma": "({0} > 0 ? loggamma({0}) : T(NaN))", "digamma": "({0} > 0 ? digamma({0}) : T(NaN))",
    "trigamma": "({0} > 0 ? trigamma({0}) : T(NaN))",
    "lt": "{0} < {1}", "le": "{0} <= {1}", "gt": "{0} > {1}", "ge": "{0} >= {1}", "eq": "{0} == {1}",
    "ne": "{0} != {1}",
    "max": "max({0}, {1})", "min": "min({0}, {1})", "clamp": "min(max({0}, {1}), {2})",
    "where": "ifelse({0}, T({1}), T({2}))", "hypot": "hypot({0}, {1})",
    "logaddexp": "max({0}, {1}) + log1p(exp(-abs({0} - {1})))",
    "xlogy": "({0} == 0 ? zero(T) : {1} < 0 ? T(NaN) : {0} * log({1}))", "atan2": "atan({0}, {1})",
    "log1psq": "(abs({0}) > 1 ? 2 * log(abs({0})) + log1p(1 / {0} / {0}) : log1p({0} * {0}))",
    "div1psq": "(abs({0}) > 1 ? 1 / ({0} + 1 / {0}) : {0} / (1 + {0} * {0}))",
    "sqdiv1psq": "(abs({0}) > 1 ? 1 / (1 + 1 / {0} / {0}) : {0} * {0} / (1 + {0} * {0}))",
    "hypotm": "{0} * ({0} / (hypot({0}, {1}) + {1}))", "over_hypot": "{0} / hypot({0}, {1})",
    "logratio": "({0} < 0 || {1} < 0 ? T(NaN) : abs({0} - {1}) < {1} / 2 ? log1p(({0} - {1}) / {1}) : log({0}) - log({1}))",
    "aq": "{0} / hypot(one(T), {1})",
    "plog": "log(abs({0}) + T(1e-7))", "psqrt": "sqrt(abs({0}) + T(1e-7))",
    "clog": "log(max(abs({0}), T(1e-7)))", "csqrt": "sqrt(max(abs({0}), T(1e-7)))",
}

DEFINED: Mapping[str, tuple[float, float, str]] = {
    "log": (0.0, float("inf"), "log({0})"), "log2": (0.0, float("inf"), "log2({0})"),
    "log10": (0.0, float("inf"), "log10({0})"), "sqrt": (0.0, float("inf"), "sqrt({0})"),
    "log1p": (0.0, float("inf"), "log1p({0})"), "pow": (0.0, float("inf"), "{0}^{1}"),
    "asin": (-0.9, 0.9, "asin({0})"), "acos": (-0.9, 0.9, "acos({0})"), "atanh": (-0.9, 0.9, "atanh({0})"),
    "acosh": (1.1, float("inf"), "acosh({0})"),
}
"""Operator -> the range of its first operand in which the plain form never throws, rounding included, and that form."""

SPECIAL: Mapping[str, str] = {
    "erf": "erf", "erfc": "erfc", "lgamma": "loggamma", "digamma": "digamma", "trigamma": "trigamma",
}
"""Operators whose function is not Julia's own but of SpecialFunctions.jl, and what it is called there."""
