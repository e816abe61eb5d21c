"""The figures of a search: its learning curve, what the filters did, operators, the front, the test part."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lossc.runtime.page.drawing import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    RED,
    drawn,
    legend,
    range_of,
    scaled,
)
from lossc.runtime.page.markup import Markup, share
from lossc.runtime.search.finals import Tested
from lossc.runtime.search.found import front
from lossc.runtime.search.loop import Search
from lossc.runtime.search.report import facts

WIDE, HALF = 720, 430
DOTS = 1500
"""Dots that are drawn of one search; of more, every second or third."""
BEGINNING = 0.08
"""Share of a training that may reach beyond the range of the axis: everything falls there."""


def search_curve(search: Search, control: Search | None, metric: str) -> tuple[Markup, int]:
    """The best fitness over trainings, of the search and of the control; and how many dots are above the range."""
    both: list[tuple[Search, str, str, Any]] = [(search, BLUE, "search", "-")]
    if control is not None and control.committed:
        both.append((control, ORANGE, "random search", (0, (4, 1.5))))
    values = [i.value for s, *_ in both for _, i in facts.trainings(s) if i.fitness.valid]
    if not values:
        return Markup(), 0
    high = [math.inf]

    def draw(figure: Any) -> None:
        panel = figure.subplots()
        for there, colour, label, style in both:
            points = [(n, i.value) for n, i in facts.trainings(there) if i.fitness.valid]
            shown = points[:: math.ceil(len(points) / DOTS) or 1]
            panel.plot(*_split(shown), "o", color=colour, markersize=3.4, markeredgewidth=0, alpha=0.4)
            best = np.minimum.accumulate([v for _, v in points] or [math.nan])
            at = [n for n, _ in points] or [0]
            end = max(facts.trainings(there)[-1][0] if facts.trainings(there) else 0, at[-1])
            panel.step(
                [*at, end], [*best, best[-1]], where="post", color=colour, linestyle=style, label=f"best of {label}"
            )
        middle = facts.generations(search) if search.config.method != "random" else []
        if middle:
            panel.plot(
                *_split(middle), "D", color=GREEN, markersize=4.5, markerfacecolor="none", markeredgewidth=1.3,
                label="median of a generation",
            )  # fmt: skip
        low, high[0] = scaled(panel.yaxis, values)
        panel.set_ylim(low, high[0])
        panel.set_xlim(left=0)
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.set_xlabel("losses trained")
        panel.set_ylabel(f"fitness ({metric})")
        legend(panel)

    label = f"Best fitness so far over the number of trained losses, {' and '.join(l for *_, l, _ in both)}."
    return drawn("search", label, (WIDE, 310), draw), sum(v > high[0] for v in values)


def _split(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [a for a, _ in points], [b for _, b in points]


_KINDS = {
    facts.TRAINED: BLUE,
    facts.REJECTS: RED,
    facts.CACHED: GREEN,
    facts.AGAIN: PURPLE,
    facts.FAILURE: INK,
}


def fates_figure(search: Mapping[tuple[str, str], int], control: Mapping[tuple[str, str], int] | None) -> Markup:
    """A bar for everything that became of losses, of the search and below it of the control (as thesis, Fig. 3.6)."""
    rows = list(dict.fromkeys([*search, *(control or {})]))
    order = list(_KINDS)
    rows.sort(key=lambda r: order.index(r[0]))
    thick = 0.38 if control is not None else 0.62

    def draw(figure: Any) -> None:
        panel = figure.subplots()
        sets = [(search, 0.0 if control is None else -thick / 2, 0.9, "search")]
        if control is not None:
            sets.append((control, thick / 2, 0.4, "random search"))
        most = max(max(s.values(), default=1) / max(sum(s.values()), 1) for s, *_ in sets)
        for there, place, alpha, _ in sets:
            total = max(sum(there.values()), 1)
            for i, row in enumerate(rows):
                amount = there.get(row, 0)
                panel.barh(i + place, amount / total, thick, color=_KINDS[row[0]], alpha=alpha, linewidth=0)
                text = f"{amount:,}  ({share(amount, total)})" if amount else "0"
                panel.text(amount / total + most * 0.01, i + place, text, va="center", fontsize=9.5)
        panel.set_yticks(range(len(rows)), [_cut(r[1], 34) for r in rows])
        panel.tick_params(axis="y", length=0)
        panel.set_xlim(0, most * 1.22)
        panel.set_ylim(len(rows) - 0.4, -0.6)
        panel.xaxis.set_major_formatter(_percent)
        panel.set_xlabel(
            "share of all losses that were bred" + ("" if control is None else " (full: search; pale: random)")
        )

    label = "What became of all losses that were bred, as bars: " + "; ".join(
        f"{row[1]} {search.get(row, 0)}" + (f" ({control.get(row, 0)} in random search)" if control is not None else "")
        for row in rows
    )
    return drawn("fates", label, (WIDE, 70 + len(rows) * (36 if control is not None else 26)), draw)


def _percent(value: float, _: object) -> str:
    """A tick of an axis of shares."""
    return f"{100 * value:g} %" if value < 1.001 else ""


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def operators_figure(best: Counter[str], bred: Counter[str], count: int) -> Markup:
    """How often each operator occurs, relative to all occurrences, in the best losses and in all (as Fig. 3.7)."""
    rows = sorted(bred, key=lambda name: (-best[name] / max(best.total(), 1), -bred[name], name))

    def draw(figure: Any) -> None:
        panel = figure.subplots()
        here = [best[n] / max(best.total(), 1) for n in rows]
        there = [bred[n] / max(bred.total(), 1) for n in rows]
        panel.barh([i - 0.19 for i in range(len(rows))], here, 0.36, color=BLUE, label=f"the best {count}", linewidth=0)
        panel.barh(
            [i + 0.19 for i in range(len(rows))], there, 0.36, color=FAINT, alpha=0.7, label="all that were bred",
            linewidth=0,
        )  # fmt: skip
        panel.set_yticks(range(len(rows)), rows)
        panel.tick_params(axis="y", length=0)
        panel.set_ylim(len(rows) - 0.4, -0.6)
        panel.xaxis.set_major_formatter(_percent)
        panel.set_xlabel("share of all operators")
        panel.legend(loc="lower right")

    label = "Share of each operator in the best losses against all: " + "; ".join(
        f"{n} {share(best[n], best.total())} against {share(bred[n], bred.total())}" for n in rows
    )
    return drawn("operators", label, (HALF, 70 + 25 * len(rows)), draw)


def front_figure(search: Search, metric: str) -> Markup:
    """Fitness against size of every loss, and the front."""
    every = search.best
    best = front(search)

    def draw(figure: Any) -> None:
        panel = figure.subplots()
        shown = every[:: math.ceil(len(every) / DOTS) or 1]
        panel.plot(
            [len(i) for i in shown], [i.value for i in shown], "o", color=FAINT, markersize=3.6, markeredgewidth=0,
            alpha=0.45, label="a loss",
        )  # fmt: skip
        panel.step(
            [len(i) for i in best][::-1], [i.value for i in best][::-1], "o-", where="post", color=BLUE, markersize=5.5,
            label="not beaten in both",
        )  # fmt: skip
        panel.set_ylim(*scaled(panel.yaxis, [i.value for i in every]))
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.set_xlabel("size (nodes)")
        panel.set_ylabel(f"fitness ({metric})")
        legend(panel)

    return drawn(
        "front", f"Fitness against size of {len(every)} losses; {len(best)} are on the front.", (HALF, 300), draw
    )


def tested_figure(rows: Sequence[tuple[Tested, str]], metric: str) -> Markup:
    """Validation metric over steps on the way to the test: mean over the trainings, and their range."""
    looks = {
        "search": (BLUE, "-", 1.0), "control": (ORANGE, (0, (4, 1.5)), 1.0), "baseline": (INK, (0, (5, 2, 1, 2)), 0.6),
    }  # fmt: skip

    def draw(figure: Any) -> None:
        panel = figure.subplots()
        seen: list[float] = []
        for row, label in rows:
            colour, style, alpha = looks[row.name]
            at, values = _band(row)
            if not len(at):
                continue
            panel.fill_between(at, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.13, linewidth=0)
            panel.plot(at, values.mean(axis=0), color=colour, linestyle=style, label=_cut(label, 30), alpha=alpha)
            seen += values.mean(axis=0)[at >= BEGINNING * at[-1]].tolist()
        if seen:
            low, high = range_of(seen, margin=0.5)
            panel.set_ylim(max(low, 0.0) if min(seen) >= 0 else low, high)
        panel.set_xlabel("training step")
        panel.set_ylabel(f"validation {metric}")
        legend(panel)

    label = f"Validation {metric} over training steps, mean and range over the trainings."
    return drawn("tested", label, (WIDE, 300), draw)


def _band(row: Tested) -> tuple[np.ndarray, np.ndarray]:
    """Steps that all trainings have a finite value at, and the values, one row a training."""
    curves = [{s: v for s, v in c if v is not None and math.isfinite(v)} for c in row.curves]
    curves = [c for c in curves if c]
    steps = sorted(set.intersection(*(set(c) for c in curves))) if curves else []
    return np.array(steps), np.array([[c[s] for s in steps] for c in curves], dtype=float)
