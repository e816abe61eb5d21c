"""What the experiments on several losses share: the losses that are meant, progress over many runs, figures."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from lossc.cli.commands.train import compiled, emitted, network_file, of_network, python_file, suited, users_own
from lossc.cli.context import Session, progress
from lossc.cli.given import Given, assignments, check_options
from lossc.cli.inputs import PYTHON_SUFFIX, read_loss
from lossc.cli.learning import MAX_SEEDS, MAX_THREADS, check_range
from lossc.cli.options import LOSS_HELP, complete_loss
from lossc.cli.output import check_writable, write_bytes
from lossc.compiler.errors import UsageError
from lossc.compiler.loss import Loss

if TYPE_CHECKING:
    from torch import nn

    from lossc.runtime.tasks import Task

LOSSES_HELP = LOSS_HELP.replace(", or `-` for standard input", "") + (
    " Each may set its hyper-parameters: ace_phi:phi1=1.1, or sparse_lsr:xi=0.2."
)
LossesArgument = Annotated[
    list[str], typer.Argument(metavar="LOSS...", help=LOSSES_HELP, show_default=False, autocompletion=complete_loss)
]
SeedsOption = Annotated[int, typer.Option("--seeds", metavar="N", help="Train with the seeds 0 to N-1.")]
ThreadsOption = Annotated[int, typer.Option("--threads", metavar="N", help="Threads of torch.")]
RowsOption = Annotated[int, typer.Option("--rows", metavar="N", help="Rows of each part that are looked at, at most.")]
FigureOption = Annotated[
    str | None, typer.Option("-o", "--output", metavar="FILE", help="Draw a figure: .png, .svg or .pdf.")
]
ThemeOption = Annotated[str, typer.Option("--theme", metavar="NAME", help="Of the figure: light or dark.")]
SetAllOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A hyper-parameter, of each loss that has it."),
]

_WITH_SETTINGS = re.compile(r"(?P<loss>.+):(?P<sets>\w+=[^,:=\s]+(,\w+=[^,:=\s]+)*)", re.DOTALL)
"""`LOSS:name=value,name=value`; no formula and no file name has that end."""


def split_settings(text: str) -> tuple[str, tuple[str, ...]]:
    """The loss and the settings of `LOSS:name=value,...`."""
    found = _WITH_SETTINGS.fullmatch(text)
    return (text, ()) if found is None else (found["loss"], tuple(found["sets"].split(",")))


def checked_figure(asked: Any) -> dict[str, Any] | None:
    """How the figure that is wanted is to be drawn, before any work is done for it: its format and its theme.

    Raises UsageError (L233, L234, L260).
    """
    from lossc.runtime.plots.style import check, theme_of

    theme = theme_of(asked.theme)
    if asked.output is None:
        return None
    check_writable(asked.output, force=asked.force)
    return {"suffix": check(asked.output), "theme": theme}


def begin_work(session: Session, asked: Any) -> None:
    """Check seeds and threads (L223), and load torch with so many threads."""
    check_range("--seeds", asked.seeds, MAX_SEEDS)
    check_range("--threads", asked.threads, MAX_THREADS)
    session.note("loading torch ...")
    import torch

    torch.set_num_threads(asked.threads)


def loss_modules(session: Session, asked: Any, task: Task) -> dict[str, nn.Module]:
    """The losses that the arguments mean, as modules by the names they go by.

    Raises UsageError: L235 for one that stands twice, L201 for a --set that no loss has, and what `lossc train` raises.
    """

    assumed: list[str] = []
    """Formulas that got roles: that is said for the first one."""

    def module(text: str, unused: dict[str, Any]) -> tuple[str, nn.Module]:
        bare, own = split_settings(text)
        source = python_file(bare) or network_file(bare)
        if source is not None:
            return (emitted if source.suffix == PYTHON_SUFFIX else of_network)(source, _given(asked, own), task)
        loss = _shared(read_loss(bare, _given(asked, own), session.warnings), own, asked, unused)
        suits = suited(replace(session, quiet=session.quiet or bool(assumed)), loss, task, _given(asked, own), bare)
        assumed.extend([bare] if suits is not loss else [])
        return compiled(session, suits, task)

    return _by_name(session, asked, module)


def losses_by_name(session: Session, asked: Any) -> dict[str, Loss]:
    """The losses that the arguments mean, by the names they go by; raises as `loss_modules` does."""

    def loss(text: str, unused: dict[str, Any]) -> tuple[str, Loss]:
        bare, own = split_settings(text)
        found = _shared(read_loss(bare, _given(asked, own), session.warnings), own, asked, unused)
        return found.name if found.name != "loss" else shortened(str(found)), found

    return _by_name(session, asked, loss)


def shortened(text: str, width: int = 40) -> str:
    """A formula as the name of a loss that has none."""
    return text if len(text) <= width else text[: width - 1] + "…"


def _given(asked: Any, own: tuple[str, ...]) -> Given:
    return Given(asked.y, asked.f, None, (), own, asked.dialect.value)


Made = TypeVar("Made")


def _by_name(session: Session, asked: Any, make: Callable[[str, dict[str, Any]], tuple[str, Made]]) -> dict[str, Made]:
    check_options(_given(asked, ()))
    found: dict[str, Made] = {}
    unused = dict.fromkeys(assignments(asked.sets or (), "--set"))
    for text in asked.losses:
        label, made = make(text, unused)
        own = split_settings(text)[1]
        label = f"{label}:{','.join(own)}" if own else label
        if label in found:
            raise UsageError("L235", f"{label} stands twice", hint="each loss once; LOSS:name=value sets one apart")
        found[label] = made
    for name in unused:
        raise UsageError("L201", f"no loss here has a hyper-parameter `{name}`")
    session.print_warnings()
    return found


def _shared(loss: Loss, own: Sequence[str], asked: Any, unused: dict[str, Any]) -> Loss:
    """The loss with the settings of --set that it has and that are not its own; they are no longer unused."""
    mine = {p.name for p in loss.params}
    taken = {k: v for k, v in assignments(asked.sets or (), "--set").items() if k in mine}
    for name in taken:
        unused.pop(name, None)
    return loss.with_defaults(**{k: v for k, v in taken.items() if k not in assignments(own, "--set")})


class RunBar:
    """A progress bar over trainings: one call a step, in the form that the library gives."""

    def __init__(self, bar: Any, task: Task) -> None:
        self.bar, self.task = bar, task
        self.runs: dict[tuple[str, int], int] = {}

    def step(self, name: str, seed: int, step: int, steps: int) -> None:
        """So many steps of the run of that name and seed are done."""
        place = self.runs.setdefault((name, seed), len(self.runs))
        if step % 10 == 0 or step == steps:
            self.bar.to(place * self.task.steps + step, f"{self.task.name}: {name}, seed {seed}")

    def of(self, name: str, seed: int) -> Callable[[int, int], None]:
        """The same for one run of a name and a seed: a call `(step, steps)`."""
        return lambda step, steps: self.step(name, seed, step, steps)

    def look(self, name: str, seed: int) -> None:
        """What was trained is looked at."""
        self.bar.to(len(self.runs) * self.task.steps, f"{self.task.name}: looking at {name}, seed {seed}")


@contextmanager
def run_bar(session: Session, task: Task, runs: int) -> Iterator[RunBar]:
    """The bar for so many runs of the task."""
    with progress(session, runs * task.steps) as bar:
        yield RunBar(bar, task)


@contextmanager
def own_code(asked: Any) -> Iterator[None]:
    """What fails inside a Python file of the user's own is said to be that (L243)."""
    from lossc.runtime.tasks import task_file

    own = task_file(asked.task_name)
    files = list(dict.fromkeys(one for one, _ in map(split_settings, asked.losses) if one.endswith(PYTHON_SUFFIX)))
    try:
        yield
    except Exception as problem:
        raise users_own([*files, *(own[:1] if own else ())], problem) from None


def interrupted(session: Session, done: str, what: str) -> None:
    """What to show when someone stops the work: what is done so far, and that it is not all."""
    session.say(done)
    session.notice(f"interrupted: {what}" + ("" if done else "; nothing to show yet"))


def draw_to(asked: Any, look: dict[str, Any] | None, draw: Callable[..., bytes]) -> str:
    """Write the figure if one is wanted, and say so: `draw(suffix=..., theme=...)` gives its bytes."""
    if look is None:
        return ""
    write_bytes(asked.output, draw(**look), force=asked.force)
    return f"wrote {asked.output}"


def how_trained(task: Task, seeds: int) -> str:
    """What was trained, and how: the first line of a table."""
    sgd = task.sgd
    momentum = f", momentum {sgd.momentum:g}" if sgd.momentum else ""
    return (
        f"{task.name} ({task.kind}), {task.model}, {task.steps} steps of SGD, learning rate {sgd.lr:g}{momentum}, "
        f"batches of {task.batch_size}; {seeds} seed{'s: mean ± standard deviation' if seeds > 1 else ''}\n"
    )
