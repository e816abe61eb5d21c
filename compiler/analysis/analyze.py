"""Everything that is known of a loss without training with it: what it is, what it does, where it breaks.

    >>> from lossc.grammar.library import named_losses
    >>> found = analyze(lossc.parse("log(1 + 0.5*(y - f)^2)"), named_losses().values())
    >>> print("\\n".join(found.sentences()))

The pieces are made elsewhere: verdicts (`analysis.verdicts`), identity (`analysis.identify`), the learning rule of a
classification loss (`analysis.dual_point`), constants that a dtype cannot hold (`analysis.dtypes`), cost.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lossc.compiler.analysis.dtypes import unfit_constants
from lossc.compiler.analysis.dual_point import DualPoint, dual_point
from lossc.compiler.analysis.identify import identify
from lossc.compiler.analysis.identity import Identity
from lossc.compiler.analysis.verdicts.judge import Verdicts, judge
from lossc.compiler.cost import Cost, cost
from lossc.compiler.errors import LosscError
from lossc.compiler.loss import Loss
from lossc.compiler.passes.target_only import target_only
from lossc.compiler.printing import to_text

TIMEOUT = 20.0


@dataclass(frozen=True)
class Analysis:
    """A loss, taken apart.

    identity   which known loss it is, or what is near; None if none was asked for
    rule       its learning rule at the null epoch and at zero training error, for a classification loss
    unfit      constants that the dtype cannot hold, in words
    costs      of value and gradient, in additions an element, before and after simplification
    sparse     whether a one-hot loss needs the prediction of the target only
    """

    loss: Loss
    verdicts: Verdicts
    identity: Identity | None
    rule: DualPoint | None
    unfit: tuple[str, ...]
    costs: Mapping[str, Cost]
    sparse: bool
    notes: tuple[str, ...]
    seconds: float

    @property
    def formula(self) -> str:
        """The formula as text."""
        return to_text(self.loss.body)

    @cached_property
    def values(self) -> str:
        """`delta = 1, tau = 0.5`: the hyper-parameters at which it was judged."""
        return ", ".join(f"{p.name} = {float(p.default):g}" for p in self.loss.params if p.default is not None)

    def sentences(self) -> list[str]:
        """What it is, what it does, where it breaks: in words."""
        from lossc.compiler.analysis.analysis_words import sentences

        return sentences(self)

    def text(self) -> str:
        """The page for a terminal, without tables."""
        from lossc.compiler.analysis.analysis_words import text

        return text(self)

    def markdown(self) -> str:
        """The same as Markdown, for papers and READMEs."""
        from lossc.compiler.analysis.analysis_words import markdown

        return markdown(self)

    def data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "sentences": self.sentences(),
            "verdicts": self.verdicts.data(),
            "identity": None if self.identity is None else self.identity.as_json(),
            "rule": None if self.rule is None else self.rule.data(),
            "unfit_constants": list(self.unfit),
            "cost": {name: {"work": c.work, "size": c.size} for name, c in self.costs.items()},
            "target_only": self.sparse,
            "notes": list(self.notes),
            "seconds": round(self.seconds, 6),
        }


def analyze(
    loss: Loss, known: Iterable[Loss] = (), *, dtype: str = "float32",
    box: Mapping[str, tuple[float, float]] | None = None, classes: int | None = None, timeout: float = TIMEOUT,
) -> Analysis:  # fmt: skip
    """Take a loss apart, at the values of its hyper-parameters; `known` are the losses that it may be.

    `dtype` and `box` say where floating point is judged, `classes` how many there are. What fails or takes longer than
    its share of `timeout` seconds is left out, and a note says so. Raises UsageError as `judge` does.
    """
    started = time.monotonic()
    notes: list[str] = []
    verdicts = judge(loss, dtype=dtype, box=box, classes=classes, timeout=timeout / 2)
    identity = _identity(loss, list(known), timeout / 2, notes)
    rule = _rule(loss, classes, timeout / 4, notes)
    unfit = tuple(f"{u.text} is {u.becomes} in {u.format.name}" for u in unfit_constants(loss, dtype=dtype))
    return Analysis(loss, verdicts, identity, rule, unfit, _costs(loss, notes), _sparse(loss), tuple(notes),
                    time.monotonic() - started)  # fmt: skip


def _identity(loss: Loss, known: list[Loss], timeout: float, notes: list[str]) -> Identity | None:
    if not known:
        return None
    try:
        found = identify(loss, known, timeout=timeout)
    except LosscError as problem:
        notes.append(f"identity: {problem.diagnostic.message}")
        return None
    notes += found.notes
    return found


def _rule(loss: Loss, classes: int | None, timeout: float, notes: list[str]) -> DualPoint | None:
    """The learning rule, of a classification loss; of any other there is none to note."""
    if loss.y not in ("onehot", "binary", "sign") and loss.link != "softmax":
        return None
    try:
        return dual_point(loss, classes if loss.y not in ("binary", "sign") else None, timeout=timeout)
    except LosscError as problem:
        notes.append(f"learning rule: {problem.diagnostic.message}")
        return None


def _costs(loss: Loss, notes: list[str]) -> dict[str, Cost]:
    out = {"value": cost(loss.body), "simplified": cost(loss.canonicalize().body)}
    try:
        slope = loss.grad("f")
        out["gradient"] = cost(slope.body)
    except LosscError as problem:
        notes.append(f"gradient: {problem.diagnostic.message}")
    return out


def _sparse(loss: Loss) -> bool:
    try:
        return loss.y == "onehot" and target_only(loss) is not None
    except LosscError:
        return False
