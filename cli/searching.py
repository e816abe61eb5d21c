"""What the commands around searches share: where a search runs, its screen, Ctrl-C, and what it came to in words."""

from __future__ import annotations

import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossc.cli.context import Outcome, Session, console, printable, table
from lossc.cli.learning import MAX_WORKERS, check_range
from lossc.cli.output import STDOUT, write
from lossc.compiler.errors import UsageError
from lossc.runtime.search.callbacks import Callback

if TYPE_CHECKING:
    from collections.abc import Callable

    from lossc.runtime.search.evaluators import Evaluator
    from lossc.runtime.search.loop import Search
    from lossc.runtime.search.session import SearchResult, Where
    from lossc.runtime.search.strategies import Individual

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="The folder of a search.")]
EngineOption = Annotated[
    str | None,
    typer.Option("--engine", metavar="NAME", help="serial, processes or dask. [default: processes if --workers > 1]"),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", metavar="N", help="Processes; the result does not depend on it. [default: 1]")
]
AddressOption = Annotated[
    str | None, typer.Option("--address", metavar="ADDRESS", help="Of a Dask scheduler: tcp://HOST:8786.")
]
DeadlineOption = Annotated[
    float | None, typer.Option("--deadline", metavar="SECONDS", help="Of wall time for a loss. [default: 3600]")
]
MemoryOption = Annotated[
    float | None, typer.Option("--memory", metavar="GIB", help="That a worker may use. [default: no limit]")
]
TABLE_ROWS = 5


def where_of(asked: Any) -> Where:
    """Where the options say that jobs run. UsageError (L223) for numbers out of range."""
    from lossc.runtime.search.session import Where

    workers = 1 if asked.workers is None else asked.workers
    check_range("--workers", workers, MAX_WORKERS)
    for option, value in (("--deadline", asked.deadline), ("--memory", asked.memory)):
        if value is not None and not 0 < value < float("inf"):
            raise UsageError("L223", f"`{option}` must be a positive number, got {value:g}")
    deadline = Where().deadline if asked.deadline is None else asked.deadline
    where = Where(asked.engine or "", workers, asked.address, deadline, asked.memory)
    if where.name == "serial" and (asked.deadline is not None or asked.memory is not None or workers > 1):
        raise UsageError(
            "L235", "one process cannot end its own jobs: --deadline, --memory and --workers are for worker processes",
            hint="--engine processes, or --workers 2",
        )  # fmt: skip
    return where


def searched(session: Session, run: Callable[[Sequence[Callback], Callable[[], bool]], SearchResult]) -> SearchResult:
    """Run a search with its screen, if someone watches; Ctrl-C ends it as it should."""
    from lossc.runtime.hygiene import settle

    settle()
    with interruptible(session) as stopped, screen(session) as shown:
        return run(shown, stopped)


@contextmanager
def interruptible(session: Session) -> Iterator[Any]:
    """Ctrl-C once finishes what is in flight; twice stops at once."""
    asked = [False]

    def once(number: int, frame: object) -> None:
        if asked[0]:
            raise KeyboardInterrupt
        asked[0] = True
        session.notice("finishing what is in flight; again to stop at once")

    before = signal.signal(signal.SIGINT, once)
    try:
        yield lambda: asked[0]
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def screen(session: Session) -> Iterator[list[Callback]]:
    """What is shown while a search runs: one screen at a terminal, a line a generation elsewhere, or nothing."""
    if session.quiet or session.json:
        yield []
    elif not sys.stderr.isatty():
        yield [Lines(session)]
    else:
        from rich.live import Live

        shown = Screen()
        with Live(get_renderable=shown.render, console=console(sys.stderr), refresh_per_second=4, transient=True):
            yield [shown]


class Lines(Callback):
    """A line for every generation, for logs."""

    def __init__(self, session: Session) -> None:
        self.session, self.seen = session, 0

    def on_commit(self, search: Search, individual: Individual) -> None:
        """When a generation is over."""
        if search.name == "search" and search.generation > self.seen and search.committed >= search.past.starts[-1]:
            self.seen = search.generation
            best = search.best[:1]
            value = f"{best[0].value:.4f}" if best else "none"
            self.session.notice(
                f"generation {self.seen} of {search.config.generations}: best {value}; {search.committed} losses, "
                f"{search.trainings} trained"
            )


class Screen(Callback):
    """Generation, best and median fitness, what happened to the losses, the best formula, time left, worker use."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.searches: Mapping[str, Search] = {}
        self.engine: Evaluator | None = None
        self.final = (0, 0)

    def on_begin(self, searches: Mapping[str, Search], engine: Evaluator) -> None:
        """What to look at."""
        self.searches, self.engine = searches, engine

    def on_final(self, done: int, total: int) -> None:
        """The end is near."""
        self.final = (done, total)

    @property
    def share(self) -> float:
        """How much of the search and its control is done, from 0 to 1."""
        here = self.searches["search"]
        whole = here.limit or here.config.budget
        done = [min(1.0, (here.trainings if here.limit else here.members) / whole)]
        control = self.searches.get("control")
        if control is not None:
            done.append(min(1.0, control.trainings / max(here.trainings, 1)) * done[0])
        return statistics.fmean(done)

    def render(self) -> Any:
        """The screen, drawn anew."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        if not self.searches:
            grid.add_row("starting workers ...")
            return grid
        for name, value in self.rows():
            grid.add_row(Text(name, style="bold"), Text(value, overflow="ellipsis"))
        grid.add_row(Text("done", style="bold"), ProgressBar(total=1.0, completed=self.share, width=40))
        return grid

    def rows(self) -> list[tuple[str, str]]:
        """Names and values of the screen."""
        here = self.searches["search"]
        best = here.best[:1]
        recent = [i.value for i in here.population[-2 * here.config.population :] if i.fitness.valid]
        generation = min(here.generation + 1, here.config.generations)
        rows = [("search", f"{here.config.method}, generation {generation} of {here.config.generations}")]
        if self.final[1]:
            rows[0] = ("search", f"over; the best are judged again and tested: {self.final[0]} of {self.final[1]}")
        shown = f"{best[0].value:.4f}" if best else "none yet"
        rows.append(("best", shown + (f", median of late {statistics.median(recent):.4f}" if recent else "")))
        if best:
            rows.append(("formula", str(here.loss(best[0].expr))))
        rows.append(("losses", f"{here.committed} bred, {here.trainings} trained; {counted(here.counts)}"))
        control = self.searches.get("control")
        if control is not None:
            best = control.best[:1]
            shown = f"best {best[0].value:.4f}" if best else "none yet"
            rows.append(("random", f"{shown}; {control.committed} bred, {control.trainings} trained"))
        running = 0 if self.engine is None else self.engine.running
        capacity = 1 if self.engine is None else self.engine.capacity
        rows.append(("workers", f"{running} of {capacity} busy"))
        rows.append(("time", self._time()))
        return rows

    def _time(self) -> str:
        passed = time.monotonic() - self.began
        left = passed * (1 - self.share) / self.share if self.share > 0.02 else None
        return f"{clock(passed)} passed" + (f", about {clock(left)} left" if left is not None else "")


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def counted(counts: Mapping[str, int]) -> str:
    """What happened to losses, in words, the most frequent first."""
    return ", ".join(f"{n} {why}" for why, n in sorted(counts.items(), key=lambda i: (-i[1], i[0])) if why != "ok")


def concluded(session: Session, found: SearchResult, asked: SimpleNamespace) -> Outcome:
    """The outcome of a search that ran, its best loss written where that was asked for."""
    output = getattr(asked, "output", None)
    if output is not None and found.best:
        from lossc.runtime.search.folder import named_loss

        text = named_loss(found.best[0], found.search, found.task.name, found.task.model).definition() + "\n"
        session.say(text) if output == STDOUT else write(output, text, force=asked.force)
    return Outcome(_facts(found, output), _report(found, output))


def _facts(found: SearchResult, output: str | None) -> dict[str, Any]:
    from lossc.runtime.search.folder import finals_as_json

    control = found.control
    return {
        "task": found.task.name, "model": found.task.model, "committed": found.committed, "counts": found.counts,
        "trainings": found.search.trainings, "stopped": found.stopped, "seconds": found.seconds,
        "run": None if found.run is None else str(found.run), "output": output,
        "settings": found.search.config.model_dump(mode="json"),
        "control": None if control is None else {
            "committed": control.committed, "counts": dict(control.counts), "trainings": control.trainings,
        },
        "final": None if found.finals is None else finals_as_json(found.finals),
        "best": [{k: v for k, v in f.as_json().items() if k != "loss"} for f in found.best],
    }  # fmt: skip


def _report(found: SearchResult, output: str | None) -> str:
    config, task = found.search.config, found.task
    lines = [
        f"{task.name}, {task.model}: {found.committed} losses by {config.method} (preset {config.preset}) in "
        f"{clock(found.seconds)}; {found.search.trainings} trained",
        counted(found.counts),
    ]
    text = "\n".join(lines) + "\n"
    if found.best:
        text += best_table(found.best[:TABLE_ROWS], task.metric.name, config)
    elif not found.stopped:
        failed = Counter(str((i.outcome or {}).get("why")) for i in found.search.population if _failed(i))
        if failed:
            (why, count), *_ = failed.most_common(1)
            return text + f"no loss could be judged; {count} of {found.committed} failed with: {printable(why)}\n"
        return text + "no loss passed the filters: try more generations, or other functions\n"
    if found.stopped:
        how = f"lossc resume {found.run}" if found.run else "nothing: there is no folder"
        return text + f"stopped early; go on with: {how}\n"
    text += "\n" + tested(found)
    if found.run is not None:
        text += f"in {found.run}: best.loss, best.py, report.html, final.json\n"
    if output not in (None, STDOUT):
        text += f"written: {output}\n"
    return text


def _failed(individual: Individual) -> bool:
    return individual.outcome is not None and individual.outcome.get("status") == "failed"


def best_table(best: Sequence[Any], metric: str, config: Any) -> str:
    """The best losses as rows."""
    rows = [
        (str(i), f"{f.fitness:.4f}", "" if f.again is None else f"{f.again:.4f}", str(f.size), f.formula)
        for i, f in enumerate(best, 1)
    ]
    again = f"{config.rerank_seeds} x {config.rerank_steps} steps" if config.rerank_steps else "judged again"
    return table(("", metric, again, "nodes", "formula"), rows, report=True)


def tested(found: SearchResult) -> str:
    """The table of the test part, and what it says."""
    from lossc.runtime.search.folder import read_run
    from lossc.runtime.search.report.verdict import verdict

    if found.finals is None or not found.finals.table:
        return ""
    names = {"search": "the found loss", "control": "random search", "baseline": found.task.baseline}
    rows = []
    for row in found.finals.table:
        other = found.finals.against(row.name)
        gain = "" if other is None or row.name == "search" else str(other.gain)
        p = "" if other is None or other.p is None or row.name == "search" else f"{other.p:.3g}"
        rows.append((names[row.name], str(row.spread), gain, p))
    metric = found.task.metric.name
    text = table(("loss", f"test {metric}", "the found loss is better by", "p"), rows, report=True)
    if found.run is not None:
        text += "".join(line + "\n" for line in verdict(read_run(found.run)))
    return text


def new_folder(task: str, method: str) -> Path:
    """A folder for a search that names none: runs/TASK-METHOD-1, or the next number. UsageError (L233)."""
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in Path(task.split(":")[0]).stem)
    for number in range(1, 100_000):
        path = Path("runs") / f"{name}-{method}-{number}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as problem:
            why = (problem.strerror or str(problem)).lower()
            raise UsageError("L233", f"cannot make the folder {path}: {why}", hint="--run names another one") from None
        return path
    raise UsageError("L233", f"there are too many runs of {name} in runs/", hint="--run names another folder")
