"""What the tests of the torch target share: modules of losses, and the reference interpreter as their oracle."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

import mpmath
import torch
from torch import Tensor, nn

from lossc.compiler.evaluate import evaluate
from lossc.compiler.ir import Expr, F, Y, param
from lossc.compiler.loss import CLASSWISE, SIGMOID, SOFTMAX, Loss, Parameter
from lossc.compiler.targets.options import DEFAULT, Options
from lossc.compiler.targets.torch import emit
from lossc.compiler.targets.torch_names import names_of
from lossc.runtime.compiled import load_source

DIGITS = 60
STEP = mpmath.mpf(10) ** -20
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def loss_of(body: Expr, name: str = "tested", y: str = "real", f: str = "real", **params: float | None) -> Loss:
    """A loss with real hyper-parameters of these defaults."""
    made = tuple(Parameter(n, "real", None if v is None else Fraction(str(v))) for n, v in params.items())
    return Loss(body, name, y, f, made)


@lru_cache(maxsize=256)
def emitted(loss: Loss, options: Options = DEFAULT) -> str:
    """The file of a loss, without its self-test; once for all cases of one loss."""
    return emit(loss, selftest=False, options=options)


def module_of(loss: Loss, reduction: str = "none", /, **values: float) -> nn.Module:
    """The emitted module, loaded."""
    names = names_of(loss).hyperparameters
    cls = load_source(emitted(loss), loss.name).Loss
    made: nn.Module = cls(reduction, **{names[n]: v for n, v in values.items()})
    return made


def column(values: Sequence[float] | Sequence[Sequence[float]], dtype: torch.dtype = torch.float64) -> Tensor:
    """A leaf tensor that wants a gradient."""
    return torch.tensor(values, dtype=dtype, requires_grad=True)


def value_and_slope(module: nn.Module, z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The unreduced loss, and the gradient of its sum with respect to the input."""
    loss = module(z, y)
    (slope,) = torch.autograd.grad(loss.sum(), z)
    return loss.detach(), slope


def reference(loss: Loss, y: Any, z: Any, **values: float) -> Any:
    """The loss as written at one point (elementwise) or of one sample (classwise), with 60 digits.

    `z` is what a module gets: scores before the link. mpf numbers stay as they are.
    """
    with mpmath.workdps(DIGITS):
        defaults = {p.name: p.default for p in loss.params}
        env: dict[Expr, Any] = {param(n): values.get(n, v) for n, v in defaults.items()}
        scores = [mpmath.mpf(v) for v in z] if loss.layout == CLASSWISE else mpmath.mpf(z)
        f = scores
        if loss.link == SIGMOID:
            f = 1 / (1 + mpmath.exp(-scores))
        if loss.link == SOFTMAX:
            f = [mpmath.exp(v) / mpmath.fsum(map(mpmath.exp, scores)) for v in scores]
        count = len(z) if loss.layout == CLASSWISE else None
        found = evaluate(loss.body, {**env, Y: y, F: f}, num_classes=count)
        if loss.layout != CLASSWISE:
            return found
        rows = found if isinstance(found, list) else [found] * len(z)
        return rows[0] if loss.reduces_itself else mpmath.fsum(rows)


def reference_slope(loss: Loss, y: Any, z: Any, index: int | None = None, **values: float) -> Any:
    """d(loss)/dz (or /dz_index) by a central difference of the reference; None at a kink or the edge of the domain."""
    with mpmath.workdps(DIGITS):
        low, here, high = (reference(loss, y, _moved(z, index, s), **values) for s in (-STEP, mpmath.mpf(0), STEP))
        if not all(mpmath.isfinite(v) for v in (low, here, high)):
            return None
        left, right = (here - low) / STEP, (high - here) / STEP
        return (high - low) / (2 * STEP) if abs(left - right) <= 1e-8 * (1 + abs(left)) else None


def _moved(z: Any, index: int | None, step: Any) -> Any:
    if index is None:
        return mpmath.mpf(z) + step
    return [mpmath.mpf(v) + step if i == index else mpmath.mpf(v) for i, v in enumerate(z)]
