"""A dual-point analysis as text, as LaTeX and as plain data."""

from __future__ import annotations

from math import isinf, isnan
from typing import TYPE_CHECKING, Any

from lossc.compiler.analysis.asymptotics import EPSILON, Lead, Limit
from lossc.compiler.analysis.cases import Case, Condition
from lossc.compiler.analysis.row import J, R, T
from lossc.compiler.ir import Expr, param, postorder, substitute
from lossc.compiler.literals import write_number
from lossc.compiler.loss import Loss
from lossc.compiler.passes.simplex import CLASSES
from lossc.compiler.printing import to_text
from lossc.compiler.targets.latex import latex_of

if TYPE_CHECKING:
    from lossc.compiler.analysis.dual_point import AtPoint, DualPoint, Quantity

LONGEST = 100
"""Characters of a line beyond which cases that differ in the leading term only are not shown."""
_LATEX_RELATIONS = {"<": "<", "<=": r"\le", "=": "=", ">=": r"\ge", ">": ">"}


# -- pieces -----------------------------------------------------------------------------------------------------------


def _named(loss: Loss, root: Expr, epsilon: str) -> Expr:
    """With names that can be read: C, ε, and f, or f_t, f_j and f_k where several predictions occur."""
    own = [leaf for leaf in (T, J, R) if leaf in postorder(root)]
    names = {own[0]: "f"} if len(own) == 1 else {T: "f_t", J: "f_j", R: "f_k"}
    names |= {EPSILON: epsilon, CLASSES: "C"}
    taken = {p.name for p in loss.params}
    return substitute(root, {leaf: param(name + "'" if name in taken else name) for leaf, name in names.items()})


def shown(loss: Loss, root: Expr) -> str:
    """An expression of an analysis as text."""
    return to_text(_named(loss, root, "ε"))


def shown_latex(loss: Loss, root: Expr) -> str:
    """An expression of an analysis in LaTeX."""
    return latex_of(_named(loss, root, "epsilon"))


def condition_text(loss: Loss, condition: Condition) -> str:
    """`phi1 < C`."""
    return f"{shown(loss, condition.left)} {condition.relation} {shown(loss, condition.right)}"


def _condition_latex(loss: Loss, condition: Condition) -> str:
    relation = _LATEX_RELATIONS[condition.relation]
    return f"{shown_latex(loss, condition.left)} {relation} {shown_latex(loss, condition.right)}"


def number_text(value: float) -> str:
    """A number for a report."""
    if isnan(value):
        return "none"
    return ("+inf" if value > 0 else "-inf") if isinf(value) else f"{value:.6g}"


def limit_text(loss: Loss, found: Limit) -> str:
    """A value or limit: a formula, +inf, or why there is none."""
    mark = " (numeric)" if found.numeric else ""
    if found.kind == "finite":
        return shown(loss, found.value) + mark
    return ({1: "+inf", -1: "-inf"}[found.sign] if found.kind == "infinite" else f"{found.kind}") + mark


def setting(found: DualPoint) -> str:
    """`C = 10, phi0 = 1`: what the numbers are for."""
    parts = [] if found.row.labels and CLASSES not in postorder(found.row.body) else [f"C = {found.shown}"]
    return ", ".join(parts + [f"{p.name} = {write_number(value)}" for p, value in found.values.items()])


# -- text -------------------------------------------------------------------------------------------------------------


def explain(found: DualPoint) -> str:
    """The learning rule, the values at both points, and the sentences."""
    loss, row = found.loss, found.row
    names = ("positive", "negative") if row.labels else ("target", "non-target")
    lines = [f"{loss.name}: {to_text(loss.body)}", ""]
    if row.link == "scores":
        lines.append("delta = -dL/df, the error of the score f")
    else:
        lines.append("delta = -dL/df in theta <- theta + alpha*delta*df/dtheta (thesis, eq. 4.8)")
    lines += [f"  {who:<11} {shown(loss, e)}" for who, e in zip(names, (row.target, row.other), strict=True)]
    for at in found.points:
        lines += ["", _heading(found, at)]
        lines += _table(found, "delta", names, (at.target, at.other), at is found.end)
        if row.link != "scores":
            lines += _table(found, f"through the {row.link}", names, (at.score_target, at.score_other), at is found.end)
    lines += [""]
    told = found.sentences
    if any("[" in line for line in (*lines, *told)):
        lines += [f"numbers [...] are for {setting(found)}", ""]
    lines += [*(f"- {s}" for s in told), *(f"note: {note}" for note in found.notes)]
    return "\n".join(lines)


def _heading(found: DualPoint, at: AtPoint) -> str:
    target, other = shown(found.loss, at.point.target), shown(found.loss, at.point.other)
    if at is found.null:
        return f"{at.point.name}: every f is {target}"
    names = ("the target", "the others") if not found.row.labels else ("positive", "negative")
    return f"{at.point.name}: f is {target} for {names[0]}, {other} for {names[1]}, and ε -> 0"


def _table(
    found: DualPoint, what: str, names: tuple[str, str], quantities: tuple[Quantity, Quantity], end: bool
) -> list[str]:
    lines = [f"  {what}"]
    for who, quantity in zip(names, quantities, strict=True):
        lines += [f"    {who:<11} {line}" if i == 0 else f"    {'':<11} {line}" for i, line in enumerate(
            _rows(found, quantity, end)
        )]  # fmt: skip
    return lines


def _rows(found: DualPoint, quantity: Quantity, end: bool) -> list[str]:
    """A line a case, with its number if it is that of the numbers at hand; the leading term where a limit hides it."""
    loss, cases = found.loss, quantity.cases
    rows = [(c, _row(loss, c.conditions, c.answer, _lead_for(quantity, c) if end else None)) for c in cases]
    only = cases[0].answer
    if end and len(cases) == 1 and quantity.leads is not None and len(quantity.leads) > 1 and _is_bare(only):
        finer = [(k, _row(loss, k.conditions, only, k.answer)) for k in quantity.leads]
        if max(len(text) for _, text in finer) < LONGEST:
            return [text for _, text in finer]
    if not setting(found) or quantity.numeric or not _depends(quantity):
        return [text for _, text in rows]
    mark = f"   [{number_text(quantity.at)}]"
    return [text + (mark if case.holds(found.values, found.shown) else "") for case, text in rows]


def _row(loss: Loss, conditions: tuple[Condition, ...], answer: Limit, beside: Lead | None) -> str:
    text = limit_text(loss, answer)
    if beside is not None and _is_bare(answer) and EPSILON in postorder(beside.term):
        text += f", like {shown(loss, beside.term)}"
    if conditions:
        text += " if " + " and ".join(condition_text(loss, k) for k in conditions)
    return text


def _is_bare(answer: Limit) -> bool:
    """Whether the limit hides how it is approached."""
    return answer.kind == "infinite" or (answer.kind == "finite" and answer.value.op == "const")


def _depends(quantity: Quantity) -> bool:
    """Whether a number says more than the formula."""
    if len(quantity.cases) > 1:
        return True
    (case,) = quantity.cases
    return case.answer.kind == "finite" and case.answer.value.op != "const"


def _lead_for(quantity: Quantity, case: Case[Limit]) -> Lead | None:
    """The leading term for the conditions of a case, if there is one for just these."""
    return next((k.answer for k in quantity.leads or () if k.conditions == case.conditions), None)


# -- LaTeX ------------------------------------------------------------------------------------------------------------


def latex(found: DualPoint) -> str:
    """δ at both points by cases, each with its name, one formula a line."""
    symbol = r"\delta_{\mathcal{L}}"
    out = []
    for at in found.points:
        out.append(_latex_cases(found, at, symbol, (at.target, at.other)))
        if found.row.link != "scores":
            out.append(_latex_cases(found, at, r"-\frac{\partial \mathcal{L}}{\partial z}",
                                    (at.score_target, at.score_other)))  # fmt: skip
    return "\n".join(out)


def _latex_cases(found: DualPoint, at: AtPoint, symbol: str, quantities: tuple[Quantity, Quantity]) -> str:
    target, other = quantities
    no_target = "-1" if found.row.loss.y == "sign" else "0"
    rows = _latex_rows(found, other, f"y_i = {no_target}") + _latex_rows(found, target, "y_i = 1")
    arrow = r"\lim_{\epsilon \to 0} " if at is found.end else ""
    return rf"{arrow}{symbol} = \begin{{cases}} " + r" \\ ".join(rows) + r" \end{cases}"


def _latex_rows(found: DualPoint, quantity: Quantity, label: str) -> list[str]:
    rows = []
    for case in quantity.cases:
        conditions = [label, *(_condition_latex(found.loss, k) for k in case.conditions)]
        rows.append(f"{_limit_latex(found.loss, case.answer)} & {', '.join(conditions)}")
    return rows


def _limit_latex(loss: Loss, found: Limit) -> str:
    if found.kind == "finite":
        return (r"\approx " if found.numeric else "") + shown_latex(loss, found.value)
    return {1: r"+\infty", -1: r"-\infty"}.get(found.sign, rf"\text{{{found.kind}}}")


# -- data -------------------------------------------------------------------------------------------------------------


def data(found: DualPoint) -> dict[str, Any]:
    """An analysis as plain data: formulas are texts, numbers are numbers, an infinite number is "+inf" or "-inf"."""
    loss, row = found.loss, found.row
    return {
        "link": row.link,
        "labels": row.labels,
        "delta": {"target": shown(loss, row.target), "other": shown(loss, row.other)},
        "points": {
            at.point.key: {
                "name": at.point.name,
                "f": {"target": shown(loss, at.point.target), "other": shown(loss, at.point.other)},
                "delta": {"target": _quantity(found, at.target), "other": _quantity(found, at.other)},
                "scores": {"target": _quantity(found, at.score_target), "other": _quantity(found, at.score_other)},
            }
            for at in found.points
        },
        "classes": found.classes,
        "numbers_for": {"C": found.shown, **{p.name: float(v) for p, v in found.values.items()}},
        "turning": found.turning,
        "sentences": found.sentences,
        "notes": list(found.notes),
        "seconds": round(found.seconds, 6),
    }


def _quantity(found: DualPoint, quantity: Quantity) -> dict[str, Any]:
    loss = found.loss
    at = quantity.at
    return {
        "cases": [
            {"if": [condition_text(loss, k) for k in c.conditions], **_limit_data(loss, c.answer)}
            for c in quantity.cases
        ],
        "leading": None
        if quantity.leads is None
        else [
            {"if": [condition_text(loss, k) for k in c.conditions], **_lead_data(loss, c.answer)}
            for c in quantity.leads
        ],
        "at": None if isnan(at) else number_text(at) if isinf(at) else at,
    }


def _limit_data(loss: Loss, found: Limit) -> dict[str, Any]:
    return {"kind": found.kind, "value": limit_text(loss, found), "numeric": found.numeric}


def _lead_data(loss: Loss, found: Lead | None) -> dict[str, Any]:
    return {"sign": None, "term": None} if found is None else {"sign": found.sign, "term": shown(loss, found.term)}
