"""What `identify` and `duplicates` find, for programs and for readers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lossc.compiler.analysis.same import LOOSE, SAMPLED, Proof
from lossc.compiler.ir import ONE, ZERO, Expr
from lossc.compiler.loss import Loss
from lossc.compiler.printing import to_text


@dataclass(frozen=True)
class Constant:
    """A number: its exact form, or None if it has no simple one; and as a float."""

    exact: Expr | None
    value: float

    def __str__(self) -> str:
        return to_text(self.exact) if self.exact is not None else f"≈{self.value:.12g}"

    def as_json(self) -> dict[str, Any]:
        """As plain data; `exact` is text of the language, or null."""
        return {
            "value": self.value if math.isfinite(self.value) else None,
            "exact": None if self.exact is None else to_text(self.exact),
        }


@dataclass(frozen=True)
class Match:
    """A known loss that a loss is: L = scale*known + offset.

    domain   a restriction, if there is one: "for y = 0 or 1"
    scores   whether f was looked at as the scores before the link, since the known loss is one of logits
    size     nodes of the known loss, and how many of them have kinks
    alike    whether the known loss has the roles of the loss
    known    the known loss, as it was given
    """

    name: str
    params: tuple[tuple[str, Constant], ...]
    scale: Constant
    offset: Constant
    proof: Proof
    domain: str = ""
    scores: bool = False
    size: tuple[int, int] = (0, 0)
    alike: bool = True
    known: Loss | None = None

    @property
    def plain(self) -> bool:
        """Whether the loss is the known one itself: scale 1 and offset 0."""
        return self.scale.exact is ONE and self.offset.exact is ZERO

    @property
    def rank(self) -> tuple[Any, ...]:
        """Plainer matches have lower ranks."""
        constants = [*(c for _, c in self.params), self.scale, self.offset]
        return (
            not self.proof.everywhere, bool(self.domain), sum(c.exact is None for c in constants),
            (self.scale.exact is not ONE) + (self.offset.exact is not ZERO), len(self.params), self.scores,
            not self.alike, self.size, self.proof.how == SAMPLED, self.name,
        )  # fmt: skip

    def __str__(self) -> str:
        return ", ".join([self.formula, *(f"{n} = {c}" for n, c in self.params)])

    @property
    def formula(self) -> str:
        """`2*mse + 3`."""
        return self.line(self.name)

    def line(self, name: str) -> str:
        """scale*name + offset, without what is 1 or 0."""
        text = name
        if self.scale.exact is not ONE:
            scale = str(self.scale)
            compound = any(c in re.sub(r"e[-+]", "", scale) for c in "+-/*")
            text = f"({scale})*{text}" if compound else f"{scale}*{text}"
        if self.offset.exact is not ZERO:
            offset = str(self.offset)
            text += f" - {offset[1:]}" if offset.startswith("-") else f" + {offset}"
        return text

    def how(self) -> str:
        """How it was established."""
        return f"{self.proof}, f being the score before the link" if self.scores else str(self.proof)

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "name": self.name,
            "params": {n: c.as_json() for n, c in self.params},
            "scale": self.scale.as_json(),
            "offset": self.offset.as_json(),
            "proof": self.proof.how,
            "points": self.proof.points,
            "open": self.proof.open,
            "everywhere": self.proof.everywhere,
            "domain": self.domain,
            "scores": self.scores,
        }


@dataclass(frozen=True)
class Near:
    """A known loss near a loss: fitted hyper-parameters, the distance of slopes, and others with the same slopes."""

    name: str
    params: tuple[tuple[str, float], ...]
    distance: float
    scale: float
    twins: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ", ".join([self.name, *(f"{n} = {v:.4g}" for n, v in self.params)])

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "name": self.name,
            "params": dict(self.params),
            "distance": self.distance,
            "scale": self.scale,
            "twins": list(self.twins),
        }


@dataclass(frozen=True)
class Identity:
    """What a loss is: `exact`, the plainest match, with `also`, the others; or the `nearest` known losses.

    `stopped` says that there was no time to look at all of them.
    """

    loss: Loss
    exact: Match | None
    also: tuple[Match, ...]
    nearest: tuple[Near, ...]
    notes: tuple[str, ...]
    seconds: float
    stopped: bool = False

    def headline(self) -> str:
        """`pseudo_huber, delta = 1, exactly`, or what is nearest."""
        if self.exact is not None:
            where = ", where both have a value" if not self.exact.proof.everywhere else ""
            domain = f", {self.exact.domain}" if self.exact.domain else ""
            exactly = f"to {LOOSE} digits" if any(c.exact is None for _, c in self.exact.params) else "exactly"
            return f"{self.exact}, {exactly}{where}{domain}"
        nothing = "not decided in time" if self.stopped else "no exact match found"
        if self.nearest:
            near = self.nearest[0]
            return f"{nothing}; nearest: {near}, distance {near.distance:.2g}"
        return nothing

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "name": self.loss.name,
            "formula": to_text(self.loss.body),
            "exact": None if self.exact is None else self.exact.as_json(),
            "also": [m.as_json() for m in self.also],
            "nearest": [n.as_json() for n in self.nearest],
            "notes": list(self.notes),
            "stopped": self.stopped,
            "seconds": round(self.seconds, 6),
        }


@dataclass(frozen=True)
class Member:
    """One of several losses, by its place among them, as a multiple of the first of its group (None for that one)."""

    index: int
    match: Match | None = None

    @property
    def relation(self) -> str:
        """ "exactly" if both are the same, "affine" if one is a*L + b of the other; "" for the first."""
        return "" if self.match is None else "exactly" if self.match.plain else "affine"


@dataclass(frozen=True)
class Duplicates:
    """Groups of losses that are the same up to a*L + b, a > 0, those alone among them; in the order of the losses."""

    losses: tuple[Loss, ...]
    groups: tuple[tuple[Member, ...], ...]
    notes: tuple[str, ...]
    seconds: float

    @property
    def repeated(self) -> tuple[tuple[Member, ...], ...]:
        """The groups of more than one."""
        return tuple(g for g in self.groups if len(g) > 1)

    def as_json(self, labels: Sequence[str]) -> dict[str, Any]:
        """As plain data, the losses called by their labels."""
        return {
            "groups": [
                [
                    {
                        "loss": labels[m.index],
                        "index": m.index,
                        "relation": m.relation,
                        "match": None if m.match is None else m.match.as_json(),
                    }
                    for m in group
                ]
                for group in self.groups
            ],
            "count": len(self.losses),
            "distinct": len(self.groups),
            "notes": list(self.notes),
            "seconds": round(self.seconds, 6),
        }
