"""`lossc adapt`: a model trained while its loss adapts online."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from enum import StrEnum
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import typer

from lossc.cli.commands.train import suited
from lossc.cli.context import Outcome, Session, begin, progress, table
from lossc.cli.given import Given, check_options
from lossc.cli.inputs import read_loss
from lossc.cli.learning import (
    AdaptKind,
    AdaptQueryOption,
    BoardOption,
    EngineOption,
    InitRateOption,
    InitStepsOption,
    MethodsOption,
    OnlineRateOption,
    RealOption,
    Representation,
    ResumeOption,
    RunOption,
    SeedsOption,
    StartArgument,
    ThreadsOption,
    check_asked,
    is_network,
    note_momentum,
    read_network,
    representation,
)
from lossc.cli.options import FOption, ForceOption, JsonOption, OutputOption, QuietOption, YOption
from lossc.cli.output import write_bytes
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
    StepsOption,
    TaskOption,
    asked_task,
    checked_device,
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
    loss: StartArgument = None,
    task_name: TaskOption = "diabetes",
    kind: AdaptKind = Representation.mlp,
    methods: MethodsOption = "adalfl,baseline",
    init_steps: InitStepsOption = None,
    init_lr: InitRateOption = None,
    online_lr: OnlineRateOption = None,
    query: AdaptQueryOption = None,
    engine: EngineOption = "auto",
    dtype: RealOption = "float32",
    seeds: SeedsOption = 1,
    run_folder: RunOption = None,
    resume: ResumeOption = False,
    tensorboard: BoardOption = None,
    model: ModelOption = None,
    size: SizeOption = None,
    data: DataOption = None,
    split: SplitOption = None,
    target_scale: ScaleOption = None,
    steps: StepsOption = None,
    batch_size: BatchOption = None,
    lr: RateOption = None,
    momentum: MomentumOption = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
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
    asked = SimpleNamespace(**locals())
    return _adapted(begin(ctx, as_json, quiet), asked)


def _adapted(session: Session, asked: SimpleNamespace) -> Outcome:
    if asked.output is not None:
        from lossc.runtime.accuracy.figure import check

        suffix = check(asked.output)
    check_asked(asked)
    wanted_methods = _methods(asked.methods)
    given = Given(asked.y, asked.f)
    check_options(given)
    session.note("loading torch ...")
    from lossc.runtime.hygiene import settle
    from lossc.runtime.meta.adapt import make_adapt_config

    settle(asked.threads)
    chosen = {k: getattr(asked, k) for k in ("init_steps", "init_lr", "online_lr", "query")}
    settings = {k: v for k, v in chosen.items() if v is not None}
    config = make_adapt_config(engine=asked.engine, dtype=asked.dtype, **settings)
    task = asked_task(session, asked, asked.task_name, asked.steps)
    family = _family(session, asked.loss, asked.kind, task, given)
    session.print_warnings()
    note_momentum(session, [task], config.inner_steps)
    checked_device(asked.device)
    results = _all(session, asked, task, family, config, wanted_methods)
    if asked.output is not None:
        from lossc.runtime.meta.figure import draw

        write_bytes(asked.output, draw(task, {m: r[0] for m, r in results.items()}, suffix), force=asked.force)
    return _outcome(task, results, asked.seeds, asked.output)


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
    session: Session, asked: SimpleNamespace, task: Task, family: LossRepresentation | None, config: AdaptConfig,
    methods: Sequence[Method],
) -> dict[str, list[AdaptResult]]:  # fmt: skip
    """Every method with every seed, on the same splits and weights."""
    results: dict[str, list[AdaptResult]] = {}
    each = config.init_steps + task.steps
    from lossc.runtime.board import Board

    board = Board(asked.tensorboard)
    with progress(session, each * len(methods) * asked.seeds) as bar:
        done = 0
        for method in methods:
            for seed in range(asked.seeds):
                kind = "adalfl" if method == BASELINE else method.value
                made = config.model_copy(update={"seed": seed, "method": kind})

                def told(stage: str, record: Record, state: AdaptState, base: int = done, label: str = method) -> None:
                    step = record.step + (0 if stage == "offline" else config.init_steps)
                    bar.to(base + step + 1, f"{label}: {stage} step {record.step + 1}, meta-loss {record.value:.4f}")
                    board.add(f"{label}/{stage} meta-loss", record.value, record.step)

                where = None if asked.run_folder is None else f"{asked.run_folder}/{method.value}-{seed}"
                found = _one(task, family, made, method, asked.device, where, asked.resume, told)
                results.setdefault(method.value, []).append(found)
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
