"""A symbolic loss as a representation: the loss network of thesis section 3.2.3, run as straight-line code.

Its value, slope and second-order products are the functions that `compiler/targets/network.py` prints, for NumPy where
the batch lies in the memory of the processor (a call costs a fraction of one of torch) and for torch elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossc.compiler.errors import LossTypeError
from lossc.compiler.ir import F, postorder
from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.passes.parameterize import edge_coefficients, fold_coefficients, parameterize
from lossc.compiler.targets.network import FUNCTIONS, NetworkProgram, network_program
from lossc.runtime.compiled import load_source
from lossc.runtime.data import generator
from lossc.runtime.meta.representation import LossRepresentation

SPREAD = 1e-3
"""Standard deviation of φ around 1 at the start (thesis, section 3.2.3: "N(1, 1e-3)"; its code: 1 + .001 N(0, 1))."""


class _Functions:
    """The functions of a program for one target, each compiled when it is first called: most losses of a search need
    one of the ten."""

    def __init__(self, program: NetworkProgram, target: str, name: str) -> None:
        self._program, self._target, self._name = program, target, name

    def __getattr__(self, function: str) -> Callable[..., Any]:
        if function not in FUNCTIONS:
            raise AttributeError(function)
        found: Callable[..., Any] = getattr(
            load_source(self._program.source(self._target, (function,)), self._name), function
        )
        setattr(self, function, found)
        return found


class Symbolic(LossRepresentation):
    """A loss with a coefficient on every edge; φ ~ N(1, 1e-3), so that it starts as (nearly) the loss itself.

    loss      the loss before parameterisation; with `weighted`, one that has its coefficients already
    output    the output activation: "identity", "softplus" or "smooth-leaky-relu"
    start     the coefficients to start around, instead of 1
    """

    def __init__(
        self,
        loss: Loss,
        *,
        output: str = "identity",
        name: str = "symbolic",
        weighted: bool = False,
        start: Sequence[float] | None = None,
        spread: float = SPREAD,
    ) -> None:
        if F not in postorder(loss.body):
            raise LossTypeError("L320", f"{loss.name} does not depend on the prediction: there is nothing to learn")
        self.original, self.output, self.name, self.spread = loss, output, name, spread
        self.network = loss if weighted else parameterize(loss, output=output)
        self.program: NetworkProgram = network_program(self.network)
        self.size = self.program.size
        self.start = None if start is None else [float(v) for v in start]

    def initial(self, seed: int) -> Tensor:
        """Around 1 (or `start`), with a little noise that tells the edges apart."""
        noise = torch.randn(self.size, generator=generator(seed, "phi"), dtype=torch.float64)
        centre = torch.ones(self.size, dtype=torch.float64) if self.start is None else torch.tensor(self.start).double()
        return centre + self.spread * noise

    @cached_property
    def edges(self) -> tuple[int | None, ...]:
        """For every node of the original tree, in prefix order, which coefficient the edge above it has."""
        return edge_coefficients(self.original, self.network, output=self.output)

    def describe(self, phi: Tensor) -> str:
        """The formula, its numbers rounded for reading."""
        return str(self.network.with_body(fold_coefficients(self.network, [float(f"{v:.4g}") for v in phi]).body))

    def settings(self) -> dict[str, Any]:
        """The loss as JSON, and the output activation."""
        about = {"representation": self.name, "loss": self.original.to_json(), "output": self.output}
        return about if self.spread == SPREAD else {**about, "spread": self.spread}

    def fold(self, phi: Tensor) -> Loss:
        """The learned loss: φ as exact numbers, the function unchanged."""
        return fold_coefficients(self.network, phi.double().tolist())

    def kink_share(self, outputs: Tensor, target: Tensor, phi: Tensor, within: float = 1e-6) -> float:
        """The share of entries at which some operator sits on a kink, or within `within` of it."""
        with torch.no_grad():
            found = self._torch.kinks(target, outputs, phi.to(outputs).unbind())
            at = torch.zeros_like(outputs, dtype=torch.bool)
            for k in found:
                at |= _tensor(k, outputs).abs() <= within
            return float(at.double().mean())

    def encode(self, target: Tensor, outputs: Tensor) -> Tensor:
        """Class indices are those of a loss along the classes only: elsewhere whole numbers are values."""
        if self.network.layout != CLASSWISE:
            return target.to(outputs.dtype)
        return super().encode(target, outputs)

    # -- computing ----------------------------------------------------------------------------------------------------

    @cached_property
    def _numpy(self) -> _Functions:
        return _Functions(self.program, "numpy", self.network.name)

    @cached_property
    def _torch(self) -> _Functions:
        return _Functions(self.program, "torch", self.network.name)

    @property
    def _per_row(self) -> bool:
        return self.network.layout == CLASSWISE

    def _share(self, outputs: Tensor) -> float:
        """What one entry counts: 1/n where the classes are summed, else one over the number of entries."""
        entries = max(outputs.numel(), 1)
        return outputs.shape[1] / entries if self._per_row else 1.0 / entries

    def _arrays(self, outputs: Tensor, target: Tensor, phi: Tensor) -> tuple[Any, Any, Any]:
        """As NumPy sees them; what has no class axis as vectors, with which it is quicker."""
        f, y = outputs.detach().numpy(), target.detach().numpy()
        if not self._per_row and f.shape == y.shape:
            f, y = f.reshape(-1), y.reshape(-1)
        return f, y, phi.detach().to(outputs.dtype).numpy()

    def plain(self, outputs: Tensor, target: Tensor, phi: Tensor) -> Tensor:
        """The mean over the rows, in torch."""
        value: Tensor = self._torch.value(target, outputs, phi.to(outputs.dtype).unbind())
        return value.sum() * self._share(outputs)

    def value_and_slope(self, outputs: Tensor, target: Tensor, phi: Tensor) -> tuple[Tensor, Tensor]:
        """In closed form."""
        share = self._share(outputs)
        if _in_numpy(outputs):
            f, y, p = self._arrays(outputs, target, phi)
            with np.errstate(all="ignore"):
                value, slope = self._numpy.slope(y, f, p)
                total = np.sum(value) * f.dtype.type(share)
                steep = np.empty_like(f)
                np.multiply(slope, f.dtype.type(share), out=steep)
            return torch.from_numpy(np.asarray(total)), torch.from_numpy(steep).view(outputs.shape)
        with torch.no_grad():
            value, slope = self._torch.slope(target, outputs, phi.to(outputs).unbind())
            return value.sum() * share, (_tensor(slope, outputs) * share).expand_as(outputs).contiguous()

    def second(self, outputs: Tensor, target: Tensor, u: Tensor, phi: Tensor) -> tuple[Tensor, Tensor]:
        """In closed form."""
        share = self._share(outputs)
        if _in_numpy(outputs):
            f, y, p = self._arrays(outputs, target, phi)
            with np.errstate(all="ignore"):
                product, parts = self._numpy.second(y, f, u.detach().numpy().reshape(f.shape), p)
                steep = np.empty_like(f)
                np.multiply(product, f.dtype.type(share), out=steep)
                mixed = _sums(parts, share)
            return torch.from_numpy(steep).view(outputs.shape), mixed.to(phi.dtype)
        with torch.no_grad():
            product, parts = self._torch.second(target, outputs, u, phi.to(outputs).unbind())
            steep = (_tensor(product, outputs) * share).expand_as(outputs).contiguous()
            return steep, _torch_sums(parts, share, outputs).to(phi)

    def linearize(self, outputs: Tensor, target: Tensor, phi: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """In closed form."""
        share = self._share(outputs)
        if not _in_numpy(outputs):
            with torch.no_grad():
                slope, lists = self._torch.linearize(target, outputs, phi.to(outputs).unbind())
                steep = (_tensor(slope, outputs) * share).expand_as(outputs).contiguous()
            return steep, torch.no_grad()(lambda u: _torch_sums(lists(u), share, outputs).to(phi))
        f, y, p = self._arrays(outputs, target, phi)
        with np.errstate(all="ignore"):
            slope, lists = self._numpy.linearize(y, f, p)
            array = np.empty_like(f)
            np.multiply(slope, f.dtype.type(share), out=array)

        def mixed(u: Tensor) -> Tensor:
            with np.errstate(all="ignore"):
                return _sums(lists(u.detach().numpy().reshape(f.shape)), share).to(phi.dtype)

        return torch.from_numpy(array).view(outputs.shape), mixed


def _in_numpy(outputs: Tensor) -> bool:
    return outputs.device.type == "cpu" and outputs.dtype in (torch.float32, torch.float64)


def _sums(parts: list[list[tuple[int, Any, Any]]], share: float) -> Tensor:
    """For each coefficient share Σ ± Σ ab, where the code says ± a b; operands are broadcast to each other."""
    found = []
    for pairs in parts:
        total = 0.0
        for sign, a, b in pairs:
            if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.shape == b.shape:
                total += sign * float(a.dot(b) if a.ndim == 1 else np.vdot(a, b))
            else:
                total += sign * float(np.sum(a * b))
        found.append(share * total)
    return torch.tensor(found, dtype=torch.float64)


def _torch_sums(parts: list[list[tuple[int, Any, Any]]], share: float, like: Tensor) -> Tensor:
    sums = [sum(s * (_tensor(a, like) * b).sum() for s, a, b in pairs) for pairs in parts]
    return torch.stack([_tensor(v, like) for v in sums]) * share if sums else like.new_zeros(0)


def _tensor(value: Any, like: Tensor) -> Tensor:
    return value if isinstance(value, Tensor) else torch.as_tensor(value, dtype=like.dtype, device=like.device)
