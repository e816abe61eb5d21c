"""`lossc adapt`: a model trained while its loss adapts online."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossc.cli.commands.train import check_range, suited
from lossc.cli.context import Outcome, Session, begin, progress, table
from lossc.cli.given import Given, check_options
from lossc.cli.inputs import read_loss
from lossc.cli.learning import Board, Representation, is_network, read_network, representation
from lossc.cli.options import FOption, ForceOption, JsonOption, OutputOption, QuietOption, YOption
from lossc.cli.output import check_writable, write_bytes
from lossc.cli.tasks import (
    BatchOption,
    DataOption,
    DeviceOption,
    ModelOption,
    RateOption,
    ScaleOption,
    SizeOption,
    SplitOption,
    StepsOption,
    TaskOption,
    Wanted,
    checked_device,
    chosen_task,
)
from lossc.compiler.errors import UsageError

if TYPE_CHECKING:
    from lossc.runtime.meta.adapt import AdaptConfig, AdaptResult, AdaptState
    from lossc.runtime.meta.optimize import Record
    from lossc.runtime.meta.representation import LossRepresentation
    from lossc.runtime.tasks import Task

EXAMPLES = (
    "lossc adapt --task diabetes",
    "lossc adapt --task digits --init-steps 500 --methods adalfl,ml3,meta-lr,baseline -o adapting.png",
    "lossc adapt --task mnist --model lenet5 --representation mlp --seeds 3",
    "lossc adapt --task digits --run runs/b               # killed? the same with --resume goes on",
)
BASELINE = "baseline"


class Method(StrEnum):
    """What is learned during training."""

    adalfl = "adalfl"
    ml3 = "ml3"
    meta_lr = "meta-lr"
    baseline = "baseline"


def run(
    ctx: typer.Context,
    loss: Annotated[
        str | None, typer.Argument(metavar="[LOSS]", help="What adapts, if not --representation: a formula, or a file.")
    ] = None,
    task_name: TaskOption = "diabetes",
    kind: Annotated[
        Representation, typer.Option("--representation", help="What adapts: AdaLFL's network, or a polynomial.")
    ] = Representation.mlp,
    methods: Annotated[
        str, typer.Option("--methods", metavar="NAMES", help="Of adalfl, ml3, meta-lr and baseline, with commas.")
    ] = "adalfl,baseline",
    init_steps: Annotated[
        int | None,
        typer.Option("--init-steps", metavar="N", help="Offline meta-steps before training. [default: 2500]"),
    ] = None,
    init_lr: Annotated[
        float | None, typer.Option("--init-lr", metavar="RATE", help="Of Adam, offline. [default: 0.001]")
    ] = None,
    online_lr: Annotated[
        float | None, typer.Option("--online-lr", metavar="RATE", help="Of Adam, online. [default: 1e-05]")
    ] = None,
    query: Annotated[
        str | None, typer.Option("--query", metavar="WHAT", help="Of the meta-loss: valid or train. [default: valid]")
    ] = None,
    engine: Annotated[str, typer.Option("--engine", metavar="NAME", help="auto, jvp1, unroll, ...")] = "auto",
    dtype: Annotated[str, typer.Option("--dtype", metavar="NAME", help="float32 or float64.")] = "float32",
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", help="Train with the seeds 0 to N-1.")] = 1,
    run_folder: Annotated[
        str | None, typer.Option("--run", metavar="FOLDER", help="Keep progress and checkpoints there.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the runs in --run.")] = False,
    tensorboard: Annotated[
        str | None, typer.Option("--tensorboard", metavar="FOLDER", help="Write TensorBoard's events there.")
    ] = None,
    model: ModelOption = None,
    size: SizeOption = None,
    data: DataOption = None,
    split: SplitOption = None,
    target_scale: ScaleOption = None,
    steps: StepsOption = None,
    batch_size: BatchOption = None,
    lr: RateOption = None,
    device: DeviceOption = "cpu",
    threads: Annotated[int, typer.Option("--threads", metavar="N", help="Threads of torch.")] = 1,
    y: YOption = None,
    f: FOption = None,
    output: OutputOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> Outcome:
    """Train a model while its loss adapts to it (AdaLFL, thesis chapter 5), beside the controls.

    ml3: the loss stays as the offline steps leave it; meta-lr: the learning rate adapts instead; baseline: the task's
    usual loss. With -o the adapting loss is drawn.
    """
    session = begin(ctx, as_json, quiet)
    check_range("--seeds", seeds, 1000)
    check_range("--threads", threads, 256)
    if resume and run_folder is None:
        raise UsageError("L235", "--resume goes on with a run, and --run does not say which")
    wanted_methods = _methods(methods)
    if output is not None:
        from lossc.runtime.accuracy.figure import check

        check(output)
        check_writable(output, force=force)
    given = Given(y, f)
    check_options(given)
    session.note("loading torch ...")
    import torch

    from lossc.runtime.meta.adapt import make_adapt_config

    torch.set_num_threads(threads)
    chosen = {
        "init_steps": init_steps, "init_lr": init_lr, "online_lr": online_lr, "query": query,
    }  # fmt: skip
    config = make_adapt_config(engine=engine, dtype=dtype, **{k: v for k, v in chosen.items() if v is not None})
    task = chosen_task(
        session, task_name, Wanted(size, model, split, data, target_scale), steps=steps, batch_size=batch_size, lr=lr
    )
    family = _family(session, loss, kind, task, given)
    session.print_warnings()
    results = _all(session, task, family, config, wanted_methods, range(seeds), checked_device(device), run_folder,
                   resume, tensorboard)  # fmt: skip
    if output is not None:
        from lossc.runtime.accuracy.figure import check
        from lossc.runtime.meta.figure import draw

        adapting = {m: r[0] for m, r in results.items() if r[0].shots or m == BASELINE}
        write_bytes(output, draw(task, adapting, check(output)), force=force)
    return _outcome(task, results, seeds, output)


def _methods(text: str) -> list[Method]:
    out = []
    for name in dict.fromkeys(n.strip() for n in text.split(",") if n.strip()):
        if name not in list(Method):
            raise UsageError("L235", f"there is no method `{name[:40]}`", expected="of: " + ", ".join(Method))
        out.append(Method(name))
    if not out:
        raise UsageError("L235", "--methods names none", expected="of: " + ", ".join(Method))
    return out


def _family(
    session: Session, loss: str | None, kind: Representation, task: Task, given: Given
) -> LossRepresentation | None:
    """What adapts; None for the network of the thesis."""
    from lossc.runtime.meta.symbolic import Symbolic

    if loss is not None:
        if is_network(loss):
            return read_network(loss)[0]
        written = suited(session, read_loss(loss, given, session.warnings), task, given, loss)
        task.check(written)
        return Symbolic(written)
    if kind == Representation.symbolic:
        raise UsageError("L235", "there is no LOSS to adapt", hint='lossc adapt "abs(y - f)"')
    return None if kind == Representation.mlp else representation(kind, task, "adam")


def _all(
    session: Session, task: Task, family: LossRepresentation | None, config: AdaptConfig, methods: Sequence[Method],
    seeds: range, device: str, folder: str | None, resume: bool, tensorboard: str | None,
) -> dict[str, list[AdaptResult]]:  # fmt: skip
    """Every method with every seed, on the same splits, weights and batches' distribution."""
    results: dict[str, list[AdaptResult]] = {}
    each = config.init_steps + task.steps
    board = Board(tensorboard)
    with progress(session, each * len(methods) * len(seeds)) as bar:
        done = 0
        for method in methods:
            for seed in seeds:
                made = config.model_copy(
                    update={"seed": seed, "method": "adalfl" if method == BASELINE else method.value}
                )

                def told(stage: str, record: Record, state: AdaptState, base: int = done, label: str = method) -> None:
                    step = record.step + (0 if stage == "offline" else config.init_steps)
                    bar.to(base + step + 1, f"{label}: {stage} step {record.step + 1}, meta-loss {record.value:.4f}")
                    board.add(f"{label}/{stage} meta-loss", record.value, record.step)

                where = None if folder is None else f"{folder}/{method.value}-{seed}"
                results.setdefault(method.value, []).append(
                    _one(task, family, made, method, device, where, resume, told)
                )
                done += each
    board.close()
    return results


def _one(
    task: Task, family: LossRepresentation | None, config: AdaptConfig, method: Method, device: str, folder: str | None,
    resume: bool, told: Any,
) -> AdaptResult:  # fmt: skip
    from pathlib import Path

    from lossc.runtime.meta.adapt import adapt, train_baseline

    if method == Method.baseline:
        return train_baseline(task, config.seed, device=device, dtype=config.dtype)
    settings = config.model_dump()
    again = resume and folder is not None and (Path(folder) / "config.json").is_file()
    own = None if method == Method.meta_lr else family
    return adapt(own, task, progress=told, device=device, run=folder, resume=again, **settings)


def _outcome(task: Task, results: dict[str, list[AdaptResult]], seeds: int, output: str | None) -> Outcome:
    from lossc.runtime.training import Spread

    name = task.metric.name
    base = [r.test for r in results.get(BASELINE, [])]
    rows, data = [], []
    for method, runs in results.items():
        test, val = Spread.of(r.test for r in runs), Spread.of(r.val for r in runs)
        gain = Spread.of(b - r.test for b, r in zip(base, runs, strict=True)) if base and method != BASELINE else None
        diverged = sum(bool(r.failure) for r in runs)
        seconds = statistics.fmean(r.seconds for r in runs)
        shown = "(baseline)" if method == BASELINE else "" if gain is None else str(gain)
        rows.append((method, str(test), str(val), shown, f"{seconds:.1f}", f"{diverged} of {len(runs)}"))
        data.append({
            "method": method, "test": [r.test for r in runs], "val": [r.val for r in runs], "seconds": seconds,
            "failures": [r.failure for r in runs], "ends_as": runs[0].describe(),
            "events": [e.as_json() for r in runs for e in r.events],
            "curve": [[p.step, p.val] for p in runs[0].curve],
        })  # fmt: skip
    heads = ("method", f"test {name}", f"validation {name}", "gain on test", "seconds a run", "diverged")
    sgd = task.sgd
    text = (
        f"{task.name} ({task.kind}), {task.model}, {task.steps} steps of SGD, learning rate {sgd.lr:g}, "
        f"batches of {task.batch_size}; {seeds} seed{'s' if seeds > 1 else ''}\n"
        f"{name}: {task.metric.doc}; smaller is better\n" + table(heads, rows, report=True)
    )
    text += "".join(f"{m} ended early: {r.failure}\n" for m, runs in results.items() for r in runs[:1] if r.failure)
    if output is not None:
        text += f"drawn: {output}\n"
    return Outcome({"task": task.name, "model": task.model, "methods": data, "output": output}, text)
