"""What the sections of the report are made of, counted from a run that is read back."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from lossc.compiler.ir import LEAF_OPS, preorder
from lossc.runtime.search.candidate import OK, REJECTED
from lossc.runtime.search.folder import Run
from lossc.runtime.search.journal import CONTROL, FINAL, SEARCH, Known, read_journal
from lossc.runtime.search.loop import SAME_FORMULA, Search
from lossc.runtime.search.strategies import KEPT, Individual

TRAINED, REJECTS, CACHED, AGAIN, FAILURE = "trained", "rejected", "cached", "kept", "failed"
"""What became of a loss, roughly: a fitness, turned away, known from another one, kept on purpose, an error."""


# -- what became of the losses ----------------------------------------------------------------------------------------


def trainings(search: Search) -> list[tuple[int, Individual]]:
    """Every committed loss that was trained, with its number among these, from 1 on."""
    mine = [i for i in search.population if was_trained(i)]
    return list(enumerate(mine, start=1))


def was_trained(here: Individual) -> bool:
    """Whether anything was trained for it: the filters let it pass, and no other loss had its outcome."""
    return here.same_as is None and here.outcome is not None and here.outcome.get("stage") != "filter"


def fate(here: Individual) -> tuple[str, str]:
    """What became of a loss: a kind, and in words. What went wrong inside one is said in its failure, not here."""
    outcome = here.outcome or {}
    if here.same_as is not None:
        if here.operator in KEPT:
            return AGAIN, "kept as it was"
        return CACHED, str(outcome.get("why", SAME_FORMULA))
    status = outcome.get("status")
    if status == OK:
        return TRAINED, "trained for the audit" if outcome.get("audited") else "trained"
    if status == REJECTED:
        return REJECTS, str(outcome.get("why", "")) or "rejected"
    return FAILURE, "failed"


def fates(search: Search) -> dict[tuple[str, str], int]:
    """How many losses came to what, by kind, the most frequent first."""
    found = Counter(fate(i) for i in search.population)
    order = {k: n for n, k in enumerate((TRAINED, REJECTS, CACHED, AGAIN, FAILURE))}
    return dict(sorted(found.items(), key=lambda item: (order[item[0][0]], -item[1], item[0][1])))


def failures(search: Search) -> dict[str, int]:
    """What went wrong inside losses, the most frequent first."""
    found = Counter(
        str((i.outcome or {}).get("why", "")) for i in search.population if fate(i)[0] == FAILURE
    )  # fmt: skip
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


@dataclass(frozen=True, slots=True)
class Audit:
    """Losses that the first filters had rejected and that were trained all the same, to know how often that is wrong.

    passed   those that the filters would have let pass after learning; `fit` those that got a fitness, `good` those
             whose fitness is better than the median of the losses that were trained as usual
    """

    audited: int
    passed: int
    fit: int
    good: int
    median: float | None


def audit(*searches: Search | None) -> Audit:
    """The estimate of false rejections, over searches."""
    there = [s for s in searches if s is not None]
    trained = [i for s in there for _, i in trainings(s)]
    looked = [i for i in trained if (i.outcome or {}).get("audited")]
    usual = [i.value for i in trained if i.fitness.valid and i not in looked]
    middle = median(usual) if usual else None
    values = [v for i in looked if (v := (i.outcome or {}).get("fitness")) is not None]
    return Audit(
        len(looked), sum((i.outcome or {}).get("late") == "" for i in looked), len(values),
        sum(middle is not None and v < middle for v in values), middle,
    )  # fmt: skip


def generations(search: Search) -> list[tuple[float, float]]:
    """Of each generation with a fitness: where its end is, in trainings, and the median of its members' fitnesses."""
    number, done = {}, 0
    for here in search.population:
        done += was_trained(here)
        number[here.ticket] = done
    out = []
    ends = [*search.past.starts[1:], search.committed]
    for begin, end in zip(search.past.starts, ends, strict=False):
        members = [i for i in search.population[begin:end] if i.member and i.fitness.valid]
        if members:
            out.append((float(number[members[-1].ticket]), median(i.value for i in members)))
    return out


# -- operators and ancestors ------------------------------------------------------------------------------------------


def operators(losses: Iterable[Individual]) -> Counter[str]:
    """How often each operator occurs in the trees of some losses."""
    return Counter(n.op for i in losses for n in preorder(i.expr) if n.op not in LEAF_OPS)


@dataclass(frozen=True, slots=True)
class Ancestors:
    """A loss and those that it was bred from, youngest first; `depth` says how many steps back each is, `left` how many
    more there are than are shown."""

    rows: tuple[Individual, ...]
    depth: Mapping[int, int]
    left: int


def ancestors(search: Search, ticket: int, *, most: int = 40) -> Ancestors:
    """The nearest ancestors of a loss, each once, at most so many; copies that were kept stand for what they copy."""
    depth, ring = {ticket: 0}, [ticket]
    while ring:
        above = {p for t in ring for p in parents_of(search, t)}
        ring = sorted(above - set(depth))
        depth |= dict.fromkeys(ring, 1 + max(depth.values()))
    near = sorted(depth, key=lambda t: (depth[t], -t))[:most]
    rows = tuple(search.individuals[t] for t in sorted(near, reverse=True))
    return Ancestors(rows, depth, len(depth) - len(near))


def parents_of(search: Search, ticket: int) -> tuple[int, ...]:
    """The parents of a loss, each once: of one that was kept as it was, the loss that it is a copy of."""
    out: dict[int, None] = {}
    for parent in search.individuals[ticket].parents:
        here = search.individuals[parent]
        while here.operator in KEPT and here.parents:
            here = search.individuals[here.parents[0]]
        out[here.ticket] = None
    return tuple(out)


def generation_of(search: Search, ticket: int) -> int:
    """The number of the generation that a loss was bred in, from 0 on."""
    return bisect_right(search.past.starts, ticket) - 1


# -- what it cost -----------------------------------------------------------------------------------------------------

STAGES = ("filter", "train", "tune", "judge", "test")


@dataclass(frozen=True, slots=True)
class Cost:
    """Jobs of one stage: how many, their processor time in seconds, and their training steps."""

    jobs: int = 0
    seconds: float = 0.0
    steps: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.jobs + other.jobs, self.seconds + other.seconds, self.steps + other.steps)


def costs(run: Run) -> dict[tuple[str, str], Cost]:
    """By whose (search, control or baseline) and stage, from the journal: everything that was computed for the run."""
    return _costs(read_journal(run.path))


def _costs(known: Known) -> dict[tuple[str, str], Cost]:
    out: dict[tuple[str, str], Cost] = {}
    for whose in (SEARCH, CONTROL, FINAL):
        for (_, stage), outcome in known.outcomes.get(whose, {}).items():
            name, _, rest = stage.partition(":")
            at = (rest.partition(":")[0] or whose, name)
            out[at] = out.get(at, Cost()) + _cost(outcome)
    return out


def _cost(outcome: Mapping[str, Any]) -> Cost:
    return Cost(1, float(outcome.get("seconds") or 0.0), int(outcome.get("steps") or 0))
