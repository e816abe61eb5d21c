"""`lossc search`: discover losses by genetic programming."""

from __future__ import annotations

import functools
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossc.cli.context import Outcome, Session, begin, progress
from lossc.cli.learning import (
    MAX_WORKERS,
    ResumeOption,
    RunOption,
    SeedOption,
    check_range,
    check_run,
)
from lossc.cli.options import ForceOption, JsonOption, OutputOption, QuietOption
from lossc.cli.output import STDOUT, write
from lossc.cli.tasks import (
    BatchOption,
    DataOption,
    ModelOption,
    MomentumOption,
    RateOption,
    ScaleOption,
    SizeOption,
    SplitOption,
    TaskOption,
    asked_task,
)

if TYPE_CHECKING:
    from lossc.runtime.search.loop import Search
    from lossc.runtime.search.session import MakeTask, SearchResult
    from lossc.runtime.search.strategies import Individual
    from lossc.runtime.tasks import Task

EXAMPLES = (
    "lossc search --task diabetes --preset quick --workers 2 -o best.loss",
    "lossc search --task digits --method aged --generations 20 --run runs/a",
    "lossc search --task diabetes --ops add,sub,mul,aq,log --max-nodes 25 --seed-losses mse,log_cosh",
    "lossc search --task diabetes --run runs/a --resume     # with the settings that the run was started with",
)

PresetOption = Annotated[
    str, typer.Option("--preset", metavar="NAME", help="quick, robust, thesis, public-2022 or public-2023.")
]
MethodOption = Annotated[
    str | None, typer.Option("--method", metavar="NAME", help="evomal, gp-lfl, aged or random. [default: the preset's]")
]
PopulationOption = Annotated[int | None, typer.Option("--population", metavar="N", help="Losses a generation.")]
GenerationsOption = Annotated[int | None, typer.Option("--generations", metavar="N", help="So many times that.")]
OpsOption = Annotated[
    str | None, typer.Option("--ops", metavar="NAMES", help="Functions, with commas. [default: those of Table 3.1]")
]
SeedsOption = Annotated[
    str | None,
    typer.Option("--seed-losses", metavar="LOSSES", help="Begin with these: names or formulas, with commas."),
]
NodesOption = Annotated[int | None, typer.Option("--max-nodes", metavar="N", help="Of a loss.")]
StepsOption = Annotated[int | None, typer.Option("--fitness-steps", metavar="N", help="Training steps of a fitness.")]
MetaOption = Annotated[int | None, typer.Option("--meta-steps", metavar="N", help="Of learning the coefficients.")]
WorkersOption = Annotated[
    int, typer.Option("--workers", metavar="N", help="Processes; the result does not depend on it.")
]


def run(
    ctx: typer.Context,
    task_name: TaskOption = "diabetes",
    preset: PresetOption = "quick",
    method: MethodOption = None,
    population: PopulationOption = None,
    generations: GenerationsOption = None,
    ops: OpsOption = None,
    seed_losses: SeedsOption = None,
    max_nodes: NodesOption = None,
    fitness_steps: StepsOption = None,
    meta_steps: MetaOption = None,
    seed: SeedOption = 0,
    workers: WorkersOption = 1,
    run_folder: RunOption = None,
    resume: ResumeOption = False,
    model: ModelOption = None,
    size: SizeOption = None,
    data: DataOption = None,
    split: SplitOption = None,
    target_scale: ScaleOption = None,
    batch_size: BatchOption = None,
    lr: RateOption = None,
    momentum: MomentumOption = None,
    output: OutputOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> Outcome:
    """Search for a loss: genetic programming on formulas, whose coefficients are learned (EvoMAL, thesis section 3.2).

    Losses without a gradient, of a gradient that was seen, or that do not pull predictions to their targets are
    rejected before anything is trained. Ctrl-C finishes what is in flight; with --run, --resume goes on from there.
    """
    asked = SimpleNamespace(**locals())
    return _searched(begin(ctx, as_json, quiet), asked)


def _searched(session: Session, asked: SimpleNamespace) -> Outcome:
    check_range("--workers", asked.workers, MAX_WORKERS)
    check_run(asked)
    session.note("loading torch ...")
    make = asked_task(asked, asked.task_name)
    task = make(session)
    session.print_warnings()
    found = _run(session, asked, task if asked.workers == 1 else functools.partial(make, Session(quiet=True)))
    if asked.output is not None and found.best:
        text = _definition(found, task)
        session.say(text) if asked.output == STDOUT else write(asked.output, text, force=asked.force)
    return Outcome(_facts(found, task, asked), _report(found, task, asked))


def _run(session: Session, asked: SimpleNamespace, task: Task | MakeTask) -> SearchResult:
    from lossc.runtime.hygiene import settle
    from lossc.runtime.search.config import make_search_config
    from lossc.runtime.search.session import search

    settle()
    changes = {
        "method": asked.method, "population": asked.population, "generations": asked.generations,
        "functions": tuple(n.strip() for n in asked.ops.split(",") if n.strip()) if asked.ops else None,
        "seeds": tuple(n.strip() for n in asked.seed_losses.split(",") if n.strip()) if asked.seed_losses else None,
        "max_nodes": asked.max_nodes, "fitness_steps": asked.fitness_steps, "meta_steps": asked.meta_steps,
        "seed": asked.seed,
    }  # fmt: skip
    settings = {k: v for k, v in changes.items() if v is not None}
    budget = make_search_config(asked.preset, **settings).budget
    with _interruptible(session) as stopped, progress(session, budget) as bar:

        def told(state: Search, individual: Individual) -> None:
            best = state.best[:1]
            shown = f"best {best[0].value:.4f}" if best else "none yet"
            trained = state.counts.get("ok", 0)
            bar.to(state.committed, f"{state.committed} of {budget}: {trained} trained, {shown}")

        return search(
            task, preset=asked.preset, workers=asked.workers, run=asked.run_folder, resume=asked.resume, told=told,
            stop=stopped, **settings,
        )  # fmt: skip


@contextmanager
def _interruptible(session: Session) -> Iterator[Any]:
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


def _definition(found: SearchResult, task: Task) -> str:
    from dataclasses import replace

    config = found.search.config
    doc = f"Found on {task.name} ({task.model}) by {config.method}, preset {config.preset}, seed {config.seed}."
    return replace(found.best[0].loss, name="found", doc=doc, source="").definition() + "\n"


def _facts(found: SearchResult, task: Task, asked: SimpleNamespace) -> dict[str, Any]:
    return {
        "task": task.name, "model": task.model, "committed": found.committed, "counts": dict(found.counts),
        "stopped": found.stopped, "seconds": found.seconds, "run": asked.run_folder, "output": asked.output,
        "settings": found.search.config.model_dump(mode="json"),
        "best": [
            {"ticket": f.ticket, "fitness": f.fitness, "again": f.again, "size": f.size, "formula": f.formula,
             "structure": f.structure}
            for f in found.best
        ],
    }  # fmt: skip


def _report(found: SearchResult, task: Task, asked: SimpleNamespace) -> str:
    from lossc.cli.context import table

    config = found.search.config
    trained = found.counts.get("ok", 0)
    lines = [
        f"{task.name}, {task.model}: {found.committed} losses by {config.method} (preset {config.preset}) in "
        f"{found.seconds:.0f} s; {trained} trained",
        ", ".join(f"{n} {why}" for why, n in sorted(found.counts.items(), key=lambda i: -i[1]) if why != "ok"),
    ]
    if not found.best:
        return "\n".join([*lines, "no loss passed the filters: try more generations, or other functions"]) + "\n"
    rows = [
        (f"{f.fitness:.4f}", "" if f.again is None else f"{f.again:.4f}", str(f.size), f.formula)
        for f in found.best[:5]
    ]
    again = f"{config.rerank_seeds} x {config.rerank_steps} steps"
    text = "\n".join(lines) + "\n" + table((task.metric.name, again, "nodes", "formula"), rows, report=True)
    if found.stopped:
        where = f"--run {asked.run_folder} --resume" if asked.run_folder else "nothing: there is no --run"
        text += f"stopped early; go on with {where}\n"
    if asked.output not in (None, STDOUT):
        text += f"written: {asked.output}\n"
    return text
