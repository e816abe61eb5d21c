"""The options that `lossc analyze` and `lossc compare` share, and what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from lossc.cli.options import Dtype
from lossc.compiler.errors import UsageError

BoxOption = Annotated[
    list[str] | None,
    typer.Option(
        "--box", metavar="NAME=LOW..HIGH", help="Where floating point is judged: f=-10..10.", show_default=False
    ),
]
JudgedInOption = Annotated[Dtype, typer.Option("--dtype", help="The dtype that floating point is judged in.")]
ClassesOption = Annotated[
    int | None, typer.Option("--classes", metavar="N", help="The number of classes (10 where one is needed).")
]
TimeoutOption = Annotated[float, typer.Option("--timeout", metavar="S", help="Seconds that a loss may take.")]
ReplayOption = Annotated[
    bool, typer.Option("--replay/--no-replay", help="Whether torch replays what refutes a property: some seconds.")
]
LONGEST = 3600.0


def judged(dtype: Dtype, box: Sequence[str] | None, classes: int | None, timeout: float) -> dict[str, Any]:
    """The settings of an analysis. Raises UsageError (L209) for a box or a timeout that cannot be."""
    if not 0 < timeout <= LONGEST:
        raise UsageError("L209", f"a timeout is more than 0 and at most 3600 seconds, not {timeout:g}")
    return {"dtype": dtype.value, "box": boxes(box or ()), "classes": classes, "timeout": timeout}


def boxes(written: Sequence[str]) -> dict[str, tuple[float, float]]:
    """The ranges of `f=-10..10`. Raises UsageError (L209)."""
    out = {}
    for one in written:
        name, equals, span = one.partition("=")
        low, dots, high = span.partition("..")
        try:
            out[name.strip()] = (float(low), float(high))
        except ValueError:
            equals = ""
        if not (equals and dots):
            raise UsageError("L209", f"`{one[:60]}` is not a box", expected="NAME=LOW..HIGH, such as f=-10..10")
    return out
