"""`lossc optimize`: the coefficients of a loss, learned by differentiating through training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossc.cli.commands.train import check_range, compiled, suited
from lossc.cli.context import Outcome, Session, begin, progress
from lossc.cli.given import Given, check_options
from lossc.cli.inputs import read_loss
from lossc.cli.learning import Board, Representation, is_network, learned_file, read_network, representation
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
from lossc.cli.output import STDOUT, check_writable, write
from lossc.cli.tasks import (
    BatchOption,
    DataOption,
    DeviceOption,
    ModelOption,
    RateOption,
    ScaleOption,
    SizeOption,
    SplitOption,
    Wanted,
    checked_device,
    chosen_task,
)
from lossc.compiler.errors import UsageError
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
    "lossc optimize --representation taylor3 --optimizer cma --steps 20 --task diabetes",
    'lossc optimize "abs(log(y*f + eps))" --task digits --preset public-2023 --inner-steps 5',
    'lossc optimize "abs(y - f)" --run runs/a            # killed? the same with --resume goes on',
    "lossc compile learned.loss -o learned.py",
)


def run(
    ctx: typer.Context,
    loss: Annotated[
        str | None,
        typer.Argument(metavar="[LOSS]", help="A formula, a named loss, a file, or a learned network to go on from."),
    ] = None,
    tasks: Annotated[
        list[str] | None, typer.Option("--task", metavar="TASK", help="As for `lossc train`; more than one add up.")
    ] = None,
    kind: Annotated[
        Representation, typer.Option("--representation", help="What is learned, if there is no LOSS.")
    ] = Representation.symbolic,
    preset: Annotated[
        str, typer.Option("--preset", metavar="NAME", help="thesis, public-2022 or public-2023.")
    ] = "thesis",
    steps: Annotated[
        int | None, typer.Option("--steps", metavar="N", help="Meta-steps, or generations. [default: 250]")
    ] = None,
    inner_steps: Annotated[
        int | None, typer.Option("--inner-steps", metavar="T", help="Training steps a meta-step. [default: 1]")
    ] = None,
    meta_lr: Annotated[
        float | None, typer.Option("--meta-lr", metavar="RATE", help="Of Adam. [default: 0.001]")
    ] = None,
    optimizer: Annotated[str, typer.Option("--optimizer", metavar="NAME", help="adam or cma.")] = "adam",
    query: Annotated[
        str | None, typer.Option("--query", metavar="WHAT", help="Of the meta-loss: same, train or valid.")
    ] = None,
    root: Annotated[
        str | None,
        typer.Option("--activation", metavar="NAME", help="Of the root: identity, softplus or smooth-leaky-relu."),
    ] = None,
    engine: Annotated[
        str, typer.Option("--engine", metavar="NAME", help="auto, lockstep, jvp1, reversible, unroll, ...")
    ] = "auto",
    truncate: Annotated[
        int, typer.Option("--truncate", metavar="K", help="Differentiate through the last K inner steps only.")
    ] = 0,
    population: Annotated[
        int | None, typer.Option("--population", metavar="N", help="Losses a generation of CMA-ES. [default: 25]")
    ] = None,
    sigma: Annotated[
        float | None, typer.Option("--sigma", metavar="S", help="First width of CMA-ES. [default: 1.2]")
    ] = None,
    fitness_steps: Annotated[
        int | None, typer.Option("--fitness-steps", metavar="N", help="Training steps of a fitness. [default: 500]")
    ] = None,
    dtype: Annotated[str, typer.Option("--dtype", metavar="NAME", help="float32 or float64.")] = "float32",
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Everything random is a function of it.")] = 0,
    run_folder: Annotated[
        str | None, typer.Option("--run", metavar="FOLDER", help="Keep progress and checkpoints there.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --run.")] = False,
    tensorboard: Annotated[
        str | None, typer.Option("--tensorboard", metavar="FOLDER", help="Write TensorBoard's events there.")
    ] = None,
    evaluate: Annotated[
        bool, typer.Option("--evaluate/--no-evaluate", help="Train with the loss before and after, and compare.")
    ] = True,
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", help="Of that comparison: 0 to N-1.")] = 1,
    model: ModelOption = None,
    size: SizeOption = None,
    data: DataOption = None,
    split: SplitOption = None,
    target_scale: ScaleOption = None,
    train_steps: Annotated[
        int | None, typer.Option("--train-steps", metavar="N", help="Of that comparison. [default: the task's]")
    ] = None,
    batch_size: BatchOption = None,
    lr: RateOption = None,
    device: DeviceOption = "cpu",
    threads: Annotated[int, typer.Option("--threads", metavar="N", help="Threads of torch.")] = 1,
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
    session = begin(ctx, as_json, quiet)
    check_range("--seeds", seeds, 1000)
    check_range("--threads", threads, 256)
    if resume and run_folder is None:
        raise UsageError("L235", "--resume goes on with a run, and --run does not say which")
    if output is not None:
        check_writable(output, force=force)
    given = Given(y, f, name, param or (), sets or (), dialect.value)
    check_options(given)
    names = tasks or ["diabetes"]
    source = _source(session, loss, kind, given)
    session.note("loading torch ...")
    from lossc.runtime.meta.config import make_config

    settings = {
        "meta_steps": steps, "inner_steps": inner_steps, "meta_lr": meta_lr, "query": query, "output": root,
        "population": population, "sigma": sigma, "fitness_steps": fitness_steps,
    }  # fmt: skip
    config = make_config(
        preset, meta_optimizer=optimizer, engine=engine, truncate=truncate, dtype=dtype, seed=seed,
        **{k: v for k, v in settings.items() if v is not None},
    )  # fmt: skip
    wanted = Wanted(size, model, split, data, target_scale)
    chosen = [
        chosen_task(session, n, wanted, steps=train_steps, batch_size=batch_size, lr=lr) for n in names
    ]  # fmt: skip
    family, start, before = _family(session, source, kind, config, chosen, given, loss or "")
    session.print_warnings()
    found = _learn(
        session, chosen, family, start, config, checked_device(device), threads, run_folder, resume, tensorboard
    )
    learned = learned_file(found, name or "learned", _doc(family, chosen, config))
    if output is not None:
        write(output, learned, force=force) if output != STDOUT else session.say(learned)
    table = _compared(session, chosen, found, before, range(seeds), threads, device) if evaluate else ("", {})
    data_out = {**_facts(found, chosen), **table[1], "learned": learned, "output": output}
    return Outcome(data_out, _report(found, output) + table[0])


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
    before = compiled(session, loss, tasks[0])[1]
    for t in tasks:
        t.check(loss)
    return Symbolic(loss, output=config.output), None, before


def _learn(
    session: Session, tasks: Sequence[Task], family: LossRepresentation, start: Tensor | None, config: MetaConfig,
    device: str, threads: int, folder: str | None, resume: bool, tensorboard: str | None,
) -> OptimizeResult:  # fmt: skip
    import torch

    from lossc.runtime.meta.driver import run_optimize
    from lossc.runtime.meta.optimize import Problem, describe_problem
    from lossc.runtime.runs import RunFolder

    torch.set_num_threads(threads)
    board = Board(tensorboard)
    problem = Problem(tuple(tasks), family, config, device)
    with progress(session, config.meta_steps) as bar:

        def told(record: Record, state: MetaState) -> None:
            bar.to(state.step, f"meta-step {state.step}, meta-loss {record.value:.4f}")
            for what, value in (("meta-loss", record.value), ("meta-gradient", record.norm)):
                board.add(what, value, record.step)
            board.add("float32 error", record.error, record.step)

        try:
            if folder is None:
                return run_optimize(problem, start, progress=told)
            with RunFolder(folder, describe_problem(problem, start), resume=resume) as kept:
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
    session: Session, tasks: Sequence[Task], found: OptimizeResult, before: nn.Module | None, seeds: range,
    threads: int, device: str,
) -> tuple[str, dict[str, Any]]:  # fmt: skip
    """Training with the loss as it was and as it is, beside the task's own."""
    from lossc.cli.comparison import caption, compared, comparison_table, remarks

    losses = {} if before is None else {"before": before}
    losses["learned"] = found.network
    texts, tables = [], []
    for task in tasks:
        result = compared(session, task, losses, seeds, threads=threads, device=device)
        texts.append("\n" + caption(task, len(seeds)) + comparison_table(result) + remarks(result))
        tables.append(result.as_json())
    return "".join(texts), {"comparison": tables}


def _facts(found: OptimizeResult, tasks: Sequence[Task]) -> dict[str, Any]:
    cma = found.config.meta_optimizer == "cma"
    return {
        "tasks": [t.name for t in tasks],
        "representation": found.family.name,
        "coefficients": found.phi.tolist() if found.family.size <= 100 else found.family.size,
        "formula": str(found.loss) if found.loss is not None else None,
        "meta_steps": len(found.history),
        "fitness" if cma else "meta_loss": {"before": _plain(found.before), "after": _plain(found.after)},
        "failure": found.failure,
        "events": [e.as_json() for e in found.events],
        "engines": sorted({r.engine for r in found.history if r.engine}),
        "float32_error": max((r.error for r in found.history if r.error is not None), default=None),
        "settings": found.config.model_dump(),
        "seconds": found.seconds,
    }


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


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
