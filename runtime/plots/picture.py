"""A picture of losses as data: panels of curves, before anything is drawn.

>>> made = picture(named("label_smoothing"), what=("loss",), params={"xi": (0, 0.1, 0.2)})
>>> made.panels[0].lines[1].series["loss"].values    # of the target, ξ = 0.1
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lossc.compiler.errors import UsageError
from lossc.runtime.plots.curves import SMOOTH, Series, sampled
from lossc.runtime.plots.family import Losses, Member, Number, members, title_of
from lossc.runtime.plots.limits import Range
from lossc.runtime.plots.names import number
from lossc.runtime.plots.tracks import QUANTITIES, Axis, Track, Ways, common_way

CLASSES = 10
MOST_CLASSES = 1_000_000
MOST_PANELS = 20
LEAST, NARROW = 1e-50, 1e-4
"""The width that a range has at least (and at most, the other way round), and in parts of the numbers in it."""
BY_TARGET, BY_LOSS = "targets", "losses"


@dataclass(frozen=True, eq=False)
class Line:
    """A loss, with values of its hyper-parameters, at one target: a curve for each quantity.

    label    what tells it from the other lines of its panel; "" if it is the only one
    colour   its place among the lines of the figure: the same loss looks the same in every panel
    """

    label: str
    colour: int
    series: Mapping[str, Series]


@dataclass(frozen=True, eq=False)
class Panel:
    """Lines over one axis: a target, or a loss."""

    title: str
    axis: Axis
    shown: Range
    notes: tuple[str, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, eq=False)
class Picture:
    """Panels side by side, a row for each quantity.

    way     what they are over (`lossc.runtime.plots.tracks`); "" if each panel is over something else
    limits  ranges of the vertical axes that were asked for, by quantity
    """

    title: str
    way: str
    what: tuple[str, ...]
    panels: tuple[Panel, ...]
    limits: Mapping[str, Range] = field(default_factory=dict)

    def describe(self) -> str:
        """What can be seen, in a sentence, for who cannot see it."""
        words = {"loss": "value", "grad": "gradient", "hess": "second derivative"}
        seen = _listed([words[q] for q in self.what])
        over = _listed(list(dict.fromkeys(p.axis.label for p in self.panels)))
        lines = list(dict.fromkeys(_listed([line.label for line in p.lines if line.label]) for p in self.panels))
        titles = [p.title for p in self.panels if p.title]
        if len(lines) == 1:
            parts = [f"for {lines[0]}" if lines[0] else "", _listed(titles)]
        else:
            named = [(p.title, _listed([line.label for line in p.lines if line.label])) for p in self.panels]
            parts = [_listed([f"{title} ({labels})" if labels else title for title, labels in named])]
        shown = "; ".join(part for part in parts if part)
        return f"{seen[:1].upper()}{seen[1:]} of {self.title or 'losses'} over the {over}" + (
            f", {shown}." if shown else "."
        )

    def data(self) -> dict[str, Any]:
        """Plain data for JSON: every curve with its points, and where it bends, jumps or ends."""
        return {
            "title": self.title, "over": self.way, "what": list(self.what),
            "panels": [
                {
                    "title": p.title, "axis": p.axis.label, "range": list(p.shown), "notes": list(p.notes),
                    "lines": [
                        {"label": line.label, **{q: _plain(line.series[q]) for q in self.what}} for line in p.lines
                    ],
                }
                for p in self.panels
            ],
        }  # fmt: skip


def _listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def _plain(series: Series) -> dict[str, Any]:
    def known(value: float) -> float | None:
        return float(f"{value:.9g}") if math.isfinite(value) else None

    return {
        "x": [known(v) for v in series.x.tolist()], "y": [known(v) for v in series.values.tolist()],
        "breaks": [
            {"at": known(b.at), "kind": b.kind, "left": known(b.left), "right": known(b.right)}
            for b in series.breaks if b.kind != SMOOTH
        ],
        "without_value": [[known(a), known(b)] for a, b in series.gaps],
    }  # fmt: skip


# -- the panels -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class View:
    """How losses are looked at; see `picture`."""

    what: tuple[str, ...]
    targets: tuple[float, ...]
    classes: int
    ranges: Mapping[str, Range]

    def shown(self, axis: Axis) -> Range:
        """The part of an axis that is seen. Raises UsageError (L260) where it has none."""
        low, high = self.ranges.get("f", axis.shown)
        low, high = max(low, axis.domain.lo), min(high, axis.domain.hi)
        if not low < high:
            raise UsageError("L260", f"nothing of the {axis.label} lies in that range",
                             expected=f"a part of {axis.domain.lo:g}..{axis.domain.hi:g}")  # fmt: skip
        return low, high


def picture(
    losses: Losses, *, what: Sequence[str] = QUANTITIES, params: Mapping[str, Sequence[Number]] | None = None,
    targets: Sequence[float] = (), classes: int = CLASSES, ranges: Mapping[str, Range] | None = None,
    panels: str = BY_TARGET,
) -> Picture:  # fmt: skip
    """The curves of one or more losses.

    what     some of "loss", "grad" (∂L/∂f), "hess" (∂²L/∂f²)
    params   values of hyper-parameters: a line for each combination, of each loss that has them
    targets  the y at which a loss is looked at that depends on it (by default 1 and 0, or a few numbers)
    ranges   what is shown: of the axis below by "f", of the others by the names of `what`
    panels   "targets": a panel for each target, with a line for each loss; "losses": the other way round

    Raises UsageError (L260 where there is nothing to draw, or no axis in common; L201, L202, L208 for
    hyper-parameters), LossTypeError (L310) for a quantity without a closed form.
    """
    view = view_of(what, targets, classes, ranges or {})
    family = members(losses, params or {})
    names = len({m.name for m in family}) > 1
    title = "" if names else title_of(family)
    ways = [Ways(m.loss, classes) for m in family]
    if panels == BY_LOSS:
        made = _by_loss(family, ways, view, names)
        over = ""
    elif panels == BY_TARGET:
        over = common_way(ways, at_targets=bool(view.targets))
        made = _by_target(family, ways, over, view, names)
    else:
        raise UsageError("L260", f"a panel is not for each of `{panels[:40]}`", expected=f"{BY_TARGET} or {BY_LOSS}")
    return Picture(title, over, view.what, tuple(made), {k: v for k, v in view.ranges.items() if k in QUANTITIES})


def view_of(what: Sequence[str], targets: Sequence[float], classes: int, ranges: Mapping[str, Range]) -> View:
    """What is asked for, checked. Raises UsageError (L260)."""
    for q in what:
        if q not in QUANTITIES:
            raise UsageError("L260", f"`{q[:40]}` cannot be drawn", expected="some of: " + ", ".join(QUANTITIES))
    if not what:
        raise UsageError("L260", "there is nothing to draw", expected="some of: " + ", ".join(QUANTITIES))
    if not 2 <= classes <= MOST_CLASSES:
        raise UsageError("L260", f"a loss has from 2 to {MOST_CLASSES:,} classes, not {classes}")
    if not all(map(math.isfinite, targets)):
        raise UsageError("L260", "a target is a number")
    for name, (low, high) in ranges.items():
        if name not in ("f", "y", *QUANTITIES):
            raise UsageError(
                "L260", f"there is no axis `{name[:40]}`", expected="one of: f, y, " + ", ".join(QUANTITIES)
            )
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise UsageError("L260", f"{low:g}..{high:g} is no range", expected="two numbers, the lower first")
        most = max(abs(low), abs(high))
        if not LEAST < high - low < 1 / LEAST or high - low < NARROW * most:
            raise UsageError("L260", f"{low!r}..{high!r} is too {'wide' if most > 1 / LEAST else 'narrow'} to be drawn")
    return View(tuple(dict.fromkeys(what)), tuple(dict.fromkeys(targets)), classes, ranges)


def _by_target(family: Sequence[Member], ways: Sequence[Ways], over: str, view: View, names: bool) -> list[Panel]:
    targets = view.targets or tuple(
        y for y in dict.fromkeys(y for w in ways for y in w.targets(over)) if all(w.has(y) for w in ways)
    )
    tracks = [w.tracks(over, targets) for w in ways]
    alone = len(family) == 1 and len(tracks[0]) > 1 and not _sides(over)
    if alone:  # one loss at several targets that are all alike: lines in one panel
        lines = [(t.name, k, t) for k, t in enumerate(tracks[0])]
        return [_panel("", ways[0].axis(over), lines, view)]
    out = []
    for k in range(len(tracks[0])):
        lines = [(m.label(names), place, t[k]) for place, (m, t) in enumerate(zip(family, tracks, strict=True))]
        titles = dict.fromkeys(t[k].name for t in tracks)
        title = tracks[0][k].name if len(titles) == 1 else f"y = {number(targets[k])}"
        out.append(_panel(title, ways[0].axis(over), lines, view))
    return out


def _by_loss(family: Sequence[Member], ways: Sequence[Ways], view: View, names: bool) -> list[Panel]:
    """A panel for each loss, a line for each member of its family and target."""
    out = []
    for name in dict.fromkeys(m.name for m in family):
        mine = [(m, w) for m, w in zip(family, ways, strict=True) if m.name == name]
        over = common_way([w for _, w in mine], at_targets=bool(view.targets))
        lines: list[tuple[str, int, Track]] = []
        for m, w in mine:
            for track in w.tracks(over, view.targets):
                label = ", ".join(p for p in (m.values, track.name) if p)
                lines.append((label, len(lines), track))
        out.append(_panel(name if names else "", mine[0][1].axis(over), lines, view))
    if len(out) > MOST_PANELS:
        raise UsageError("L260", f"more than {MOST_PANELS} panels are too many", hint="draw fewer losses")
    return out


def _sides(over: str) -> bool:
    """Whether targets are two sides of one thing, to be seen side by side."""
    return over in ("signs", "probability", "score")


def _panel(title: str, axis: Axis, lines: Sequence[tuple[str, int, Track]], view: View) -> Panel:
    shown = view.shown(axis)
    made = [Line(label, k, sampled(track, *shown, axis.domain, view.what)) for label, k, track in lines]
    if not any(math.isfinite(v) for line in made for series in line.series.values() for v in series.even.tolist()):
        raise UsageError("L260", f"there is no finite value to draw for {axis.label} from {shown[0]:g} to {shown[1]:g}",
                         hint="another --range")  # fmt: skip
    notes = tuple(dict.fromkeys(n for _, _, track in lines for n in track.notes))
    return Panel(title, axis, shown, notes, tuple(made))
