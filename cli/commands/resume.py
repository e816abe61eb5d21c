"""`lossc resume`: go on with a search that was interrupted or killed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossc.cli.context import Outcome, begin
from lossc.cli.learning import BoardOption
from lossc.cli.options import JsonOption, QuietOption
from lossc.cli.searching import (
    AddressOption,
    DeadlineOption,
    EngineOption,
    MemoryOption,
    RunArgument,
    WorkersOption,
    concluded,
    searched,
    where_of,
)
from lossc.runtime.search.callbacks import TensorBoard

if TYPE_CHECKING:
    from lossc.runtime.search.session import SearchResult

EXAMPLES = (
    "lossc resume runs/diabetes-evomal-1",
    "lossc resume runs/a --workers 2           # with another number of workers, or on another engine: the same result",
)


def run(
    ctx: typer.Context,
    folder: RunArgument,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    address: AddressOption = None,
    deadline: DeadlineOption = None,
    memory: MemoryOption = None,
    allow_changes: Annotated[
        bool, typer.Option("--allow-changes", help="Go on with other versions than it was begun with.")
    ] = False,
    tensorboard: BoardOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> Outcome:
    """Go on with a search: it ends with the losses that it would have found without the interruption.

    A search that is at its end only has its tables and its report written anew.
    """
    asked = SimpleNamespace(**locals())
    session = begin(ctx, as_json, quiet)
    where = where_of(asked)
    session.note("loading torch ...")
    board = [] if tensorboard is None else [TensorBoard(tensorboard)]

    def go(shown: Any, stopped: Any) -> SearchResult:
        from lossc.runtime.search.session import resume_search

        return resume_search(
            folder, where=where, allow_changes=allow_changes, callbacks=[*shown, *board], stop=stopped,
            warnings=session.warnings,
        )  # fmt: skip

    return concluded(session, searched(session, go), asked)
