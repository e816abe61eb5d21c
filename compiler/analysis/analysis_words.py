"""An analysis in words, as text for a terminal and as Markdown. Every sentence follows from a verdict or a limit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lossc.compiler.analysis.verdicts.catalogue import BY_NAME, FLOATS, PROPERTIES
from lossc.compiler.analysis.verdicts.verdict import PROVED, REFUTED, UNKNOWN, Verdict
from lossc.compiler.errors import LosscError
from lossc.compiler.ir import F, postorder
from lossc.compiler.targets.markdown import escaped

if TYPE_CHECKING:
    from lossc.compiler.analysis.analyze import Analysis

_KINDS = {
    "regression": "A regression loss of the target y and the prediction f.",
    "margin": "A loss of a score f, for labels y = -1 and +1.",
    "label": "A loss of two classes, y = 0 or 1.",
    "classes": "A classification loss: a sum over the classes, each of which adds a term of its own.",
    "soft": "A loss of distributions: a sum over the classes.",
    "row": "A classification loss, whose classes depend on each other.",
}
MARKS = {PROVED: "yes", REFUTED: "no", UNKNOWN: "?"}
"""A verdict in a word."""


def sentences(found: Analysis) -> list[str]:
    """What the loss is, what it does, where it breaks."""
    if F not in postorder(found.loss.canonicalize().body):
        return ["It does not depend on the prediction: its gradient is 0, and nothing is learned from it."]
    return [*_is(found), *_shape(found), *_reach(found), *_meaning(found), *_rule(found), *_breaks(found)]


def _holds(found: Analysis, name: str) -> bool | None:
    """Whether a property is proved (True) or refuted (False); None if it is neither, or does not apply."""
    verdict = found.verdicts.found.get(name)
    if verdict is None or verdict.status == UNKNOWN:
        return None
    return verdict.status == PROVED


def _value(found: Analysis, name: str) -> str:
    verdict = found.verdicts.found.get(name)
    return verdict.value if verdict is not None else ""


def _is(found: Analysis) -> Iterator[str]:
    kind = _KINDS[found.verdicts.kind]
    if _holds(found, "distance"):
        kind = "A regression loss of the residual y - f alone."
    elif _holds(found, "margin"):
        kind = "A margin loss: a function of y*f alone."
    if _holds(found, "homogeneous"):
        degree = _value(found, "homogeneous")
        kind += " It is relative: y and f in another unit give the same loss." if degree == "0" else (
            f" It is homogeneous of degree {degree}: the unit of the data is a factor.")  # fmt: skip
    yield kind
    if found.identity is not None:
        yield f"Known as: {found.identity.headline()}."
    if found.sparse:
        yield "It needs the prediction of the target class only, whatever the number of classes."


def _shape(found: Analysis) -> Iterator[str]:
    if _holds(found, "convex"):
        strict = ", strictly" if _holds(found, "strictly-convex") else ""
        strong = _value(found, "strongly-convex")
        modulus = f", with a modulus of {strong}" if _holds(found, "strongly-convex") and strong else ""
        yield f"It is convex in f{strict}{modulus}."
    elif _holds(found, "convex") is False:
        valley = (
            " It has one valley: it falls to its minimum and rises after it." if _holds(found, "quasi-convex") else ""
        )
        hills = " It has hills: it rises and falls again." if _holds(found, "quasi-convex") is False else ""
        yield f"It is not convex in f.{valley}{hills}"
    scores = _holds(found, "convex-in-scores")
    if scores is not None:
        yield f"In the scores before the {found.loss.link} it is {'convex' if scores else 'not convex'}."
    if _holds(found, "continuous") is False:
        yield f"It is not continuous: {found.verdicts['continuous'].because}."
    elif _holds(found, "C1") is False:
        kink = _value(found, "C1")
        yield f"It has a kink{f' at f = {kink}' if kink and kink != '0' else ''}: its slope is not continuous."
    elif _holds(found, "C2"):
        yield "It is smooth: twice continuously differentiable."


def _reach(found: Analysis) -> Iterator[str]:
    """Sizes: of the slope, far out, and of the loss."""
    lipschitz = _value(found, "lipschitz")
    if _holds(found, "redescending"):
        yield "It is robust and redescending: gross outliers lose their influence."
    elif _holds(found, "robust"):
        bound = f" by {lipschitz}" if lipschitz and _holds(found, "lipschitz") else ""
        yield f"It is robust: the slope is bounded{bound}, so that one outlier counts only so much."
    elif _holds(found, "robust") is False:
        yield "It is not robust: the slope grows without bound, so that one outlier can outweigh all other data."
    if _holds(found, "bounded-below") is False:
        yield "It is not bounded below: training can go on forever."
    if _holds(found, "no-dead-zone") is False and found.verdicts.kind in ("regression", "classes", "soft"):
        yield f"It has a dead zone: {found.verdicts['no-dead-zone'].because}; what falls there learns nothing."


def _meaning(found: Analysis) -> Iterator[str]:
    if _holds(found, "minimum-at-target"):
        yield "It is least where the prediction is right."
    elif _holds(found, "minimum-at-target") is False:
        yield f"It is not least where the prediction is right: {found.verdicts['minimum-at-target'].because}."
    if _holds(found, "gradient-sign") is False:
        yield f"Its gradient can lead away from the target: {found.verdicts['gradient-sign'].because}."
    if _holds(found, "mean-consistent"):
        yield "The best constant prediction is the mean of the targets (or a function of it)."
    if _holds(found, "median-consistent"):
        yield "The best constant prediction is the median of the targets."
    for name, words in (("proper", "the best prediction is the true probability"),
                        ("calibrated", "the sign of the best score is the likelier class")):  # fmt: skip
        if _holds(found, name):
            yield f"It is {name}: {words}."
        elif _holds(found, name) is False:
            yield f"It is not {name}: {found.verdicts[name].because}."


def _rule(found: Analysis) -> Iterator[str]:
    if found.rule is not None:
        yield from found.rule.sentences


def _breaks(found: Analysis) -> Iterator[str]:
    """Where floating point fails, and what would help; constants that vanish."""
    failing = [(n, v) for n, v in found.verdicts.found.items() if BY_NAME[n].group == FLOATS and v.status == REFUTED]
    said = set()
    for name, verdict in failing:
        if name.startswith("finite-") and f"autograd-{name[7:]}" in found.verdicts.found and verdict.fault in said:
            continue
        said.add(verdict.fault)
        way = "Computed as written" if not name.startswith("autograd") else "With autograd, as written"
        part = f" (in `{verdict.fault}`)" if verdict.fault and f"of {verdict.fault} " not in verdict.because else ""
        help_ = f" {verdict.repair[:1].upper()}{verdict.repair[1:]}." if verdict.repair else ""
        yield f"{way} in {found.verdicts.dtype}, {verdict.because}{part}.{help_}"
    for constant in found.unfit:
        yield f"The constant {constant}."
    if not failing and all(v.status == PROVED for n, v in found.verdicts.found.items() if BY_NAME[n].group == FLOATS):
        ranges = ", ".join(f"{k} in [{low:g}, {high:g}]" for k, (low, high) in found.verdicts.box.items())
        form = found.verdicts.dtype
        yield f"As written it is finite in {form}, with its gradient and second derivative, for {ranges}."


# -- pages ------------------------------------------------------------------------------------------------------------


def rows(found: Analysis) -> list[tuple[str, str, str, str]]:
    """A row for each property: its name, yes, no or ?, the value, and why."""
    out = []
    for p in PROPERTIES:
        verdict = found.verdicts.found.get(p.name)
        if verdict is not None:
            out.append((p.name, MARKS[verdict.status], verdict.value, why(verdict)))
    return out


def why(verdict: Verdict) -> str:
    """The certificate, or what was found with its witness."""
    if verdict.witness is None or verdict.witness.dtype:
        return verdict.because
    return f"{verdict.because} [{verdict.witness}]"


def counts(found: Analysis) -> str:
    """`27 proved, 4 refuted, 0 unknown`."""
    return ", ".join(f"{len(found.verdicts.of(s))} {s}" for s in (PROVED, REFUTED, UNKNOWN))


def head(found: Analysis) -> str:
    """The loss in two or three lines: name and roles, formula, hyper-parameters."""
    loss = found.loss
    at = f"; {found.values}" if found.values else ""
    return f"{loss.name}(y: {loss.y}, f: {loss.f}{at})\n    {found.formula}\n"


def text(found: Analysis) -> str:
    """Head and sentences."""
    lines = [head(found), *(f"- {s}" for s in found.sentences()), *(f"note: {n}" for n in found.notes)]
    return "\n".join(lines) + "\n"


def markdown(found: Analysis) -> str:
    """The analysis as Markdown: formula, sentences, verdicts, derivative."""
    loss = found.loss
    parts = [f"## {loss.name}", escaped(" ".join(loss.doc.split()))]
    latex = _latex(found)
    parts.append(f"$$ {latex} $$" if latex else f"    {found.formula}")
    parts.append(f"Roles: y is `{loss.y}`, f is `{loss.f}`." + (f" Judged at {found.values}." if found.values else ""))
    parts.append("\n".join(f"- {s}" for s in found.sentences()))
    table = ["| property | holds | value | why |", "|---|---|---|---|"]
    table += [f"| {' | '.join(_cell(c) for c in row)} |" for row in rows(found)]
    parts += [f"{counts(found).capitalize()}.", "\n".join(table)]
    return "\n\n".join(p for p in parts if p) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("*", "\\*")


def _latex(found: Analysis) -> str:
    try:
        return found.loss.latex()
    except LosscError:
        return ""
