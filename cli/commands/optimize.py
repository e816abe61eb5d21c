"""`lossc optimize`: the coefficients of a loss, learned by differentiating through training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import typer

from lossc.cli.commands.train import compiled, suited
from lossc.cli.context import Outcome, Session, begin, progress
from lossc.cli.given import Given, check_options
from lossc.cli.inputs import read_loss
from lossc.cli.learning import (
    BoardOption,
    EngineOption,
    EvaluateOption,
    FitnessOption,
    InnerOption,
    LearnedKind,
    MetaRateOption,
    MetaStepsOption,
    OptimizerOption,
    PopulationOption,
    PresetOption,
    QueryOption,
    RealOption,
    Representation,
    ResumeOption,
    RootOption,
    RunOption,
    SeedOption,
    SeedsOption,
    SigmaOption,
    StartArgument,
    TasksOption,
    ThreadsOption,
    TrainStepsOption,
    TruncateOption,
    check_asked,
    is_network,
    learned_file,
    note_momentum,
    read_network,
    representation,
)
from lossc.cli.options import (
    Dialect,
    DialectOption,
    FOption,
    ForceOption,
    JsonOption,
    NameOption,
    OutputOption,
    ParamOption,
    QuietOption,
    SetOption,
    YOption,
)
from lossc.cli.output import STDOUT, write
from lossc.cli.tasks import (
    BatchOption,
    DataOption,
    DeviceOption,
    ModelOption,
    MomentumOption,
    RateOption,
    ScaleOption,
    SizeOption,
    SplitOption,
    asked_task,
    checked_device,
)
from lossc.compiler.errors import LossTypeError, UsageError
from lossc.compiler.loss import Loss

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lossc.runtime.meta.config import MetaConfig
    from lossc.runtime.meta.optimize import MetaState, OptimizeResult, Record
    from lossc.runtime.meta.representation import LossRepresentation
    from lossc.runtime.tasks import Task

EXAMPLES = (
    'lossc optimize "sqrt(abs(y - f))" --task diabetes --steps 250 -o learned.loss',
    "lossc optimize --representation mlp --task digits -o ml3.json",
    "lossc optimize --representation taylor3 --optimizer cma --steps 5 --population 8 --fitness-steps 100",
    'lossc optimize "abs(log(y*f + eps))" --task digits --preset public-2023 --inner-steps 5',
    'lossc optimize "abs(y - f)" --run runs/a            # killed? the same with --resume goes on',
    "lossc compile learned.loss -o learned.py",
)


def run(
    ctx: typer.Context,
    loss: StartArgument = None,
    tasks: TasksOption = None,
    kind: LearnedKind = Representation.symbolic,
    preset: PresetOption = "thesis",
    steps: MetaStepsOption = None,
    inner_steps: InnerOption = None,
    meta_lr: MetaRateOption = None,
    optimizer: OptimizerOption = "adam",
    query: QueryOption = None,
    root: RootOption = None,
    engine: EngineOption = "auto",
    truncate: TruncateOption = 0,
    population: PopulationOption = None,
    sigma: SigmaOption = None,
    fitness_steps: FitnessOption = None,
    dtype: RealOption = "float32",
    seed: SeedOption = 0,
    run_folder: RunOption = None,
    resume: ResumeOption = False,
    tensorboard: BoardOption = None,
    evaluate: EvaluateOption = True,
    seeds: SeedsOption = 1,
    model: ModelOption = None,
    size: SizeOption = None,
    data: DataOption = None,
    split: SplitOption = None,
    target_scale: ScaleOption = None,
    train_steps: TrainStepsOption = None,
    batch_size: BatchOption = None,
    lr: RateOption = None,
    momentum: MomentumOption = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    y: YOption = None,
    f: FOption = None,
    name: NameOption = None,
    param: ParamOption = None,
    sets: SetOption = None,
    dialect: DialectOption = Dialect.lossc,
    output: OutputOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> Outcome:
    """Learn the coefficients of a loss (thesis, section 3.2.4): a loss network, unrolled through training.

    The learned loss is written as a formula with numbers (or as JSON, for a neural network), to compile, train with or
    go on from.
    """
    asked = SimpleNamespace(**locals())
    return _optimized(begin(ctx, as_json, quiet), asked)


def _optimized(session: Session, asked: SimpleNamespace) -> Outcome:
    check_asked(asked)
    given = Given(asked.y, asked.f, asked.name, asked.param or (), asked.sets or (), asked.dialect.value)
    check_options(given)
    source = _source(session, asked.loss, asked.kind, given)
    session.note("loading torch ...")
    config = _config(asked)
    chosen = [asked_task(session, asked, name, asked.train_steps) for name in asked.tasks or ["diabetes"]]
    family, start, before = _family(session, source, asked.kind, config, chosen, given, asked.loss or "")
    session.print_warnings()
    note_momentum(session, chosen, config.inner_steps if config.meta_optimizer == "adam" else 0)
    checked_device(asked.device)
    found = _learn(session, asked, chosen, family, start, config)
    if found.history and not any(math.isfinite(r.value) for r in found.history):
        raise LossTypeError("L322", f"nothing was learned: {found.failure or found.events[-1].why}",
                            hint="is the loss defined for predictions far from the target?")  # fmt: skip
    learned = learned_file(found, asked.name or "learned", _doc(family, chosen, config))
    if asked.output == STDOUT:
        session.say(learned)
    elif asked.output is not None:
        write(asked.output, learned, force=asked.force)
    text, facts = _compared(session, asked, chosen, found, before) if asked.evaluate else ("", {})
    data = {**_facts(found, chosen), **facts, "learned": learned, "output": asked.output}
    return Outcome(data, _report(found, asked.output) + text)


def _config(asked: SimpleNamespace) -> MetaConfig:
    """The settings: the preset's, and what the options say otherwise."""
    from lossc.runtime.meta.config import make_config

    settings = {
        "meta_steps": asked.steps, "inner_steps": asked.inner_steps, "meta_lr": asked.meta_lr, "query": asked.query,
        "output": asked.root, "population": asked.population, "sigma": asked.sigma,
        "fitness_steps": asked.fitness_steps,
    }  # fmt: skip
    return make_config(
        asked.preset, meta_optimizer=asked.optimizer, engine=asked.engine, truncate=asked.truncate, dtype=asked.dtype,
        seed=asked.seed, **{k: v for k, v in settings.items() if v is not None},
    )  # fmt: skip


def _source(session: Session, loss: str | None, kind: Representation, given: Given) -> Loss | str | None:
    """The loss that LOSS means, the name of a learned network, or None where the representation is all there is."""
    if loss is None:
        if kind == Representation.symbolic:
            raise UsageError("L235", "there is no LOSS to learn the coefficients of",
                             hint='lossc optimize "sqrt(abs(y - f))"; or --representation mlp')  # fmt: skip
        return None
    if kind != Representation.symbolic:
        raise UsageError("L235", f"--representation {kind.value} needs no LOSS", hint="leave one of the two out")
    return loss if is_network(loss) else read_loss(loss, given, session.warnings)


def _family(
    session: Session, source: Loss | str | None, kind: Representation, config: MetaConfig, tasks: Sequence[Task],
    given: Given, text: str,
) -> tuple[LossRepresentation, Tensor | None, nn.Module | None]:  # fmt: skip
    """What is learned, where it starts, and the loss before as a module (for symbolic ones)."""
    from lossc.runtime.meta.symbolic import Symbolic

    if isinstance(source, str):
        family, start = read_network(source)
        return family, start, None
    if source is None:
        return representation(kind, tasks[0], config.meta_optimizer), None, None
    loss = suited(session, source, tasks[0], given, text)
    for t in tasks:
        t.check(loss)
    family = Symbolic(loss, output=config.output)
    return family, None, compiled(session, loss, tasks[0])[1]


def _learn(
    session: Session, asked: SimpleNamespace, tasks: Sequence[Task], family: LossRepresentation, start: Tensor | None,
    config: MetaConfig,
) -> OptimizeResult:  # fmt: skip
    from lossc.runtime.hygiene import settle
    from lossc.runtime.meta.driver import run_optimize
    from lossc.runtime.meta.optimize import Problem, describe_problem
    from lossc.runtime.runs import RunFolder

    settle(asked.threads)
    from lossc.runtime.board import Board

    board = Board(asked.tensorboard)
    problem = Problem(tuple(tasks), family, config, asked.device)
    with progress(session, config.meta_steps) as bar:

        def told(record: Record, state: MetaState) -> None:
            bar.to(state.step, f"meta-step {state.step}, meta-loss {record.value:.4f}")
            for what, value in (("meta-loss", record.value), ("meta-gradient", record.norm)):
                board.add(what, value, record.step)
            board.add("float32 error", record.error, record.step)

        try:
            if asked.run_folder is None:
                return run_optimize(problem, start, progress=told)
            with RunFolder(asked.run_folder, describe_problem(problem, start), resume=asked.resume) as kept:
                found = run_optimize(problem, start, folder=kept, progress=told)
                kept.write("learned.loss", learned_file(found, "learned", _doc(family, tasks, config)))
                return found
        finally:
            board.close()


def _doc(family: LossRepresentation, tasks: Sequence[Task], config: MetaConfig) -> str:
    where = ", ".join(f"{t.name} ({t.model})" for t in tasks)
    kind = f"{config.meta_steps} generations of CMA-ES" if config.meta_optimizer == "cma" else (
        f"{config.meta_steps} meta-steps of {config.inner_steps} inner step{'s' if config.inner_steps > 1 else ''}"
    )  # fmt: skip
    return f"A {family.name} loss learned on {where}: {kind}, preset {config.preset}, seed {config.seed}."


def _compared(
    session: Session, asked: SimpleNamespace, tasks: Sequence[Task], found: OptimizeResult, before: nn.Module | None
) -> tuple[str, dict[str, Any]]:
    """Training with the loss as it was and as it is, beside the task's own."""
    from lossc.cli.comparison import caption, compared, comparison_table, remarks

    losses = {} if before is None else {"before": before}
    losses["learned"] = found.network
    texts, tables = [], []
    for task in tasks:
        result = compared(
            session, task, losses, range(asked.seeds), threads=asked.threads, device=checked_device(asked.device)
        )
        texts.append("\n" + caption(task, asked.seeds) + comparison_table(result) + remarks(result))
        tables.append(result.as_json())
    return "".join(texts), {"comparison": tables}


def _facts(found: OptimizeResult, tasks: Sequence[Task]) -> dict[str, Any]:
    from lossc.runtime.plain import finite

    cma = found.config.meta_optimizer == "cma"
    return {
        "tasks": [t.name for t in tasks],
        "representation": found.family.name,
        "coefficients": found.phi.tolist() if found.family.size <= 100 else found.family.size,
        "formula": str(found.loss) if found.loss is not None else None,
        "meta_steps": len(found.history),
        "fitness" if cma else "meta_loss": {"before": finite(found.before), "after": finite(found.after)},
        "failure": found.failure,
        "events": [e.as_json() for e in found.events],
        "engines": sorted({r.engine for r in found.history if r.engine}),
        "float32_error": max((r.error for r in found.history if r.error is not None), default=None),
        "settings": found.config.model_dump(),
        "seconds": found.seconds,
    }


def _report(found: OptimizeResult, output: str | None) -> str:
    shown = found.family.describe(found.phi)
    lines = [("learned", shown)]
    if found.config.meta_optimizer == "cma":
        lines.append(("fitness", f"{found.before:.4f} -> {found.after:.4f} (best of the first generation, and of all)"))
    else:
        lines.append(("meta-loss", f"{found.before:.4f} -> {found.after:.4f} (mean of 20 episodes not learned from)"))
    engines = ", ".join(sorted({r.engine for r in found.history if r.engine})) or "none"
    unit = "generations" if found.config.meta_optimizer == "cma" else "meta-steps"
    lines.append(("run", f"{len(found.history)} {unit} in {found.seconds:.1f} s; engine {engines}"))
    errors = [r.error for r in found.history if r.error is not None]
    if errors:
        lines.append(
            ("float32", f"relative error of the meta-gradient at most {max(errors):.1e} ({len(errors)} checks)")
        )
    lines += [("done", f"{event.action} at meta-step {event.step}: {event.why}") for event in found.events[:3]]
    if len(found.events) > 3:
        lines.append(("done", f"... {len(found.events) - 3} more"))
    if found.failure:
        lines.append(("ended", found.failure))
    if output is not None and output != STDOUT:
        lines.append(("written", output))
    return "".join(f"{k:<12}{v}\n" for k, v in lines)
