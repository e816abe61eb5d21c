"""The head of the report, and the section of the best loss: formula, pictures, and the next best in small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from lossc.compiler.errors import LosscError
from lossc.runtime.page.drawing import figure, formula
from lossc.runtime.page.markup import Markup, code, count, joined, number, tag
from lossc.runtime.search.bench import family_of
from lossc.runtime.search.finals import BASELINE
from lossc.runtime.search.folder import Run
from lossc.runtime.search.found import Found
from lossc.runtime.search.report import curves
from lossc.runtime.search.report.verdict import verdict

SMALL = 5
"""Losses that are drawn in small."""
_ROOT = {"softplus": "softplus(z) = log(1 + e^z)", "smooth-leaky-relu": "a smooth leaky ReLU"}


def title_of(run: Run) -> str:
    """What the page is about, in a line."""
    return f"Search for a loss: {run.about.get('name')}, {run.config.method}"


def head(run: Run) -> Markup:
    """What was searched on and how, and what came of it."""
    c, about = run.config, run.about
    search = run.search
    generations = f"{min(search.generation + (not search.over), c.generations)} of {c.generations}"
    known = [
        ("task", str(about.get("name"))), ("model", str(about.get("model"))), ("metric", str(about.get("metric"))),
        ("usual loss", str(about.get("baseline"))), ("method", c.method), ("preset", c.preset), ("seed", str(c.seed)),
        ("generations", generations), ("losses bred", f"{search.committed:,}"), ("trained", f"{search.trainings:,}"),
    ]  # fmt: skip
    first, *rest = verdict(run)
    said = tag("div", tag("p", first, class_="first"), [tag("p", s) for s in rest], class_=f"verdict{_tone(run)}")
    return tag(
        "header", tag("p", "lossc search", class_="kicker"), tag("h1", f"{about.get('name')}, {about.get('model')}"),
        said,
        tag("dl", [tag("div", tag("dt", k), tag("dd", v)) for k, v in known], class_="facts"),
    )  # fmt: skip


def _tone(run: Run) -> str:
    """A class for the colour of what is said: clearly better than the usual loss, clearly worse, or neither."""
    found = None if run.finals is None else run.finals.against(BASELINE)
    if found is None or not found.clear:
        return ""
    return " better" if found.gain.mean > 0 else " worse"


def best_section(run: Run, found: Sequence[Found]) -> Markup:
    """Everything about the best loss."""
    if not found:
        return tag("p", "No loss has a fitness: there is none to show. The filters, below, say why.", class_="note")
    best = found[0]
    steps = run.config.rerank_steps or int(run.about["steps"])
    how = f"{run.config.rerank_seeds} × {steps:,} steps on other rows"
    again = "no" if best.again is None else f"{number(best.again)} ({how})"
    values = [
        ("fitness", number(best.fitness)), ("judged again", again),
        ("size", count(best.size, "node")), ("loss", f"#{best.ticket}, by {best.operator}"),
    ]  # fmt: skip
    return joined(
        _formulas(run, best),
        tag("dl", [tag("div", tag("dt", k), tag("dd", v)) for k, v in values], class_="facts"),
        _pictures(run, best),
        _small(run, found[1 : SMALL]) if len(found) > 1 else None,
    )  # fmt: skip


def _formulas(run: Run, best: Found) -> Markup:
    """The structure as it is typeset; the formula with its coefficients, and its source, to be copied."""
    loss = run.search.loss(run.search.individuals[best.ticket].expr)
    family = family_of(loss.to_json(), run.config.output)
    rounded = family.fold(torch.tensor([float(f"{v:.4g}") for v in best.coefficients], dtype=torch.float64))
    shown = [
        _typeset("structure", loss.latex, best.structure), _typeset("learned", rounded.latex, best.formula),
    ]  # fmt: skip
    root = _ROOT.get(run.config.output)
    learned = "The coefficients were not learned: they are 1 up to a little noise." if not _learns(run) else (
        "The structure is what was bred; the search puts a coefficient on every edge and learns them."
    )  # fmt: skip
    note = learned + (f" Around the whole is {root}, which the structure leaves out." if root else "")
    latex = _latex(rounded.latex)
    return joined(
        tag("h3", "Structure"), shown[0], tag("h3", "With its coefficients, rounded to four digits"), shown[1],
        _copied("found-text", "formula", best.formula), _copied("found-latex", "LaTeX", latex) if latex else None,
        tag("p", note, class_="note"),
    )  # fmt: skip


def _learns(run: Run) -> bool:
    return run.config.meta_steps > 0 and run.config.method != "gp-lfl"


def _latex(write: object) -> str:
    try:
        return str(write()) if callable(write) else ""
    except LosscError:
        return ""


def _typeset(name: str, write: object, text: str) -> Markup:
    """A formula by Matplotlib, or as text where that cannot be."""
    latex = _latex(write)
    made = formula(latex, name, text) if latex else None
    return tag("div", made if made is not None else code(text, 1500), class_="typeset", tabindex=0, role="region",
               aria_label=f"Formula: {name}")  # fmt: skip


def _copied(name: str, label: str, text: str) -> Markup:
    button = tag("button", f"Copy {label}", type="button", class_="copy", data_copy=name)
    return tag("div", tag("pre", tag("code", text, id=name), tabindex=0), button, class_="copied")


def _pictures(run: Run, best: Found) -> Markup:
    mine = curves.curves_of(run, best)
    lowest = curves.least(mine)
    if curves.classes(run):
        shares = curves.shares_of(run, best)
        said = f"The loss of a row of two classes. {_least(lowest, 'a probability')}"
        slope = "Its derivative with respect to the logit of the target class."
        more = [figure(curves.shares_figure(shares, "shares"), "What a class adds, before the sum over the classes.")]
    else:
        which = "the residual alone" if len(mine) == 1 else "more than the residual: a line for each target"
        said = f"The loss over the residual. It depends on {which}. {_least(lowest, 'a residual')}"
        slope, more = "Its derivative with respect to the prediction f.", []
    value = figure(curves.value_figure(run, mine, "value"), said)
    return tag("div", value, figure(curves.slope_figure(run, mine, "slope"), slope), more, class_="grid")


def _least(lowest: Mapping[str, float], what: str) -> str:
    """Where a loss is least, in words."""
    if not lowest:
        return "It has no finite value there."
    if len(lowest) == 1:
        return f"It is least at {what} of {number(next(iter(lowest.values())), 2)}."
    return f"It is least at {what} of " + ", ".join(f"{number(v, 2)} ({k})" for k, v in lowest.items()) + "."


def _small(run: Run, found: Sequence[Found]) -> Markup:
    cards = []
    for rank, here in enumerate(found, start=2):
        label = f"The loss of rank {rank}, beside the usual one."
        drawing = curves.small_figure(run, curves.curves_of(run, here, small=True), f"small{rank}", label)
        text = tag("figcaption", tag("strong", f"{rank}. {number(here.fitness)}"), " ", code(here.structure, 90))
        cards.append(tag("figure", drawing, text))
    return joined(tag("h3", "The next best"), tag("div", cards, class_="cards"))
