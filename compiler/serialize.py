"""The JSON form of a loss: versioned, a list of nodes that shares what the DAG shares, checked again when read.

    {"lossc": 1, "name": "mse", "y": "real", "f": "real", "params": [], "doc": "", "source": "",
     "nodes": [["arg", "y"], ["arg", "f"], ["sub", 0, 1], ["const", "2"], ["pow", 2, 3]], "body": 4}

A node is its operator and the positions of its arguments, which stand before it; leaves are `["arg", name]`,
`["param", name]`, `["coef", index]` and `["const", text]`, with the exact number as text. `params` holds
`{"name", "role", "default"}`, the default a text or null.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, NoReturn

from lossc.compiler import ops
from lossc.compiler.errors import LimitError, LosscError, LossSyntaxError, LossTypeError
from lossc.compiler.ir import ARG, COEF, CONST, LEAF_OPS, PARAM, Expr, arg, coef, const, node, param, postorder
from lossc.compiler.literals import read_number, write_number
from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.names import check_name
from lossc.compiler.verify import MAX_PARAMS, verify

VERSION = 1
MAX_JSON = 2_000_000
"""Characters of a JSON text."""
MAX_DAG = 50_000
"""Nodes of the list. More than the language allows: derivatives and other results of passes are stored too."""
MAX_UNFOLDED = 10_000_000
"""Nodes of the tree that the list stands for."""
MAX_COEFFICIENT = 10**9
_KEYS = ("lossc", "name", "y", "f", "params", "doc", "source", "nodes", "body")


def to_json(loss: Loss) -> str:
    """The loss as one JSON object; equal losses give equal texts."""
    return json.dumps(to_mapping(loss), ensure_ascii=True, separators=(", ", ": "))


def to_mapping(loss: Loss) -> dict[str, Any]:
    """The same as a dictionary of JSON values."""
    nodes = postorder(loss.body)
    position = {here: i for i, here in enumerate(nodes)}
    return {
        "lossc": VERSION,
        "name": loss.name,
        "y": loss.y,
        "f": loss.f,
        "params": [
            {"name": p.name, "role": p.role, "default": None if p.default is None else write_number(p.default)}
            for p in loss.params
        ],
        "doc": loss.doc,
        "source": loss.source,
        "nodes": [_write(here, position) for here in nodes],
        "body": position[loss.body],
    }


def _write(here: Expr, position: Mapping[Expr, int]) -> list[Any]:
    if here.op == CONST:
        return [CONST, write_number(here.number)]
    if here.op in LEAF_OPS:
        return [here.op, here.value]
    return [here.op, *(position[a] for a in here.args)]


def from_json(text: str | bytes | Mapping[str, Any]) -> Loss:
    """The loss of a JSON text (or of the mapping that one stands for), everything checked as untrusted input.

    Raises LossSyntaxError (L020) if it is not JSON, LossTypeError (L021) if it is not the JSON form of a loss, and
    whatever the verifier has to say about the loss itself.
    """
    given = text if isinstance(text, Mapping) else _load(text)
    keys = set(given)
    if keys != set(_KEYS):
        wrong = sorted(str(k) for k in keys ^ set(_KEYS))[:3]
        raise _malformed(f"the keys of a loss are {', '.join(_KEYS)}; not so: {', '.join(w[:40] for w in wrong)}")
    if type(given["lossc"]) is not int or given["lossc"] != VERSION:
        message = f"this lossc reads version {VERSION} of the JSON form, got {_show(given['lossc'])}"
        raise LossTypeError("L022", message, hint="it was written by another version of lossc")
    name, y, f, doc, source = (_text(given[key], key) for key in ("name", "y", "f", "doc", "source"))
    check_name(name, "a loss")
    params = _params(given["params"])
    nodes = _nodes(given["nodes"])
    body = nodes[_position(given["body"], len(nodes), "body")]
    if body.tree_size > MAX_UNFOLDED:
        raise LimitError("L112", f"the loss unfolds to more than {MAX_UNFOLDED:,} nodes")
    return verify(Loss(body, name, y, f, params, doc, source))


def _load(text: str | bytes) -> Mapping[str, Any]:
    if not isinstance(text, (str, bytes, bytearray)):
        raise _malformed(f"expected a JSON text, got {type(text).__name__}")
    if len(text) > MAX_JSON:
        raise LimitError("L112", f"the JSON text has {len(text):,} characters; the limit is {MAX_JSON:,}")
    try:
        decoded = text if isinstance(text, str) else bytes(text).decode("utf-8")
        value = json.loads(
            decoded, object_pairs_hook=_object, parse_constant=_no_float, parse_float=_no_float, parse_int=_small_int
        )
    except LosscError:
        raise
    except RecursionError:
        raise LimitError("L112", "the JSON text is nested too deep") from None
    except ValueError as problem:  # JSONDecodeError and UnicodeDecodeError are both
        raise LossSyntaxError("L020", f"this is not JSON: {problem}") from None
    if not isinstance(value, dict):
        raise _malformed(f"a loss is a JSON object, got {_show(value)}")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise _malformed("a key stands twice in one object")
    return out


def _no_float(text: str) -> NoReturn:
    raise _malformed(f"numbers of the JSON form are integers or texts, got {text[:20]}")


def _small_int(text: str) -> int:
    if len(text) > 10:
        raise _malformed(f"the integer {text[:10]}… is too large")
    return int(text)


def _params(given: Any) -> tuple[Parameter, ...]:
    if not isinstance(given, list):
        raise _malformed(f"`params` is a list, got {_show(given)}")
    if len(given) > MAX_PARAMS:
        raise LimitError("L107", f"a loss may have {MAX_PARAMS} hyper-parameters, got {len(given)}")
    out = []
    for item in given:
        if not isinstance(item, Mapping) or set(item) != {"name", "role", "default"}:
            raise _malformed(f"a hyper-parameter has name, role and default, got {_show(item)}")
        default = item["default"]
        name = check_name(_text(item["name"], "name"), "a hyper-parameter")
        number = None if default is None else _number(default, f"the default of {name}")
        out.append(Parameter(name, _text(item["role"], "role"), number))
    return tuple(out)


def _nodes(given: Any) -> list[Expr]:
    if not isinstance(given, list) or not given:
        raise _malformed(f"`nodes` is a list of nodes, got {_show(given)}")
    if len(given) > MAX_DAG:
        raise LimitError("L112", f"the loss has {len(given):,} nodes; the limit is {MAX_DAG:,}")
    out: list[Expr] = []
    for item in given:
        out.append(_node(item, out))
    return out


def _node(item: Any, before: list[Expr]) -> Expr:
    if not isinstance(item, list) or not item or not isinstance(item[0], str):
        raise _malformed(f"a node is a list that begins with its operator, got {_show(item)}")
    op, rest = item[0], item[1:]
    if op in LEAF_OPS:
        if len(rest) != 1:
            raise _malformed(f"a leaf has one value, got {_show(item)}")
        return _leaf(op, rest[0])
    record = ops.OPS.get(op)
    if record is None:
        raise LossTypeError("L301", f"`{op[:40]}` is not an operator")
    if len(rest) != record.arity:
        message = f"`{op}` takes {record.arity} arguments, got {len(rest)}"
        raise LossTypeError("L302", message, expected=record.signature)
    return node(op, *(before[_position(r, len(before), op)] for r in rest))


def _leaf(op: str, value: Any) -> Expr:
    if op == CONST:
        return const(_number(value, "a constant"))
    if op == COEF:
        if type(value) is not int or not 0 <= value <= MAX_COEFFICIENT:
            raise _malformed(f"a coefficient has an index, got {_show(value)}")
        return coef(value)
    name = _text(value, op)
    if op == ARG:
        if name not in ("y", "f"):
            raise LossTypeError("L304", f"a loss has the arguments y and f, not {name[:40]!r}")
        return arg(name)
    assert op == PARAM
    return param(check_name(name, "a hyper-parameter"))


def _position(value: Any, count: int, where: str) -> int:
    if type(value) is not int or not 0 <= value < count:
        raise _malformed(f"`{where}` needs the position of a node before it, got {_show(value)}")
    return value


def _number(value: Any, what: str) -> Fraction:
    if not isinstance(value, str):
        raise _malformed(f"{what} is a number written as text, got {_show(value)}")
    return read_number(value)


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise _malformed(f"`{key}` is a text, got {_show(value)}")
    return value


def _show(value: Any) -> str:
    if isinstance(value, (Mapping, list)):
        return f"a {'mapping' if isinstance(value, Mapping) else 'list'} of {len(value)}"
    return repr(value)[:40] if not isinstance(value, int) or abs(value) < 10**20 else "a huge integer"


def _malformed(message: str) -> LosscError:
    return LossTypeError("L021", message)
