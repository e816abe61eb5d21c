"""What a learned loss is made of: one interface for symbolic networks, neural networks and Taylor polynomials.

All coefficients of a representation are one vector φ (float64, [size]), so that Adam, CMA-ES, a checkpoint and a
report treat every representation alike. Tensors of a batch:

    outputs   what the base model gives: [n, 1] predictions, or [n, C, ...] scores
    target    [n, 1] values, or the one-hot rows [n, C] that `encode` makes of class indices

The loss of a batch is the mean over its rows of the sum (or mean) over the outputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from lossc.compiler.loss import Loss


class LossRepresentation(ABC):
    """A family of losses M_φ(target, outputs) with a vector φ to learn.

    name    what it is, for reports ("symbolic", "mlp", ...)
    size    the number of coefficients
    """

    name: str
    size: int

    @abstractmethod
    def initial(self, seed: int) -> Tensor:
        """The coefficients before learning, float64 [size]; equal seeds give equal coefficients."""

    @abstractmethod
    def plain(self, outputs: Tensor, target: Tensor, phi: Tensor) -> Tensor:
        """The loss of a batch in plain operations of torch, to be differentiated any number of times."""

    @abstractmethod
    def describe(self, phi: Tensor) -> str:
        """What these coefficients make of it, in a line: a formula where there is one."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What it takes to build it again, as plain data; `build` reads it."""

    def fold(self, phi: Tensor) -> Loss | None:
        """The learned loss as a formula with numbers, or None if it has none."""
        del phi
        return None

    def __copy__(self) -> LossRepresentation:
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> LossRepresentation:
        return self  # it never changes

    def __reduce__(self) -> tuple[Any, ...]:
        from lossc.runtime.meta.learned import build

        return build, (self.settings(),)

    def encode(self, target: Tensor, outputs: Tensor) -> Tensor:
        """The target in the shape and dtype of the outputs: class indices [n, ...] become one-hot [n, C, ...]."""
        if target.is_floating_point() or target.shape == outputs.shape:
            return target.to(outputs.dtype)
        return functional.one_hot(target.long(), outputs.shape[1]).movedim(-1, 1).to(outputs.dtype)

    def value_and_slope(self, outputs: Tensor, target: Tensor, phi: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of a batch and its derivative with respect to the outputs, without a graph."""
        with torch.enable_grad():
            f = outputs.detach().requires_grad_()
            value = self.plain(f, target, phi.detach())
            (slope,) = _grads(value, (f,))
        return value.detach(), slope

    def second(self, outputs: Tensor, target: Tensor, u: Tensor, phi: Tensor) -> tuple[Tensor, Tensor]:
        """The derivatives of ⟨u, slope⟩ with respect to the outputs and to φ, without a graph (thesis, eq. 3.9)."""
        with torch.enable_grad():
            f, p = outputs.detach().requires_grad_(), phi.detach().requires_grad_()
            (slope,) = _grads(self.plain(f, target, p), (f,), further=True)
            hessian, mixed = _grads(slope, (f, p), u.detach())
        return hessian, mixed

    def linearize(self, outputs: Tensor, target: Tensor, phi: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """The derivative with respect to the outputs, and the function u -> ∂⟨u, slope⟩/∂φ: all that one step needs.

        What the two share is computed once; the function may be called once.
        """
        with torch.enable_grad():
            f, p = outputs.detach().requires_grad_(), phi.detach().requires_grad_()
            (slope,) = _grads(self.plain(f, target, p), (f,), further=True)
        return slope.detach(), lambda u: _grads(slope, (p,), u.detach())[0]

    def slope(self, outputs: Tensor, target: Tensor, phi: Tensor) -> Tensor:
        """The derivative of the loss with respect to the outputs, as one autograd node in outputs and φ."""
        found: Tensor = _Slope.apply(outputs, phi, target, self)  # type: ignore[no-untyped-call]
        return found

    def loss(self, outputs: Tensor, target: Tensor, phi: Tensor) -> Tensor:
        """The loss of a batch as one autograd node in outputs and φ; it can be differentiated any number of times.

        Under a compiler, a transformation of torch.func or forward mode, and where a gradient in the target is wanted,
        it is plain operations of torch instead.
        """
        if target.requires_grad or not _is_eager(outputs, target, phi):
            return self.plain(outputs, target, phi)
        found: Tensor = _Value.apply(outputs, phi, target, self)  # type: ignore[no-untyped-call]
        return found


def _grads(
    value: Tensor, leaves: tuple[Tensor, ...], bar: Tensor | None = None, *, further: bool = False
) -> tuple[Tensor, ...]:
    """Autograd's derivatives; zeros where there is nothing to follow, as of a loss that is made of signs."""
    if not value.requires_grad:
        return tuple(torch.zeros_like(leaf) for leaf in leaves)
    return torch.autograd.grad(value, leaves, bar, create_graph=further, materialize_grads=True, allow_unused=True)


def _is_eager(*tensors: Tensor) -> bool:
    """Whether plain tensors are computed with here and now."""
    if torch.compiler.is_compiling():
        return False
    unpacked: Any = torch.autograd.forward_ad.unpack_dual
    return all(
        type(t) in (Tensor, torch.nn.Parameter) and torch.func.debug_unwrap(t) is t and unpacked(t).tangent is None
        for t in tensors
    )


class _Value(torch.autograd.Function):
    """The loss. Its gradient in the outputs is `_Slope`; that in φ, which no meta-gradient needs, is autograd's."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, phi: Tensor, target: Tensor, family: LossRepresentation) -> Tensor:
        value, ctx.slope = family.value_and_slope(outputs, target, phi)
        ctx.save_for_backward(outputs, phi, target)
        ctx.family = family
        return value

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor | None, ...]:
        outputs, phi, target = ctx.saved_tensors
        in_outputs = in_phi = None
        if ctx.needs_input_grad[0]:
            slope = ctx.family.slope(outputs, target, phi) if torch.is_grad_enabled() else ctx.slope
            in_outputs = bar * slope
        if ctx.needs_input_grad[1]:
            further = torch.is_grad_enabled()
            with torch.enable_grad():
                (in_phi,) = _grads(ctx.family.plain(outputs, target, phi), (phi,), bar, further=further)
        return in_outputs, in_phi, None, None


class _Slope(torch.autograd.Function):
    """The derivative of the loss in the outputs; its own derivatives are in closed form, and autograd's beyond."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, phi: Tensor, target: Tensor, family: LossRepresentation) -> Tensor:
        ctx.save_for_backward(outputs, phi, target)
        ctx.family = family
        return family.value_and_slope(outputs, target, phi)[1]

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        outputs, phi, target = ctx.saved_tensors
        if not torch.is_grad_enabled():
            return (*ctx.family.second(outputs, target, u, phi), None, None)
        inputs = [t for t, needed in zip((outputs, phi), ctx.needs_input_grad, strict=False) if needed]
        with torch.enable_grad():
            if not outputs.requires_grad:
                outputs = outputs.detach().requires_grad_()
            value = ctx.family.plain(outputs, target, phi)
            (slope,) = torch.autograd.grad(value, outputs, create_graph=True)
            found = iter(torch.autograd.grad(slope, inputs, u, create_graph=True, materialize_grads=True,
                                             allow_unused=True))  # fmt: skip
        return (*(next(found) if needed else None for needed in ctx.needs_input_grad[:2]), None, None)
