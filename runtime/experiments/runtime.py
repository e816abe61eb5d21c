"""How long losses of classes take, by the number of classes: with the softmax and without it (thesis, Fig. 4.9).

For each number of classes C: random scores [rows, C] and class indices. *With softmax*, a loss is given scores;
*without*, their softmax, which was computed before the clock ran; there, a
loss that needs the target's probability only looks up that one. Timed are the value alone, and the value with its
gradient in what is given. Losses take turns, block by block, so that what else the machine does meets all of them; a
time is the median of the blocks.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from lossc.compiler.errors import UsageError
from lossc.compiler.ir import const, node, substitute
from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.passes.canonicalize import canonicalize
from lossc.compiler.passes.target_only import target_only
from lossc.runtime.data import generator

CLASSES = (3, 10, 30, 100, 300, 1000, 3000, 10000)
ROWS, BLOCKS, BLOCK_SECONDS = 100, 101, 1e-3
"""Rows of a batch (thesis, section 4.5.3), blocks of repeats, and about how long a block takes: less than the turn that
a busy machine gives to a process, so that most blocks are not interrupted."""
SOFTMAX, BARE = "softmax", "no softmax"
VALUE, GRADIENT = "value", "value and gradient"


@dataclass(frozen=True, slots=True)
class Timing:
    """One loss at one number of classes: median seconds of a call, and the quartiles over the blocks."""

    name: str
    classes: int
    form: str
    of: str
    seconds: float
    quartiles: tuple[float, float]

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name, "classes": self.classes, "form": self.form, "of": self.of, "seconds": self.seconds,
            "quartiles": list(self.quartiles),
        }  # fmt: skip


def check_classes(name: str, loss: Loss) -> None:
    """UsageError (L222) for a loss that is not one of classes."""
    if loss.layout != CLASSWISE:
        raise UsageError(
            "L222", f"{name} is elementwise (`y: {loss.y}, f: {loss.f}`): it does not know of classes",
            expected="a loss with `y: onehot`", hint="say so in its header, or with --y onehot --f prob",
        )  # fmt: skip


def modules_of(loss: Loss, classes: int, fused: bool | None = None) -> dict[str, nn.Module]:
    """A loss as a module by form: of scores, and, for a loss of probabilities, of probabilities."""
    found = {SOFTMAX: loss.to_torch(fused=fused)}
    if loss.f == "prob":
        found[BARE] = at_target(loss, classes) or loss.to_torch(fused=fused, from_logits=False)
    return found


class AtTarget(nn.Module):
    """A loss that needs the target's probability only: that one is looked up, and the rest not looked at."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, probabilities: Tensor, targets: Tensor) -> Tensor:
        """Probabilities [n, C] and class indices [n] -> the mean loss."""
        there = probabilities.gather(1, targets.unsqueeze(1))
        found: Tensor = self.loss(there, torch.ones_like(there))
        return found


def at_target(loss: Loss, classes: int) -> AtTarget | None:
    """The loss for so many classes as one of the target's probability, where that is proved
    (`lossc.compiler.passes.target_only`): hit(f_t) + (C - 1) miss."""
    found = target_only(canonicalize(loss))
    if found is None or found.maps:
        return None
    body = substitute(found.hit + const(classes - 1) * found.miss, {node("num_classes"): const(classes)})
    alone = replace(loss, body=body, y="real", f="prob")
    return None if alone.layout == CLASSWISE else AtTarget(alone.to_torch(from_logits=False))


def timings(
    losses: Mapping[str, Loss],
    classes: Sequence[int] = CLASSES,
    *,
    fused: bool | None = None,
    rows: int = ROWS,
    blocks: int = BLOCKS,
    seed: int = 0,
    progress: Callable[[int, str], None] | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[Timing]:
    """Time every loss at every number of classes, from few to many; `progress(done, what)` before each number.

    `fused` is the option of compilation. UsageError (L222) for a loss that is not one of classes, L223 for a number of
    classes below 2, of rows below 1, or fewer than 2 blocks.
    """
    if rows < 1 or blocks < 2 or min(classes) < 2:
        raise UsageError("L223", f"cannot time {rows} rows of {min(classes)} classes in {blocks} blocks",
                         expected="1 row, 2 classes and 2 blocks, or more")  # fmt: skip
    for name, loss in losses.items():
        check_classes(name, loss)
    for count, c in enumerate(sorted(set(classes))):
        if progress is not None:
            progress(count, f"{c} classes")
        scores = torch.randn(rows, c, generator=generator(seed, "scores", c)).to(device)
        targets = torch.randint(c, (rows,), generator=generator(seed, "targets", c)).to(device)
        modules = {name: modules_of(loss, c, fused) for name, loss in losses.items()}
        for form, of in product((SOFTMAX, BARE), (VALUE, GRADIENT)):
            given = scores if form == SOFTMAX else scores.softmax(dim=1)
            calls = {
                name: _call(made[form].to(device), given, targets, of) for name, made in modules.items() if form in made
            }
            if calls:
                for name, times in _interleaved(calls, blocks, torch.device(device)).items():
                    first, middle, third = statistics.quantiles(times, n=4)
                    yield Timing(name, c, form, of, middle, (first, third))


def _call(module: nn.Module, given: Tensor, targets: Tensor, of: str) -> Callable[[], object]:
    if of == VALUE:

        def value() -> object:
            with torch.no_grad():
                return module(given, targets)

        return value
    at = given.clone().requires_grad_()
    return lambda: torch.autograd.grad(module(at, targets), at)


def _interleaved(
    calls: Mapping[str, Callable[[], object]], blocks: int, device: torch.device
) -> dict[str, list[float]]:
    """Seconds of a call for each block; as many calls a block as take `BLOCK_SECONDS`, found while warming up."""
    repeats = {name: _repeats(call, device) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(blocks):
        for name, call in calls.items():
            times[name].append(_block(call, repeats[name], device) / repeats[name])
    return times


def _repeats(call: Callable[[], object], device: torch.device) -> int:
    count = 1
    while (seconds := _block(call, count, device)) < BLOCK_SECONDS / 2:
        count *= 2
    return max(1, round(count * BLOCK_SECONDS / seconds))


def _block(call: Callable[[], object], count: int, device: torch.device) -> float:
    _wait(device)
    began = time.perf_counter()
    for _ in range(count):
        call()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def ratios(found: Sequence[Timing], against: str) -> dict[tuple[str, int, str, str], float]:
    """The times over those of the loss `against`, by name, classes, form and what is timed; without that loss where it
    has none of that form."""
    base = {(t.classes, t.form, t.of): t.seconds for t in found if t.name == against}
    return {
        (t.name, t.classes, t.form, t.of): t.seconds / base[t.classes, t.form, t.of]
        for t in found
        if (t.classes, t.form, t.of) in base
    }


def growth(found: Sequence[Timing], name: str, form: str, of: str) -> float | None:
    """The time of a loss at the most classes over that at the fewest; None if it was not timed at two numbers."""
    mine = sorted((t.classes, t.seconds) for t in found if (t.name, t.form, t.of) == (name, form, of))
    return mine[-1][1] / mine[0][1] if len(mine) > 1 else None
