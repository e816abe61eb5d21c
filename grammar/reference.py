"""The tables of docs/language.md and docs/numerics.md, generated from the code so that they cannot be wrong.

    python -m lossc.grammar.reference docs/language.md docs/numerics.md      # rewrites the tables in place

A table stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; a test compares the file with what this writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from lossc.compiler import ops
from lossc.compiler.ir import MAX_DIGITS, MAX_EXP10, Expr, param, substitute
from lossc.compiler.names import ARGUMENTS, MAX_NAME
from lossc.compiler.ops import OpRecord
from lossc.compiler.passes.guard import CURES
from lossc.compiler.passes.rewrite import A, B
from lossc.compiler.passes.stabilize import RULES
from lossc.compiler.printing import to_text
from lossc.compiler.roles import ROLES
from lossc.compiler.verify import MAX_EXPONENT, MAX_NODES, MAX_PARAMS
from lossc.grammar.dialects import DIALECTS
from lossc.grammar.tokens import MAX_NESTING, MAX_TEXT, MAX_TOKENS


def operators() -> str:
    """Every operator: how it is written, what it computes, its derivatives with the chosen subgradients, its kinks."""
    rows = []
    for record in ops.OPS.values():
        written = _code(record.signature) + (f" or {_code(_infix(record))}" if record.infix else "")
        others = ", ".join(map(_code, record.aliases))
        rows.append((written, others, record.doc, _derivatives(record), _kinks(record)))
    return _table(("written", "other names", "value", "derivatives", "not smooth at"), rows)


def _infix(record: OpRecord) -> str:
    return record.infix.join(record.args) if len(record.args) == 2 else record.infix + record.args[0]


def _symbols(record: OpRecord) -> list[Expr]:
    return [param(name) for name in record.args]


def _derivatives(record: OpRecord) -> str:
    """The partials as formulas; for a class-axis operator the derivative with respect to x at class k."""
    args = _symbols(record)
    if record.axis == ops.REDUCE and record.weight is not None:
        weight = to_text(record.weight(args[0], param("r")))
        return f"∂/∂x_k: {_code(weight)}" + (", r being the value" if "r," in weight else "")
    if record.axis == ops.MAP and record.centre is not None and record.partials is not None:
        direct, through = (to_text(p) for p in record.partials(*args) if p is not None)
        return f"∂/∂x: {_code(direct)}, and {_code(through)} through {_code(to_text(record.centre(args[0])))}"
    if record.partials is None or not args:
        return ""
    found = zip(record.args, record.partials(*args), strict=True)
    return "; ".join(f"∂/∂{name}: {_code(to_text(p))}" for name, p in found if p is not None)


def _kinks(record: OpRecord) -> str:
    args = _symbols(record)
    places = dict.fromkeys([*record.kinks(*args), *record.singular(*args)])
    return ", ".join(_code(f"{to_text(place)} = 0") for place in places)


def roles() -> str:
    """Every role, what it promises, and who can have it."""
    rows = [
        (_code(r.name), r.doc, ", ".join(u for u in ("y", "f", "hyper-parameter") if u in r.used_by))
        for r in ROLES.values()
    ]
    return _table(("role", "promise", "of"), rows)


def arguments() -> str:
    """The names of y and f."""
    rows = [(_code(which), ", ".join(_code(n) for n in ARGUMENTS if ARGUMENTS[n] == which)) for which in ("y", "f")]
    rows[1] = (rows[1][0], rows[1][1] + ", `f(x)`")
    return _table(("argument", "can be written as"), rows)


def dialects() -> str:
    """Every dialect, and what its names mean."""
    rows = []
    for d in DIALECTS.values():
        changed = [f"{_code(written)} means {_code(meant)}" for written, meant in d.meaning.items()]
        changed += [f"{_code(written)} is {_code(which)}" for written, which in d.arguments.items()]
        rows.append((_code(d.name), d.doc, ", ".join(changed)))
    return _table(("dialect", "for", "names"), rows)


def limits() -> str:
    """The limits of a text."""
    rows = [
        ("length of a text", f"{MAX_TEXT:,} bytes", "L101"),
        ("tokens", f"{MAX_TOKENS:,}", "L102"),
        ("nesting as written: open brackets, and minus signs and powers that wait", f"{MAX_NESTING} levels", "L103"),
        ("nodes of the formula, once names and helper functions are written out", f"{MAX_NODES:,}", "L104"),
        ("digits of a number", str(MAX_DIGITS), "L105"),
        ("exponent of a number, as in `1e-7`", f"±{MAX_EXP10}", "L105"),
        ("constant exponent of a power", f"±{MAX_EXPONENT}", "L106"),
        ("hyper-parameters", str(MAX_PARAMS), "L107"),
        ("length of a name", f"{MAX_NAME} characters", "L108"),
    ]
    return _table(("what", "limit", "code"), rows)


def rules() -> str:
    """Every value rewrite (V rules), in the order in which they are tried."""
    named = {A: param("a"), B: param("b")}
    rows = []
    for rule in RULES:
        before, after = (to_text(substitute(side, named)) for side in (rule.before, rule.after))
        condition = " (under a condition)" if rule.conditional else ""
        rows.append((rule.id, _code(before), _code(after), rule.why + condition))
    return _table(("id", "before", "after", "why"), rows)


def guards() -> str:
    """Every operator that the guard pass cures at a singular point (G rules)."""
    rows = [(rule, _code(ops.OPS[name].signature), _kinks(ops.OPS[name])) for name, (rule, _) in CURES.items()]
    return _table(("id", "operator", "a slope is not finite, or jumps, at"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "operators": operators,
    "roles": roles,
    "arguments": arguments,
    "dialects": dialects,
    "limits": limits,
    "rules": rules,
    "guards": guards,
}


def _code(text: str) -> str:
    return f"`{text}`"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)


def with_tables(text: str) -> str:
    """The text with every marked table written anew."""

    def fill(found: re.Match[str]) -> str:
        name = found.group(1)
        return f"<!-- begin {name} -->\n{TABLES[name]()}\n<!-- end {name} -->"

    return re.sub(r"<!-- begin (\w+) -->\n.*?<!-- end \1 -->", fill, text, flags=re.DOTALL)


if __name__ == "__main__":
    import sys

    for path in map(Path, sys.argv[1:]):
        path.write_text(with_tables(path.read_text("utf-8")), "utf-8")
