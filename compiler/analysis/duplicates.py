"""Which of several losses are the same, exactly or up to a*L + b with a > 0."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from lossc.compiler.analysis.frames import frames
from lossc.compiler.analysis.identify import TIMEOUT, without_parameters
from lossc.compiler.analysis.identity import Duplicates, Match, Member
from lossc.compiler.analysis.matcher import Matcher
from lossc.compiler.equivalence import OutOfTime
from lossc.compiler.loss import Loss


def duplicates(losses: Sequence[Loss], *, timeout: float = TIMEOUT) -> Duplicates:
    """Groups of equal losses, hyper-parameters at their defaults. `timeout` is for each loss.

    Being a*L + b of each other with a > 0 divides losses into classes, so each is held against one of every class only.
    Raises UsageError (L242, L252) for a loss with a hyper-parameter or coefficient that has no value.
    """
    begun = time.monotonic()
    groups: list[list[Member]] = []
    notes: list[str] = []
    firsts: list[Loss] = []
    for index, loss in enumerate(losses):
        fixed = without_parameters(loss)
        try:
            match = _first_match(fixed, firsts, time.monotonic() + timeout)
        except OutOfTime:
            match = None
            notes.append(f"{loss.name} (number {index + 1}): stopped by the time limit, it may be one of the others")
        if match is not None:
            groups[int(match.name)].append(Member(index, replace(match, name=losses[_first(groups, match)].name)))
        else:
            groups.append([Member(index)])
            firsts.append(replace(fixed, name=str(len(firsts))))
    return Duplicates(tuple(losses), tuple(map(tuple, groups)), tuple(notes), time.monotonic() - begun)


def _first(groups: Sequence[Sequence[Member]], match: Match) -> int:
    return groups[int(match.name)][0].index


def _first_match(loss: Loss, others: Sequence[Loss], deadline: float) -> Match | None:
    """The plainest match with one of the others, whose names are numbers."""
    for frame in frames(loss) if others else ():
        found = list(Matcher(frame, deadline).matches(others))
        if found:
            return min(found, key=lambda m: m.rank)
    return None
