"""The forms of FPCore 2.0 (fpbench.org): s-expressions over the functions of C's math.h.

An operand that stands more than once in a form is bound by a `let*` first. There is no digamma in FPCore; operators
along the class axis are unrolled before anything is printed.
"""

from __future__ import annotations

from collections.abc import Mapping

KEY = "fpcore"

# The table is laid out by hand.
# fmt: off
FORMS: Mapping[str, str] = {
    "pi": "PI", "e": "E", "eps": "1e-7",
    "add": "(+ {0} {1})", "sub": "(- {0} {1})", "mul": "(* {0} {1})", "div": "(/ {0} {1})", "neg": "(- {0})",
    "pow": "(pow {0} {1})", "square": "(* {0} {0})", "abs": "(fabs {0})",
    "sign": "(if (> {0} 0) 1 (if (< {0} 0) -1 {0}))",
    "heaviside": "(if (> {0} 0) 1 (if (< {0} 0) 0 (+ {0} 0.5)))",
    "exp": "(exp {0})", "expm1": "(expm1 {0})", "log": "(log {0})", "log1p": "(log1p {0})", "log2": "(log2 {0})",
    "log10": "(log10 {0})", "sqrt": "(sqrt {0})",
    "log1mexp": "(if (> {0} (- LN2)) (log (- (expm1 {0}))) (log1p (- (exp {0}))))",
    "sigmoid": "(if (>= {0} 0) (/ 1 (+ 1 (exp (- {0})))) (/ (exp {0}) (+ 1 (exp {0}))))",
    "logsigmoid": "(- (if (< {0} 0) {0} 0) (log1p (exp (- (fabs {0})))))",
    "softplus": "(+ (if (> {0} 0) {0} 0) (log1p (exp (- (fabs {0})))))",
    "relu": "(if (< {0} 0) 0 {0})",
    "logcosh": "(if (< (fabs {0}) 1) (log1p (* 2 (* (sinh (* 0.5 {0})) (sinh (* 0.5 {0}))))) "
               "(- (+ (fabs {0}) (log1p (exp (* -2 (fabs {0}))))) LN2))",
    "erf": "(erf {0})", "erfc": "(erfc {0})",
    "sin": "(sin {0})", "cos": "(cos {0})", "tan": "(tan {0})", "asin": "(asin {0})", "acos": "(acos {0})",
    "atan": "(atan {0})", "sinh": "(sinh {0})", "cosh": "(cosh {0})", "tanh": "(tanh {0})", "asinh": "(asinh {0})",
    "acosh": "(acosh {0})", "atanh": "(atanh {0})", "lgamma": "(lgamma {0})",
    "lt": "(< {0} {1})", "le": "(<= {0} {1})", "gt": "(> {0} {1})", "ge": "(>= {0} {1})", "eq": "(== {0} {1})",
    "ne": "(!= {0} {1})",
    "max": "(fmax {0} {1})", "min": "(fmin {0} {1})", "clamp": "(fmin (fmax {0} {1}) {2})",
    "where": "(if {0} {1} {2})", "hypot": "(hypot {0} {1})",
    "logaddexp": "(+ (fmax {0} {1}) (log1p (exp (- (fabs (- {0} {1}))))))",
    "xlogy": "(if (== {0} 0) 0 (* {0} (log {1})))", "atan2": "(atan2 {0} {1})",
    "log1psq": "(if (> (fabs {0}) 1) (+ (* 2 (log (fabs {0}))) (log1p (/ (/ 1 {0}) {0}))) (log1p (* {0} {0})))",
    "div1psq": "(if (> (fabs {0}) 1) (/ 1 (+ {0} (/ 1 {0}))) (/ {0} (+ 1 (* {0} {0}))))",
    "sqdiv1psq": "(if (> (fabs {0}) 1) (/ 1 (+ 1 (/ (/ 1 {0}) {0}))) (/ (* {0} {0}) (+ 1 (* {0} {0}))))",
    "hypotm": "(* {0} (/ {0} (+ (hypot {0} {1}) {1})))", "over_hypot": "(/ {0} (hypot {0} {1}))",
    "logratio": "(if (< (fabs (- {0} {1})) (* 0.5 {1})) (log1p (/ (- {0} {1}) {1})) (- (log {0}) (log {1})))",
    "aq": "(/ {0} (hypot 1 {1}))",
    "plog": "(log (+ (fabs {0}) 1e-7))", "psqrt": "(sqrt (+ (fabs {0}) 1e-7))",
    "clog": "(log (fmax (fabs {0}) 1e-7))", "csqrt": "(sqrt (fmax (fabs {0}) 1e-7))",
}
