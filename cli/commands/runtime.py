"""`lossc runtime`: how long losses of classes take, by the number of classes."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossc.cli.context import Outcome, Session, begin, progress, table
from lossc.cli.experiments import (
    FigureOption,
    LossesArgument,
    SetAllOption,
    ThemeOption,
    ThreadsOption,
    checked_figure,
    draw_to,
    interrupted,
    losses_by_name,
)
from lossc.cli.learning import MAX_THREADS, check_range
from lossc.cli.options import (
    Dialect,
    DialectOption,
    FOption,
    ForceOption,
    FusedOption,
    JsonOption,
    QuietOption,
    YOption,
)
from lossc.cli.tasks import DeviceOption, checked_device
from lossc.compiler.errors import UsageError

if TYPE_CHECKING:
    from lossc.runtime.experiments.runtime import Timing

EXAMPLES = (
    "lossc runtime label_smoothing sparse_lsr -o runtime.png",
    "lossc runtime cross_entropy label_smoothing sparse_lsr --classes 10,1000,50000 --json",
    'lossc runtime "-y*log(f)" focal --y onehot --f prob --rows 1024',
)
MOST_CLASSES, MOST_ROWS, MOST_NUMBERS, MOST_BLOCKS = 10_000_000, 1_000_000, 200_000_000, 10_000


def run(
    ctx: typer.Context,
    losses: LossesArgument,
    classes: Annotated[
        str, typer.Option("--classes", metavar="C,C,...", help="The numbers of classes.")
    ] = "3,10,30,100,300,1000,3000,10000",
    rows: Annotated[int, typer.Option("--rows", metavar="N", help="Rows of a batch.")] = 100,
    blocks: Annotated[int, typer.Option("--blocks", metavar="N", help="Blocks of repeats, whose median counts.")] = 101,
    fused: FusedOption = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    y: YOption = None,
    f: FOption = None,
    sets: SetAllOption = None,
    dialect: DialectOption = Dialect.lossc,
    output: FigureOption = None,
    theme: ThemeOption = "light",
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> Outcome:
    """The time of compiled losses by the number of classes, with the softmax and without it (thesis, Fig. 4.9).

    Random scores and class indices; without the softmax a loss is given probabilities, and looks up the target's where
    it needs no other. Times are medians of blocks in which the losses take turns; ratios are to the first loss. About
    15 seconds with two losses. Stopped with Ctrl-C, it shows the numbers of classes that are done.
    """
    return _timed(begin(ctx, as_json, quiet), SimpleNamespace(**locals()))


def _timed(session: Session, asked: SimpleNamespace) -> Outcome:
    look = checked_figure(asked)
    counts = counts_of(asked.classes, asked.rows)
    check_range("--threads", asked.threads, MAX_THREADS)
    if not 2 <= asked.blocks <= MOST_BLOCKS:
        raise UsageError("L223", f"`--blocks` must be between 2 and {MOST_BLOCKS:,}, got {asked.blocks}")
    losses = losses_by_name(session, asked)
    session.note("loading torch ...")
    from lossc.runtime.experiments.runtime import check_classes, timings
    from lossc.runtime.hygiene import settle

    for name, loss in losses.items():
        check_classes(name, loss)
    settle(asked.threads)
    device = checked_device(asked.device)
    found: list[Timing] = []
    try:
        with progress(session, len(counts)) as bar:
            how = {"fused": asked.fused, "rows": asked.rows, "blocks": asked.blocks, "device": device}
            found.extend(timings(losses, counts, progress=bar.to, **how))
    except KeyboardInterrupt:
        interrupted(session, text(found, list(losses)) if found else "", f"{len(found)} times were measured")
        raise

    def draw(**how: Any) -> bytes:
        from lossc.runtime.experiments.figures import runtime_figure

        return runtime_figure(found, asked.rows, **how)

    note = draw_to(asked, look, draw)
    record = {
        "rows": asked.rows, "blocks": asked.blocks, "threads": asked.threads, "device": device, "losses": list(losses),
        "times": [t.as_json() for t in found], **({"output": asked.output} if asked.output else {}),
    }  # fmt: skip
    return Outcome(record, "" if session.json else text(found, list(losses)), note)


def counts_of(written: str, rows: int) -> tuple[int, ...]:
    """The numbers of `3,10,100`. Raises UsageError: L236 for a text that is none, L223 for numbers out of range."""
    check_range("--rows", rows, MOST_ROWS)
    try:
        found = tuple(sorted({int(part) for part in written.split(",")}))
    except ValueError:
        raise UsageError("L236", f"--classes {written[:60]!r} cannot be read", expected="numbers with commas between",
                         hint="--classes 3,10,100") from None  # fmt: skip
    if not 2 <= found[0] <= found[-1] <= MOST_CLASSES:
        raise UsageError("L223", f"a number of classes must be between 2 and {MOST_CLASSES:,}",
                         expected="for example --classes 3,10,100")  # fmt: skip
    if found[-1] * rows > MOST_NUMBERS:
        raise UsageError("L223", f"{rows} rows of {found[-1]} classes are too large a batch",
                         expected=f"at most {MOST_NUMBERS:,} numbers")  # fmt: skip
    return found


def text(found: Sequence[Timing], names: Sequence[str]) -> str:
    """A table for each form and what is timed: the time of each loss, the ratio to the first, and the growth."""
    from lossc.runtime.experiments.runtime import BARE, GRADIENT, SOFTMAX, VALUE

    parts = []
    for form in (SOFTMAX, BARE):
        for of in (VALUE, GRADIENT):
            mine = [t for t in found if (t.form, t.of) == (form, of)]
            if mine:
                parts.append(
                    f"{of}, {_given(form)}\n" + _table(mine, [n for n in names if any(t.name == n for t in mine)])
                )
    return "\n".join(parts)


def _given(form: str) -> str:
    from lossc.runtime.experiments.runtime import SOFTMAX

    return "given scores: with the softmax" if form == SOFTMAX else "given probabilities: without the softmax"


def _table(found: Sequence[Timing], names: Sequence[str]) -> str:
    from lossc.runtime.experiments.runtime import growth, ratios

    at = {(t.name, t.classes): t for t in found}
    form, of = found[0].form, found[0].of
    ratio = ratios(found, names[0])
    counts = sorted({t.classes for t in found if all((n, t.classes) in at for n in names)})
    rows = [
        (f"{c:,}", _time(at[names[0], c].seconds),
         *(f"{_time(at[n, c].seconds)} ({ratio[n, c, form, of]:.2f})" for n in names[1:]))
        for c in counts
    ]  # fmt: skip
    if len(counts) > 1:
        grown = [growth(found, n, form, of) for n in names]
        rows.append((f"{counts[-1]:,} / {counts[0]:,}", *("-" if g is None else f"x {g:.1f}" for g in grown)))
    heads = ("classes", names[0], *(f"{n} (ratio)" for n in names[1:]))
    return table(heads, rows, report=True)


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} us" if seconds < 0.1 else f"{seconds * 1e3:.0f} ms"
