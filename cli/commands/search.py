"""`lossc search`: discover losses by genetic programming."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossc.cli.context import Outcome, Session, begin
from lossc.cli.learning import BoardOption, ResumeOption, check_run
from lossc.cli.options import ForceOption, JsonOption, OutputOption, QuietOption
from lossc.cli.search_file import read_search_file
from lossc.cli.searching import (
    AddressOption,
    DeadlineOption,
    EngineOption,
    MemoryOption,
    WorkersOption,
    concluded,
    new_folder,
    searched,
    where_of,
)
from lossc.cli.tasks import (
    BatchOption,
    DataOption,
    ModelOption,
    MomentumOption,
    RateOption,
    ScaleOption,
    SizeOption,
    SplitOption,
    asked_spec,
)
from lossc.runtime.search.callbacks import TensorBoard

if TYPE_CHECKING:
    from lossc.runtime.search.config import SearchConfig
    from lossc.runtime.search.session import SearchResult

EXAMPLES = (
    "lossc search --task diabetes --preset quick --workers 2",
    "lossc search --task digits --method aged --generations 20 --run runs/a -o best.loss",
    "lossc search --task diabetes --ops add,sub,mul,aq,log --max-nodes 25 --seed-losses mse,log_cosh",
    "lossc search --task mytask.py:task --engine dask --address tcp://HOST:8786",
    "lossc search --config search.toml         # docs/search.md has one; options go before it",
    "lossc resume runs/a                       # killed or interrupted: it goes on",
)

TaskOption = Annotated[
    str | None,
    typer.Option("--task", metavar="TASK", help="As for `lossc train`, or mytask.py:task. [default: diabetes]"),
]
PresetOption = Annotated[
    str | None,
    typer.Option("--preset", metavar="NAME", help="quick, robust, thesis, public-2022, public-2023. [default: quick]"),
]
MethodOption = Annotated[
    str | None,
    typer.Option("--method", metavar="NAME", help="evomal, gp-lfl, glo, aged or random. [default: the preset's]"),
]
PopulationOption = Annotated[int | None, typer.Option("--population", metavar="N", help="Losses a generation.")]
GenerationsOption = Annotated[int | None, typer.Option("--generations", metavar="N", help="So many times that.")]
TrainingsOption = Annotated[
    int | None, typer.Option("--trainings", metavar="N", help="End after so many losses were trained.")
]
PatienceOption = Annotated[
    int | None, typer.Option("--patience", metavar="N", help="End after so many losses without a new best.")
]
ScheduleOption = Annotated[
    str | None, typer.Option("--schedule", metavar="NAME", help="generations, steady or islands, for many workers.")
]
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
SeedOption = Annotated[
    int | None, typer.Option("--seed", metavar="N", help="Everything random is a function of it. [default: 0]")
]
ControlOption = Annotated[
    bool | None, typer.Option("--control/--no-control", help="Random search with as many trainings beside it.")
]
ConfigOption = Annotated[
    str | None, typer.Option("--config", metavar="FILE", help="A TOML file with any of the settings.")
]
FolderOption = Annotated[
    str | None, typer.Option("--run", metavar="FOLDER", help="Keep the search there. [default: runs/TASK-METHOD-N]")
]


def run(
    ctx: typer.Context,
    task_name: TaskOption = None,
    preset: PresetOption = None,
    method: MethodOption = None,
    population: PopulationOption = None,
    generations: GenerationsOption = None,
    trainings: TrainingsOption = None,
    patience: PatienceOption = None,
    schedule: ScheduleOption = None,
    ops: OpsOption = None,
    seed_losses: SeedsOption = None,
    max_nodes: NodesOption = None,
    fitness_steps: StepsOption = None,
    meta_steps: MetaOption = None,
    seed: SeedOption = None,
    control: ControlOption = None,
    config: ConfigOption = None,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    address: AddressOption = None,
    deadline: DeadlineOption = None,
    memory: MemoryOption = None,
    run_folder: FolderOption = None,
    resume: ResumeOption = False,
    tensorboard: BoardOption = None,
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
    rejected before anything is trained. At the end the best are judged again on other rows, and the winner is compared
    on the test part with the task's usual loss and with random search. Ctrl-C finishes what is in flight; `lossc
    resume` goes on from there.
    """
    asked = SimpleNamespace(**locals())
    return _searched(begin(ctx, as_json, quiet), asked)


def _searched(session: Session, asked: SimpleNamespace) -> Outcome:
    if asked.config is not None:
        read_search_file(asked.config, asked)
    where = where_of(asked)
    check_run(asked)
    settings = settings_of(asked)
    session.note("loading torch ...")
    from lossc.runtime.search.setup import check_settings

    spec = asked_spec(asked, asked.task_name or "diabetes")
    check_settings(settings, spec.load(session.warnings), where.name)  # before a folder is made
    session.print_warnings()
    board = [] if asked.tensorboard is None else [TensorBoard(asked.tensorboard)]
    folder = asked.run_folder or new_folder(spec.name, settings.method)

    def go(shown: Any, stopped: Any) -> SearchResult:
        from lossc.runtime.search.session import run_session

        return run_session(
            spec, settings, where, run=folder, resume=asked.resume, callbacks=[*shown, *board], stop=stopped,
            warnings=session.warnings,
        )  # fmt: skip

    return concluded(session, searched(session, go), asked)


def settings_of(asked: SimpleNamespace) -> SearchConfig:
    """The settings that the options mean. UsageError (L255)."""
    from lossc.runtime.search.config import make_search_config

    names = (
        "method", "population", "generations", "trainings", "patience", "schedule", "max_nodes", "fitness_steps",
        "meta_steps", "seed", "control",
    )  # fmt: skip
    changes = {
        **getattr(asked, "settings", {}),
        **{n: getattr(asked, n) for n in names if getattr(asked, n) is not None},
    }
    for name, value in (("functions", asked.ops), ("seeds", asked.seed_losses)):
        if value is not None:
            changes[name] = tuple(n.strip() for n in value.split(",") if n.strip())
    return make_search_config(asked.preset or "quick", **changes)
