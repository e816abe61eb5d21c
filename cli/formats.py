"""The forms in which a command shows a loss, as text and as plain data."""

from __future__ import annotations

from typing import Any

from lossc.cli.options import Format
from lossc.compiler.cost import cost
from lossc.compiler.ir import dag_size
from lossc.compiler.literals import write_number
from lossc.compiler.loss import CLASSWISE, Loss

SUFFIX_FORMATS = {".loss": Format.definition, ".json": Format.json, ".tex": Format.latex, ".py": Format.source}
"""What `-o FILE` means where --format is not given."""


def format_for(chosen: Format | None, output: str | None, default: Format = Format.text) -> Format:
    """The form to print: the chosen one, else what the output file's suffix says, else the default."""
    if chosen is not None:
        return chosen
    suffix = "." + (output or "").rpartition(".")[2]
    return SUFFIX_FORMATS.get(suffix, default)


def render(loss: Loss, form: Format) -> str:
    """The loss in one form, ending in a newline."""
    from lossc.compiler.printing import to_deap, to_tree

    match form:
        case Format.tree:
            text = to_tree(loss.body)
        case Format.latex:
            text = loss.latex()
        case Format.json:
            text = loss.to_json()
        case Format.deap:
            text = to_deap(loss.body)
        case Format.source:
            text = loss.emit("torch")
        case Format.definition:
            text = loss.definition()
        case Format.grad:
            text = str(loss.grad("f"))
        case Format.text:
            text = str(loss)
    return text.rstrip("\n") + "\n"


def facts(loss: Loss) -> dict[str, Any]:
    """A loss as plain data for --json. Defaults are numbers; `definition` has them exactly."""
    work, size = cost(loss.body)
    return {
        "name": loss.name,
        "formula": str(loss),
        "y": loss.y,
        "f": loss.f,
        "params": [
            {"name": p.name, "role": p.role, "default": None if p.default is None else float(p.default)}
            for p in loss.params
        ],
        "layout": loss.layout,
        "link": loss.link,
        "doc": loss.doc,
        "source": loss.source,
        "nodes": size,
        "distinct_nodes": dag_size(loss.body),
        "depth": loss.body.depth,
        "work": work,
        "definition": loss.definition(),
    }


def signature(loss: Loss) -> str:
    """`pseudo_huber(y: real, f: real; delta: positive = 1)`."""
    return f"{loss.name}({roles(loss)})"


def roles(loss: Loss) -> str:
    """`y: real, f: real; delta: positive = 1`."""
    params = ", ".join(
        f"{p.name}: {p.role}" + (f" = {write_number(p.default)}" if p.default is not None else "") for p in loss.params
    )
    return f"y: {loss.y}, f: {loss.f}" + (f"; {params}" if params else "")


def shapes(loss: Loss) -> str:
    """What the emitted module takes, in a line."""
    if loss.layout == CLASSWISE:
        what = "logits" if loss.link != "identity" else "values"
        return f"{what} [N, C, ...] with classes on axis 1; targets: class indices [N, ...] or one row a class"
    what = "logits (the sigmoid is applied inside)" if loss.link != "identity" else "predictions"
    return f"{what} and targets of one shape"
