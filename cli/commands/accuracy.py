"""`lossc accuracy`: how many bits of value and gradient are wrong, before and after compilation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lossc.cli.context import Outcome, begin, table
from lossc.cli.given import Given
from lossc.cli.inputs import read_loss
from lossc.cli.options import (
    Dialect,
    DialectOption,
    FOption,
    ForceOption,
    JsonOption,
    LossArgument,
    NameOption,
    ParamOption,
    QuietOption,
    SetOption,
    YOption,
)
from lossc.cli.output import check_writable, write_bytes
from lossc.compiler.errors import UsageError
from lossc.compiler.targets.options import DTYPES

if TYPE_CHECKING:
    from lossc.runtime.accuracy.report import AccuracyReport, Entry, Point

EXAMPLES = (
    'lossc accuracy "log(1 + exp(f)) - y*f"',
    "lossc accuracy pseudo_huber --dtype float32 --points 1000",
    'lossc accuracy "abs(log(sqrt(y*f) + eps))" --y onehot --f prob --dtype float32',
    "lossc accuracy log_cosh --dtype float32 --plot log_cosh.png   # the error along the residual, as a figure",
    "lossc accuracy poisson --dtype float32,bfloat16 --json",
)
LONGEST = 70
"""Characters of an input in the tables: long rows of scores are cut."""


def run(
    ctx: typer.Context,
    loss: LossArgument,
    dtype: Annotated[
        str | None,
        typer.Option("--dtype", metavar="NAMES", help="Some of float64, float32, bfloat16, float16 (default: all)."),
    ] = None,
    points: Annotated[
        int | None,
        typer.Option("--points", metavar="N", help="Inputs for each dtype and measure.", show_default="up to 200"),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of the inputs.")] = 0,
    plot: Annotated[
        str | None, typer.Option("-o", "--plot", metavar="FILE", help="Draw a figure: .png, .svg or .pdf.")
    ] = None,
    y: YOption = None,
    f: FOption = None,
    name: NameOption = None,
    param: ParamOption = None,
    sets: SetOption = None,
    dialect: DialectOption = Dialect.lossc,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> Outcome:
    """The error of value and gradient against mpmath, for the formula as written and as compiled, in every dtype.

    Bits of error are log2(1 + error in ulps): 0.6 is correctly rounded, 24 is no digit right in float32. float-uniform
    inputs find what fails anywhere, data-like ones say what to expect in training.
    """
    session = begin(ctx, as_json, quiet)
    given = Given(y, f, name, param or (), sets or (), dialect.value)
    dtypes = dtypes_of(dtype)
    if plot is not None:
        check_writable(plot, force=force)
    measured = read_loss(loss, given, session.warnings)
    session.print_warnings()
    session.note("measuring ...")
    from lossc.runtime.accuracy import accuracy
    from lossc.runtime.accuracy.figure import check, figure

    suffix = None if plot is None else check(plot)
    report = accuracy(measured, dtypes=dtypes, points=points, seed=seed)
    data, note = report.as_json(), ""
    if plot is not None and suffix is not None:
        chosen = "float32" if "float32" in dtypes else dtypes[0]
        write_bytes(plot, figure(measured, chosen, suffix=suffix), force=force)
        data, note = {**data, "plot": plot}, f"wrote {plot}"
    return Outcome(data, "" if as_json else text(report), note)


def dtypes_of(written: str | None) -> tuple[str, ...]:
    """The dtypes of `float32,bfloat16`, all of them by default. Raises UsageError (L235)."""
    if written is None:
        return DTYPES
    names = [part.strip() for part in written.split(",")]
    for one in names:
        if one not in DTYPES:
            raise UsageError("L235", f"`{one[:40]}` is not a dtype", expected="some of: " + ", ".join(DTYPES))
    return tuple(dict.fromkeys(names))


def text(report: AccuracyReport) -> str:
    """The report for a reader: the verdict, the table of errors, the worst inputs, and where gradients are dead."""
    parts = [report.verdict()]
    if any(e.count for e in report.entries):
        parts += [errors(report), worst(report)]
    parts += [skipped(report), dead(report), "".join(f"note: {n}\n" for n in report.notes)]
    return "\n".join(p for p in parts if p)


def errors(report: AccuracyReport) -> str:
    """A row for each dtype, measure and quantity: mean and greatest bits of error, before and after."""
    rows = []
    for after in report.select(program="after"):
        found = report.select(dtype=after.dtype, measure=after.measure, of=after.of, program="before")
        before = _bits(found[0]) if found else ("", "", "")
        rows.append((after.dtype, after.measure, after.of, str(after.count), *before, *_bits(after)))
    head = ("dtype", "inputs", "of", "n", "written: mean", "max", "not finite", "compiled: mean", "max", "not finite")
    return "bits of error\n" + table(head, rows, report=True)


def _bits(entry: Entry) -> tuple[str, str, str]:
    if entry.mean_bits is None or entry.max_bits is None:
        return "-", "-", "-"
    return f"{entry.mean_bits:.2f}", f"{entry.max_bits:.1f}", str(entry.not_finite or "")


def worst(report: AccuracyReport) -> str:
    """The worst input of each dtype and quantity; of the formula as written where it is worse by a bit."""
    rows = []
    for dtype in report.dtypes:
        for of in ("value", "gradient"):
            after = report.worst(dtype=dtype, of=of, program="after")
            before = report.worst(dtype=dtype, of=of, program="before")
            for entry, program in ((before, "written"), (after, "compiled")):
                if entry is None or entry.worst is None:
                    continue
                if entry is before and after is not None and (before.max_bits or 0) <= (after.max_bits or 0) + 1:
                    continue
                point = entry.worst
                at = point.at if len(point.at) <= LONGEST else point.at[: LONGEST - 1] + "…"
                rows.append((dtype, of, program, f"{point.bits:.1f}", f"{point.got:.9g}", point.truth[:24], at))
    head = ("dtype", "of", "program", "bits", "result", "truth", "input")
    return "worst inputs\n" + table(head, rows, report=True)


def skipped(report: AccuracyReport) -> str:
    """The inputs that have no truth to compare with, a line where there are any."""
    lines = []
    for s in report.skipped:
        counts = (
            (s.undefined, "where the loss is undefined"), (s.overflow, "beyond the largest number"),
            (s.unresolved, "unresolved by mpmath"), (s.kinks, "gradients at a kink"),
            (s.steep, "gradients beyond the largest number"),
        )  # fmt: skip
        said = ", ".join(f"{n} {what}" for n, what in counts if n)
        if said:
            lines.append(f"not compared: {s.dtype}, {s.measure}, of {s.points} inputs: {said}\n")
    return "".join(lines)


def dead(report: AccuracyReport) -> str:
    """Gradients that are 0 and should not be, parts that a clamp cuts off, and constants that bias the value."""
    lines = [_dead(e, e.worst_dead) for e in report.select(program="after", of="gradient") if e.worst_dead is not None]
    lines += [
        f"clamp: no gradient passes {c.part} where {c.condition} ({c.operator}): "
        f"{c.share:.0%} of data-like entries; {c.silent:.0%} have no gradient at all\n"
        for c in report.clamped
    ]
    for b in report.biased:
        effect = f"changes the value by more than an ulp (float32) at {b.share:.0%} of data-like inputs"
        most = f", by up to {b.most:.2g}" if b.most else ""
        needed = f"; without it {b.needed} of them would have no value" if b.needed else ""
        lines.append(f"bias: {b.constant} added to {b.part} {effect}{most}{needed}\n")
    return "".join(lines)


def _dead(entry: Entry, point: Point) -> str:
    return (
        f"dead gradient: {entry.dtype}, {entry.measure}: exactly 0 at {entry.dead} of {entry.count}, "
        f"though the true one is not (it is {float(point.truth):.2g} at {point.at[:LONGEST]})\n"
    )
