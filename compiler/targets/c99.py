"""Target "c": a header that computes a loss, its gradient and its Hessian diagonal; C99, C++ and CUDA device code.

    $ lossc export pseudo_huber --to c -o pseudo_huber.h

The functions are `static inline` (LOSSC_FN), on scalars or on one sample, and on arrays, in double and in float (with
the suffix f, as math.h has it). Nothing is allocated, nothing is included but math.h and stddef.h. Compiled with
-DLOSSC_SELF_TEST it is a program that tests itself.
"""

from __future__ import annotations

import textwrap

from lossc._version import __version__
from lossc.compiler.loss import CLASSWISE, IDENTITY, Loss
from lossc.compiler.targets.c99_kernel import DOUBLE, FLOAT, KEY, Block, Real, fits_float, write
from lossc.compiler.targets.c99_test import self_test
from lossc.compiler.targets.derivatives import Roots, roots
from lossc.compiler.targets.golden import golden
from lossc.compiler.targets.options import DEFAULT, Options
from lossc.compiler.targets.python_file import FileNames, names_for
from lossc.compiler.targets.torch_header import about

_KEYWORDS = frozenset({
    "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern",
    "float", "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed",
    "sizeof", "static", "struct", "switch", "typedef", "union", "unsigned", "void", "volatile", "while", "_Bool",
    "_Complex", "_Imaginary", "alignas", "alignof", "and", "and_eq", "asm", "bitand", "bitor", "bool", "catch",
    "char16_t", "char32_t", "char8_t", "class", "co_await", "co_return", "co_yield", "compl", "concept", "consteval",
    "constexpr", "constinit", "const_cast", "decltype", "delete", "dynamic_cast", "explicit", "export", "false",
    "friend", "mutable", "namespace", "new", "noexcept", "not", "not_eq", "nullptr", "operator", "or", "or_eq",
    "private", "protected", "public", "reinterpret_cast", "requires", "static_assert", "static_cast", "template",
    "this", "thread_local", "throw", "true", "try", "typeid", "typename", "using", "virtual", "wchar_t", "xor",
    "xor_eq", "typeof", "nullptr_t", "linux", "unix",
})  # fmt: skip
"""Words of C and C++, and macros that compilers define."""

_MATH = frozenset({
    "exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh",
    "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "lgamma", "fabs", "pow", "hypot", "atan2", "INFINITY",
    "NAN", "size_t", "main", "printf",
})  # fmt: skip

_OWN = frozenset({"y", "f", "c", "i", "classes", "stride", "count", "value", "gradient", "hessian", "out", "total"})
"""Names of arguments and loops."""

_PROLOGUE = """
#include <math.h>
#include <stddef.h>

#ifndef LOSSC_FN
#ifdef __CUDACC__
#define LOSSC_FN static __host__ __device__ inline
#else
#define LOSSC_FN static inline
#endif
#endif
"""

_GLUE = "\0"

ORDERS = ("", "_gradient", "_hessian")
_WHAT = {
    "": "The loss of one {per}.",
    "_gradient": "Its derivative with respect to f{each}.",
    "_hessian": "Its second derivative with respect to f{each}.",
}


def emit(loss: Loss, *, selftest: bool = True, options: Options = DEFAULT) -> str:
    """The source text of a header for `loss`; with `selftest` it can be compiled to a program that checks it.

    Raises LossTypeError: L310 for an operator without a derivative in closed form, L340 for constants that float64
    cannot hold, L341 for learnable coefficients, L345 for an operator without a form in C.
    """
    found = roots(loss, KEY, options)
    loss = found.stages.written
    suffixed = {f"{m}f" for m in _MATH}
    names = names_for(loss, {*_KEYWORDS, *_MATH, *suffixed, *_OWN})
    single = fits_float([found.value, found.gradient, found.hessian])
    guard = f"LOSSC_{names.function.upper()}_H"
    parts = [_comment(_head(found, names, single)), f"#ifndef {guard}\n#define {guard}\n{_PROLOGUE.rstrip()}"]
    for real in (DOUBLE, FLOAT) if single else (DOUBLE,):
        parts += [_function(found, names, end, real) for end in ORDERS]
        parts.append(_array(found, names, real))
    parts.append(f"#endif /* {guard} */")
    if selftest:
        reference = golden(loss if options.eps == "none" else found.stages.protected)
        parts.insert(-1, self_test(loss, names, reference, single=single))
    return "\n\n".join(parts) + "\n"


def _head(found: Roots, names: FileNames, single: bool) -> list[str]:
    loss = found.stages.written
    scores = "values" if loss.link == IDENTITY else "scores (logits)"
    rows = [("arguments", f"y: the target, f: {scores}; then the hyper-parameters, in the order of the loss")]
    if loss.layout == CLASSWISE:
        rows = [
            (
                "arguments",
                f"y, f: the target and {scores} of one sample, `classes` numbers, `stride` apart (1: side by",
            ),
            ("", "side; the size of an image for planes); then the hyper-parameters, in the order of the loss"),
        ]
    if not single:
        rows.append(("float", "left out: a constant of the loss is too large or too small for it"))
    return about(found.stages, names.function, names.hyperparameters, __version__, rows)


def _comment(lines: list[str]) -> str:
    """A block comment that nothing in it can end, and no compiler warns of."""
    safe = [" ".join(line.split(" ")).replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?") for line in lines]
    return "\n".join(["/*", *(f" * {line}".rstrip() for line in safe), " */"])


def _parameters(names: FileNames, real: Real, loss: Loss) -> list[str]:
    return [f"{real.name} {names.hyperparameters[p.name]}" for p in loss.params]


def _function(found: Roots, names: FileNames, end: str, real: Real) -> str:
    """The value or a derivative: of an element, or of a sample of `classes` numbers."""
    loss = found.loss
    root = {"": found.value, "_gradient": found.gradient, "_hessian": found.hessian}[end]
    classwise = loss.layout == CLASSWISE
    operands = {"y": "y", "f": "f", **names.hyperparameters}
    block = write(root, operands, real, classwise=classwise)
    body = (_sample(block, loss, end, real) if classwise else [*block.lines, f"return {block.result};"]) or []
    arguments = _inputs(loss, real) + _parameters(names, real, loss)
    arguments += [f"{real.name} *out"] if classwise and end else []
    unused = [f"(void){operands[n]};" for n in ("y", "f", *names.hyperparameters) if n not in block.mentions]
    sizes = ("classes", "stride") if classwise else ()
    unused += [f"(void){n};" for n in sizes if not any(n in line for line in body)]
    returns = "void" if classwise and end else real.name
    doc = _WHAT[end].format(per="sample" if classwise else "element", each=", at each class" if classwise else "")
    return _definition(returns, names.function + end + real.suffix, arguments, [*unused, *body], doc)


def _inputs(loss: Loss, real: Real) -> list[str]:
    if loss.layout == CLASSWISE:
        return ["size_t classes", "size_t stride", f"const {real.name} *y", f"const {real.name} *f"]
    return [f"{real.name} y", f"{real.name} f"]


def _sample(block: Block, loss: Loss, end: str, real: Real) -> list[str]:
    """The statements for a sample: the value summed over the classes, a derivative written to each."""
    head, inner = "for (size_t c = 0; c < classes; ++c) {", [f"    {line}" for line in block.last]
    if end:
        return [*block.lines, head, *inner, f"    out[c * stride] = {block.result};", "}"]
    if loss.reduces_itself:
        return [*block.lines, f"return {block.result};"]
    total = f"{real.name} total = 0;"
    return [*block.lines, total, head, *inner, f"    total += {block.result};", "}", "return total;"]


def _array(found: Roots, names: FileNames, real: Real) -> str:
    """All three on arrays; what is not wanted is NULL."""
    loss, name, t = found.loss, names.function, real.suffix
    given = "".join(f", {names.hyperparameters[p.name]}" for p in loss.params)
    outputs = [f"{real.name} *value", f"{real.name} *gradient", f"{real.name} *hessian"]
    arrays = [f"const {real.name} *y", f"const {real.name} *f"]
    classwise = loss.layout == CLASSWISE
    sizes = ["size_t count", "size_t classes"] if classwise else ["size_t count"]
    if classwise:
        at = f"classes, 1, y + i * classes, f + i * classes{given}"
        calls = [
            f"if (value) value[i] = {name}{t}({at});",
            *(f"if ({w}) {name}_{w}{t}({at}, {w} + i * classes);" for w in ("gradient", "hessian")),
        ]
        doc = "The same for `count` samples, one row of `classes` numbers each; an output that is NULL is left out."
    else:
        calls = [f"if (value) value[i] = {name}{t}(y[i], f[i]{given});"]
        calls += [f"if ({w}) {w}[i] = {name}_{w}{t}(y[i], f[i]{given});" for w in ("gradient", "hessian")]
        doc = "The same for `count` elements; an output that is NULL is left out."
    body = ["for (size_t i = 0; i < count; ++i) {", *(f"    {line}" for line in calls), "}"]
    arguments = [*sizes, *arrays, *_parameters(names, real, loss), *outputs]
    return _definition("void", f"{name}_array{t}", arguments, body, doc)


def _definition(returns: str, name: str, arguments: list[str], body: list[str], doc: str) -> str:
    glued = ", ".join(a.replace(" ", _GLUE) for a in arguments)  # a line ends between arguments only
    wrapped = textwrap.wrap(
        f"LOSSC_FN {returns} {name}({glued})",
        100,
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(
        [f"/* {doc} */", *(line.replace(_GLUE, " ") for line in wrapped), "{", *(f"    {line}" for line in body), "}"]
    )
