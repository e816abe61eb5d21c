"""Meta-learning with a run folder: the loops of `optimize` and `adapt`, saved as they go and gone on with after a kill.

A state is arrays and plain facts, so what is read back is what was written, to the bit; everything random is a function
of (seed, step). So a run that was killed and resumed ends with the numbers of one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from lossc.compiler.errors import UsageError
from lossc.runtime.inner import TrainState
from lossc.runtime.meta.adapt import Adaptation, AdaptResult, AdaptState, advance, begin, conclude, is_over
from lossc.runtime.meta.adapt import Progress as AdaptProgress
from lossc.runtime.meta.cma_es import run_cma
from lossc.runtime.meta.guarded import Event
from lossc.runtime.meta.optimize import (
    MetaState,
    OptimizeResult,
    Problem,
    Progress,
    Record,
    begin_at,
    init,
    result_of,
    step,
)
from lossc.runtime.runs import RunFolder
from lossc.runtime.training import Point

Packed = tuple[dict[str, Tensor], dict[str, Any]]


def pack_meta(state: MetaState) -> Packed:
    """The state of an offline run as arrays and facts."""
    arrays = {"phi": state.phi, "mean": state.mean, "square": state.square}
    if state.best_phi is not None:
        arrays["best_phi"] = state.best_phi
    facts = {"step": state.step, "best_value": state.best_value, "skipped": state.skipped, "failure": state.failure}
    return arrays, facts


def unpack_meta(packed: Packed) -> MetaState:
    """What `pack_meta` packed."""
    a, facts = packed
    return MetaState(
        facts["step"], a["phi"], a["mean"], a["square"], a.get("best_phi"), facts["best_value"], facts["skipped"],
        facts["failure"],
    )  # fmt: skip


def pack_adapt(state: AdaptState) -> Packed:
    """The state of an adapting run as arrays and facts; `step` counts the lines of progress."""
    arrays, facts = pack_meta(state.meta)
    facts = {"meta": facts, "step": state.meta.step, "online": None}
    if state.online is not None:
        online = state.online
        for kind in ("params", "velocity", "buffers"):
            arrays |= {f"{kind}:{k}": v for k, v in getattr(online, kind).items()}
        facts["online"] = {"step": online.step, "loss": online.loss, "failure": online.failure}
        facts["curve"] = [[p.step, p.loss, p.val] for p in state.curve]
        facts["shots"] = [s for s, _ in state.shots]
        arrays |= {f"shot:{s}": phi for s, phi in state.shots}
    return arrays, facts


def unpack_adapt(packed: Packed) -> AdaptState:
    """What `pack_adapt` packed."""
    arrays, facts = packed
    meta = unpack_meta((arrays, facts["meta"]))
    if facts["online"] is None:
        return AdaptState(meta)
    parts: dict[str, dict[str, Tensor]] = {"params": {}, "velocity": {}, "buffers": {}}
    for name, value in arrays.items():
        kind, colon, key = name.partition(":")
        if colon and kind in parts:
            parts[kind][key] = value
    given = facts["online"]
    online = TrainState(
        given["step"], parts["params"], parts["velocity"], parts["buffers"], given["loss"], given["failure"]
    )
    shots = tuple((s, arrays[f"shot:{s}"]) for s in facts["shots"])
    return AdaptState(meta, online, shots, tuple(Point(*p) for p in facts["curve"]))


@dataclass(eq=False)
class _Writer:
    """The lines and checkpoints of one run; without a folder it does nothing."""

    folder: RunFolder | None

    def note(self, line: dict[str, Any], packed: Any, *, last: bool) -> None:
        if self.folder is None:
            return
        self.folder.note(line)
        if last or self.folder.due:
            self.folder.save(*packed())


def run_optimize(
    problem: Problem, start: Tensor | None = None, *, folder: RunFolder | None = None, progress: Progress | None = None
) -> OptimizeResult:
    """Offline learning to its end, in a folder if one is given; from where the folder is, if it holds a state."""
    began = time.perf_counter()
    for sampler in problem.samplers:
        sampler.check()
    if problem.config.meta_optimizer == "cma":
        return _run_cma(problem, start, folder, progress)
    state = init(problem) if start is None else begin_at(start)
    history: list[Record] = []
    if folder is not None and folder.state is not None:
        saved = folder.state
        state = _checked(folder, lambda: unpack_meta(saved), problem.family.size)
        history = _history(folder, state.step)
    writer = _Writer(folder)
    while state.step < problem.config.meta_steps and not state.failure:
        state, record = step(problem, state)
        history.append(record)
        over = bool(state.failure) or state.step >= problem.config.meta_steps
        here = state
        writer.note(record.as_json(), lambda here=here: pack_meta(here), last=over)
        if progress is not None:
            progress(record, state)
    return result_of(problem, state, history, time.perf_counter() - began, start)


S = TypeVar("S", MetaState, AdaptState)


def _checked(folder: RunFolder, unpack: Callable[[], S], size: int) -> S:
    """The state of a checkpoint. UsageError (L256) if it is not one of this run: damaged, or edited by hand."""
    try:
        state = unpack()
        meta = state if isinstance(state, MetaState) else state.meta
        for vector in (meta.phi, meta.mean, meta.square):
            if vector.shape != (size,) or vector.dtype != torch.float64 or not bool(torch.isfinite(vector).all()):
                raise ValueError("its coefficients are not those of the loss")
        if type(meta.step) is not int or meta.step < 0 or type(meta.skipped) is not int:
            raise ValueError("its step is not a number")
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as problem:
        raise UsageError("L256", f"the checkpoint in {folder.path} cannot be used: {problem}") from None
    return state


def _history(folder: RunFolder, steps: int) -> list[Record]:
    """The records of the lines of progress. UsageError (L256) if they are not those of the checkpoint."""
    try:
        found = [record_of(line) for line in folder.lines()]
    except (KeyError, TypeError, ValueError) as problem:
        raise UsageError("L256", f"a line of progress in {folder.path} cannot be read: {problem}") from None
    if len(found) != steps:
        raise UsageError("L256", f"{folder.path} has {len(found)} lines of progress for a checkpoint of {steps} steps")
    return found


def _run_cma(
    problem: Problem, start: Tensor | None, folder: RunFolder | None, progress: Progress | None
) -> OptimizeResult:
    """Each generation's fitnesses are the state: told again, the strategy is where it was."""
    known: list[Sequence[float]] = []
    if folder is not None and folder.state is not None:
        try:
            known = [[float(v) for v in row] for row in folder.state[1]["values"]]
        except (KeyError, TypeError, ValueError) as wrong:
            raise UsageError("L256", f"the checkpoint in {folder.path} cannot be used: {wrong}") from None

    def told(generation: int, values: list[float]) -> None:
        if folder is not None:
            known.append(values)
            folder.note({"step": generation, "value": min(v for v in values) if values else None})
            folder.save({}, {"step": generation + 1, "values": known})

    return run_cma(problem, start, progress=progress, known=list(known), told=told)


def record_of(line: dict[str, Any]) -> Record:
    """The record that a line of progress was written from."""
    nan = float("nan")
    return Record(
        line["step"],
        nan if line.get("value") is None else line["value"],
        nan if line.get("norm") is None else line["norm"],
        line.get("engine", ""),
        nan if line.get("growth") is None else line["growth"],
        line.get("error"),
        line.get("kinks"),
        line.get("validation"),
        tuple(Event(**e) for e in line.get("events", ())),
    )


def run_adapt(
    run: Adaptation, *, folder: RunFolder | None = None, progress: AdaptProgress | None = None
) -> AdaptResult:
    """Adaptation to the end of training, in a folder if one is given; from where the folder is."""
    began = time.perf_counter()
    run.sampler.check()
    state = begin(run)
    events: list[Event] = []
    lines = 0
    if folder is not None and folder.state is not None:
        packed = folder.state
        state = _checked(folder, lambda: unpack_adapt((packed[0], packed[1]["state"])), run.family.size)
        history = _history(folder, packed[1]["step"])
        events, lines = [e for r in history for e in r.events], len(history)
    writer = _Writer(folder)
    while not is_over(run, state):
        offline = state.online is None and state.meta.step < run.config.init_steps
        stage = "offline" if offline else "online"
        state, record = advance(run, state)
        events += record.events
        line = {"stage": stage, **record.as_json(), "stage_step": record.step, "step": lines}
        lines += 1
        here, count = state, lines

        def packed_state(here: AdaptState = here, count: int = count) -> Packed:
            arrays, facts = pack_adapt(here)
            return arrays, {"step": count, "state": facts}

        writer.note(line, packed_state, last=is_over(run, state))
        if progress is not None:
            progress(stage, record, state)
    return conclude(run, state, time.perf_counter() - began, tuple(events))
