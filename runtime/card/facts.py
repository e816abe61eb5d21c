"""The sections of a card that are read: head, words, verdicts, learning rule, known losses, cost, code."""

from __future__ import annotations

from lossc.compiler.analysis.analysis_words import counts, why
from lossc.compiler.analysis.analyze import Analysis
from lossc.compiler.analysis.identity import Identity
from lossc.compiler.analysis.verdicts.catalogue import PROPERTIES
from lossc.compiler.errors import LosscError
from lossc.compiler.loss import Loss
from lossc.runtime.card.marks import copied, mark
from lossc.runtime.page.drawing import formula
from lossc.runtime.page.markup import Cell, Column, Markup, code, joined, number, numeric, table, tag


def head(found: Analysis) -> Markup:
    """Name, formula, and the facts of its arguments."""
    loss = found.loss
    known = [("target y", loss.y), ("prediction f", loss.f), ("layout", loss.layout), ("link", loss.link)]
    if found.values:
        known.append(("judged at", found.values))
    if loss.source:
        known.append(("source", loss.source))
    identity = found.identity.headline() if found.identity is not None else counts(found)
    return tag(
        "header", tag("p", "lossc analysis", class_="kicker"), tag("h1", loss.name),
        tag("p", loss.doc) if loss.doc else None, typeset("formula", loss, found.formula),
        tag("div", tag("p", identity, class_="first"), tag("p", f"{counts(found)}."), class_="verdict"),
        tag("dl", [tag("div", tag("dt", k), tag("dd", v)) for k, v in known], class_="facts"),
    )  # fmt: skip


def typeset(name: str, loss: Loss, text: str) -> Markup:
    """A formula by Matplotlib, or as text where that cannot be."""
    latex = latex_of(loss)
    made = formula(latex, name, text) if latex else None
    return tag("div", made if made is not None else code(text, 1500), class_="typeset", tabindex=0, role="region",
               aria_label=f"Formula: {name}")  # fmt: skip


def latex_of(loss: Loss) -> str:
    """The formula in LaTeX, or nothing."""
    try:
        return loss.latex()
    except LosscError:
        return ""


def words_section(found: Analysis) -> Markup:
    """The sentences."""
    notes = [tag("p", f"Note: {n}", class_="note") for n in found.notes]
    return joined(tag("ul", [tag("li", s) for s in found.sentences()], class_="said"), notes)


def verdicts_section(found: Analysis) -> Markup:
    """Every property that applies."""
    columns = [Column("property"), Column("means"), Column("verdict"), Column("value"), Column("why")]
    rows: list[list[Cell | str]] = []
    for p in PROPERTIES:
        verdict = found.verdicts.found.get(p.name)
        if verdict is not None:
            more = f" At fault: {verdict.fault}." if verdict.fault else ""
            help_ = f" Repair: {verdict.repair}." if verdict.repair else ""
            rows.append([p.name, p.means, Cell(mark(verdict.status)), verdict.value, f"{why(verdict)}{more}{help_}"])
    ranges = ", ".join(f"{k} in [{low:g}, {high:g}]" for k, (low, high) in found.verdicts.box.items())
    caption = f"Floating point is judged in {found.verdicts.dtype} for {ranges}."
    said = tag("p", "Proved holds everywhere on the domain; refuted comes with a point at which torch shows it.")
    return joined(said, table(caption, columns, rows))


def rule_section(found: Analysis) -> Markup | None:
    """The learning rule at the null epoch and at zero training error, of a classification loss."""
    if found.rule is None:
        return None
    return joined(
        tag("p", "What the loss contributes to the learning rule (thesis, section 4.4): δ = -∂L/∂f at the null epoch, "
            "where every class has the probability 1/C, and at zero training error, where it is 1 - ε(C - 1) for the "
            "target."),
        tag("pre", tag("code", found.rule.explain())),
    )  # fmt: skip


def identity_section(found: Analysis) -> Markup | None:
    """What it is called, other names, or what is near."""
    if found.identity is None:
        return None
    return joined(tag("p", found.identity.headline() + "."), _also(found.identity), _near(found.identity))


def _also(found: Identity) -> Markup | None:
    if found.exact is None:
        return None
    also = [tag("li", code(str(m))) for m in found.also]
    return joined(tag("p", f"How: {found.exact.how()}.", class_="note"), tag("ul", also) if also else None)


def _near(found: Identity) -> Markup | None:
    if not found.nearest or found.exact is not None:
        return None
    rows: list[list[Cell | str]] = [[code(str(n)), numeric(n.distance, 3), ", ".join(n.twins)] for n in found.nearest]
    columns = [Column("nearest"), Column("distance", numeric=True), Column("same slopes")]
    return table("The distance of slopes is 0 for the same ones, and 1 where no multiple is of use.", columns, rows)


def cost_section(found: Analysis) -> Markup:
    """Work an element, in additions."""
    columns = [Column("of"), Column("work", numeric=True), Column("nodes", numeric=True)]
    rows: list[list[Cell | str]] = [
        [name, Cell(number(c.work, 1), c.work), Cell(f"{c.size:,}", c.size)] for name, c in found.costs.items()
    ]
    sparse = tag("p", "It needs the prediction of the target only: the work does not grow with the number of classes.")
    return joined(table("Work an element of the batch; an addition is 1, an exponential 15.", columns, rows),
                  sparse if found.sparse else None)  # fmt: skip


def code_section(found: Analysis) -> Markup:
    """The definition, the LaTeX, and the PyTorch file."""
    loss, latex = found.loss, latex_of(found.loss)
    parts: list[Markup | None] = [copied("definition", "definition", loss.definition())]
    parts.append(copied("latex", "LaTeX", latex) if latex else None)
    try:
        source = loss.emit("torch")
    except LosscError as problem:
        parts.append(tag("p", f"It cannot be compiled: {problem.diagnostic.message}", class_="note"))
    else:
        parts += [tag("h3", "PyTorch"), copied("torch", "PyTorch", source)]
    return joined(*parts)
