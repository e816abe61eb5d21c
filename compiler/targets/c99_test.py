"""The self-test of an emitted header: with -DLOSSC_SELF_TEST it is a program that compares golden values."""

from __future__ import annotations

from typing import Any

from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.targets.golden import CLASSES, Golden
from lossc.compiler.targets.python_file import FileNames

_EXPECT = """
static int lossc_expect(const char *what, const double *got, const double *want, size_t count, double tolerance)
{
    double scale = 1e-3, worst = 0.0;
    for (size_t i = 0; i < count; ++i) {
        const double error = fabs(got[i] - want[i]);
        scale = fabs(want[i]) > scale ? fabs(want[i]) : scale;
        worst = error > worst || error != error ? error : worst;
    }
    if (worst <= tolerance * scale) return 0;
    fprintf(stderr, "self-test failed: %s: off by %g\\n", what, worst);
    return 1;
}
"""


def self_test(loss: Loss, names: FileNames, golden: Golden, *, single: bool) -> str:
    """The program, between #ifdef and #endif."""
    if not golden.values:
        text = f"ok: {names.function} (nothing to compare: defined at no point tried)"
        body = ["int main(void)", "{", f'    puts("{text}");', "    return 0;", "}"]
        return "\n".join(["#ifdef LOSSC_SELF_TEST", "#include <stdio.h>", "", *body, "#endif"])
    return "\n".join([
        "#ifdef LOSSC_SELF_TEST",
        "#include <stdio.h>",
        _EXPECT.rstrip(),
        "",
        "/* Compares with what the reference interpreter of lossc found with 50 digits. */",
        "int main(void)",
        "{",
        *(f"    {line}" for line in _main(loss, names, golden, single)),
        "}",
        "#endif",
    ])  # fmt: skip


def _main(loss: Loss, names: FileNames, golden: Golden, single: bool) -> list[str]:
    count, name = len(golden.values), names.function
    classwise = loss.layout == CLASSWISE
    size = count * CLASSES if classwise else count
    given = [golden.hyperparameters[p.name] for p in loss.params]
    sizes = f"{count}, {CLASSES}" if classwise else str(count)
    lines = [
        *_data("y", golden.targets),
        *_data("f", golden.inputs),
        *_data("values", golden.values),
        *_data("gradients", golden.gradients),
        *_data("hessians", golden.curvatures),
        f"double value[{count}], gradient[{size}], hessian[{size}];",
        "int failed = 0;",
        f"{name}_array({sizes}, y, f{_numbers(given, '')}, value, gradient, hessian);",
        f'failed |= lossc_expect("values", value, values, {count}, 1e-9);',
        f'failed |= lossc_expect("gradients", gradient, gradients, {size}, 1e-9);',
        f'failed |= lossc_expect("Hessians", hessian, hessians, {size}, 1e-9);',
    ]
    if single:
        lines += [
            *_data("yf", golden.targets, "float"),
            *_data("ff", golden.inputs, "float"),
            f"float single[{count}], singles[{size}];",
            f"{name}_arrayf({sizes}, yf, ff{_numbers(given, 'f')}, single, singles, singles);",
            f"for (size_t i = 0; i < {count}; ++i) value[i] = (double)single[i];",
            f'failed |= lossc_expect("float values", value, values, {count}, 1e-2);',
        ]
    text = f"ok: {name}: {count} values, gradients and Hessians equal the reference to 1e-9"
    return [*lines, f'if (!failed) puts("{text}");', "return failed;"]


def _numbers(values: list[float], suffix: str) -> str:
    return "".join(f", {v!r}{suffix}" for v in values)


def _data(name: str, values: tuple[Any, ...], kind: str = "double") -> list[str]:
    flat = [x for v in values for x in (v if isinstance(v, tuple) else (v,))]
    suffix = "f" if kind == "float" else ""
    shown = [f"{float(v)!r}{suffix}" for v in flat]
    rows = [", ".join(shown[i : i + 4]) for i in range(0, len(shown), 4)]
    lines = [f"    {row}," for row in rows]
    return [f"static const {kind} {name}[] = {{", *lines, "};"]
