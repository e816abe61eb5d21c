"""Learned losses as files: a `.loss` definition where there is a formula, else JSON with the weights of the network.

Nothing here is code or a pickle; `read_network` checks what it reads as untrusted input.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lossc.compiler.errors import UsageError
from lossc.compiler.loss import Loss
from lossc.runtime.meta.mlp import NeuralLoss, Shape
from lossc.runtime.meta.representation import LossRepresentation
from lossc.runtime.meta.symbolic import SPREAD, Symbolic
from lossc.runtime.meta.taylor import ORDERS, taylor

VERSION = 1
MAX_BYTES = 20_000_000


def to_json(family: LossRepresentation, phi: Tensor) -> str:
    """The representation and its coefficients as a JSON text, exact."""
    record = {"lossc_network": VERSION, **family.settings(), "phi": phi.double().tolist()}
    return json.dumps(record, allow_nan=False, indent=1) + "\n"


def from_json(text: str) -> tuple[LossRepresentation, Tensor]:
    """What `to_json` wrote. Raises UsageError (L254) for anything else."""
    if len(text) > MAX_BYTES:
        raise UsageError("L254", f"the text is longer than {MAX_BYTES:,} bytes")
    try:
        record = json.loads(text)
        if not isinstance(record, dict) or record.get("lossc_network") != VERSION:
            raise ValueError("it is not a learned network of version 1")
        family = build(record)
        phi = torch.tensor([_number(v) for v in record["phi"]], dtype=torch.float64)
        if phi.shape != (family.size,):
            raise ValueError(f"{family.size} coefficients are wanted, and {len(phi)} are there")
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        raise UsageError("L254", f"this is not a learned loss: {problem}") from None
    return family, phi


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
        raise ValueError(f"{str(value)[:20]} is not a coefficient")
    return float(value)


def build(settings: dict[str, Any]) -> LossRepresentation:
    """The representation that `settings()` described. Raises KeyError, TypeError or ValueError for what it did not."""
    kind = settings["representation"]
    if kind == NeuralLoss.name:
        hidden = tuple(int(w) for w in settings["hidden"])
        if not 1 <= len(hidden) <= 8 or not all(1 <= w <= 1024 for w in hidden):
            raise ValueError("a loss network has 1 to 8 hidden layers of 1 to 1,024 units")
        texts = {k: str(settings[k]) for k in ("activation", "output", "inputs", "reduction")}
        return NeuralLoss(Shape(hidden=hidden, bias=bool(settings["bias"]), **texts))
    loss = Loss.from_json(settings["loss"])
    if kind in ORDERS:
        return taylor(kind, y=loss.y, f=loss.f)
    if kind != "symbolic":
        raise ValueError(f"there is no representation `{str(kind)[:40]}`")
    spread = float(settings.get("spread", SPREAD))
    if not 0 <= spread < 1e6:
        raise ValueError("the spread of the first coefficients is not a number of theirs")
    return Symbolic(loss, output=str(settings["output"]), spread=spread)


def learned_text(family: LossRepresentation, phi: Tensor, name: str, doc: str, source: str) -> str:
    """The text of a file that holds the learned loss: a definition, or JSON for a network."""
    from dataclasses import replace

    folded = family.fold(phi)
    if folded is None:
        return to_json(family, phi)
    return replace(folded, name=name, doc=doc, source=source).definition() + "\n"


def read_network(path: str | Path) -> tuple[LossRepresentation, Tensor]:
    """A network from a file. Raises UsageError (L230, L254)."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError("L230", f"{path} cannot be read: {problem}") from None
    return from_json(text)
