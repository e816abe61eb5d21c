"""The JSON form: exact for every loss, and checked as untrusted input when it is read."""

from __future__ import annotations

import json
import time
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossc.compiler.errors import LosscError
from lossc.compiler.ir import TWO, Expr, F, Y, const, node, param
from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.serialize import from_json, to_json, to_mapping
from tests.strategies import PARAMS, exprs, losses

PARAMETERS = tuple(Parameter(name) for name in PARAMS)


@settings(max_examples=2000)
@given(exprs(coefs=True))
def test_every_expression(root: Expr) -> None:
    """from_json(to_json(loss)) == loss, and its body is the same node."""
    loss = Loss(root, params=PARAMETERS)
    back = from_json(to_json(loss))
    assert back == loss
    assert back.body is root


@settings(max_examples=300)
@given(losses(coefs=True, any_names=True))
def test_every_loss(loss: Loss) -> None:
    """The same with roles, names, defaults and documentation of every kind, as text, bytes and mapping."""
    text = to_json(loss)
    assert text.isascii()
    assert from_json(text) == from_json(text.encode()) == from_json(json.loads(text)) == loss
    assert to_json(from_json(text)) == text


def test_shared_parts_are_written_once() -> None:
    """The list is as long as the graph, not as the tree; 10,000 levels are as safe as one."""
    shared = Y - F
    for _ in range(20):
        shared = shared * shared
    assert len(to_mapping(Loss(shared))["nodes"]) == 23
    assert from_json(to_json(Loss(shared))).body is shared
    deep = Y
    for _ in range(10_000):
        deep = node("sin", deep)
    assert from_json(to_json(Loss(deep))).body is deep


def test_the_form_is_stable() -> None:
    """The exact text of version 1: files written today can be read tomorrow."""
    loss = Loss(
        (Y - F) ** 2 / param("delta") + const(Fraction(1, 3)),
        "mine",
        "real",
        "positive",
        (Parameter("delta", "positive", Fraction(1, 2)), Parameter("k")),
        "doc",
        "source",
    )
    assert to_json(loss) == (
        '{"lossc": 1, "name": "mine", "y": "real", "f": "positive", "params": ['
        '{"name": "delta", "role": "positive", "default": "0.5"}, {"name": "k", "role": "real", "default": null}], '
        '"doc": "doc", "source": "source", "nodes": [["arg", "y"], ["arg", "f"], ["sub", 0, 1], ["const", "2"], '
        '["pow", 2, 3], ["param", "delta"], ["div", 4, 5], ["const", "1/3"], ["add", 6, 7]], "body": 8}'
    )


GOOD: dict[str, Any] = {
    "lossc": 1, "name": "a", "y": "real", "f": "real", "params": [], "doc": "", "source": "",
    "nodes": [["arg", "y"], ["arg", "f"], ["sub", 0, 1]], "body": 2,
}  # fmt: skip


def changed(**changes: Any) -> dict[str, Any]:
    return GOOD | changes


def nodes(*items: Any) -> dict[str, Any]:
    return GOOD | {"nodes": list(items), "body": len(items) - 1}


def doubling(levels: int) -> dict[str, Any]:
    return nodes(["arg", "y"], *(["add", i, i] for i in range(levels)))


WRONG: dict[str, tuple[Any, str]] = {
    # no JSON, or too much of it
    "empty": ("", "L020"),
    "text": ("(y - f)^2", "L020"),
    "cut off": ('{"lossc": 1, "name": "a"', "L020"),
    "not UTF-8": (b"\xff\xfe{}", "L020"),
    "byte order mark": ("\ufeff{}", "L020"),
    "nested lists": ("[" * 100_000, "L112"),
    "nested objects": ('{"a":' * 100_000, "L112"),
    "3 MB": (" " * 3_000_000, "L112"),
    "NaN": ('{"lossc": NaN}', "L021"),
    "infinity": ('{"lossc": -Infinity}', "L021"),
    "float": ('{"lossc": 1.0}', "L021"),
    "huge integer": ('{"lossc": ' + "9" * 5_000 + "}", "L021"),
    "key twice": ('{"lossc": 1, "lossc": 1}', "L021"),
    # no loss
    "list": ("[]", "L021"),
    "null": ("null", "L021"),
    "number": ("1", "L021"),
    "no text at all": (3, "L021"),
    "nothing": ({}, "L021"),
    "one key too many": (changed(more=1), "L021"),
    "keys that are no texts": ({1: 2, (3,): 4}, "L021"),
    "another version": (changed(lossc=2), "L022"),
    "version true": (changed(lossc=True), "L022"),
    "version as text": (changed(lossc="1"), "L022"),
    "name is a number": (changed(name=1), "L021"),
    "name is no name": (changed(name="my loss"), "L304"),
    "name of code": (changed(name="a(): import os"), "L304"),
    "reserved name": (changed(name="__import__"), "L313"),
    "long name": (changed(name="a" * 65), "L108"),
    "doc is a list": (changed(doc=[]), "L021"),
    "unknown role": (changed(y="anything"), "L305"),
    "role of the other": (changed(f="onehot"), "L305"),
    # hyper-parameters
    "params is an object": (changed(params={}), "L021"),
    "parameter is a text": (changed(params=["delta"]), "L021"),
    "parameter without role": (changed(params=[{"name": "d", "default": None}]), "L021"),
    "parameter with more": (changed(params=[{"name": "d", "role": "real", "default": None, "x": 1}]), "L021"),
    "parameter role": (changed(params=[{"name": "d", "role": "onehot", "default": None}]), "L305"),
    "parameter name": (changed(params=[{"name": "d;", "role": "real", "default": None}]), "L304"),
    "parameter named y": (changed(params=[{"name": "y", "role": "real", "default": None}]), "L309"),
    "parameter twice": (changed(params=[{"name": "d", "role": "real", "default": None}] * 2), "L306"),
    "65 parameters": (changed(params=[{"name": f"d{i}", "role": "real", "default": "1"} for i in range(65)]), "L107"),
    "default is a number": (changed(params=[{"name": "d", "role": "real", "default": 1}]), "L021"),
    "default is no number": (changed(params=[{"name": "d", "role": "real", "default": "one"}]), "L008"),
    "default against its role": (changed(params=[{"name": "d", "role": "positive", "default": "-1"}]), "L202"),
    # nodes
    "nodes is an object": (changed(nodes={}), "L021"),
    "no nodes": (changed(nodes=[], body=0), "L021"),
    "node is a text": (nodes("y"), "L021"),
    "node is empty": (nodes([]), "L021"),
    "node begins with a number": (nodes([0, 1]), "L021"),
    "unknown operator": (nodes(["arg", "y"], ["system", 0]), "L301"),
    "alias of an operator": (nodes(["arg", "y"], ["ln", 0]), "L301"),
    "too few arguments": (nodes(["arg", "y"], ["sub", 0]), "L302"),
    "too many arguments": (nodes(["arg", "y"], ["log", 0, 0]), "L302"),
    "refers to itself": (nodes(["arg", "y"], ["log", 1]), "L021"),
    "refers ahead": (nodes(["log", 1], ["arg", "y"]), "L021"),
    "refers backwards from the end": (nodes(["arg", "y"], ["log", -1]), "L021"),
    "position is a text": (nodes(["arg", "y"], ["log", "0"]), "L021"),
    "position is true": (nodes(["arg", "y"], ["arg", "f"], ["log", True]), "L021"),
    "position is a list": (nodes(["arg", "y"], ["log", [0]]), "L021"),
    "position is null": (nodes(["arg", "y"], ["log", None]), "L021"),
    "body beyond the list": (changed(body=3), "L021"),
    "body is negative": (changed(body=-1), "L021"),
    "body is a text": (changed(body="2"), "L021"),
    "another argument": (nodes(["arg", "x"]), "L304"),
    "argument is a number": (nodes(["arg", 0]), "L021"),
    "leaf without value": (nodes(["arg"]), "L021"),
    "leaf with two values": (nodes(["arg", "y", "f"]), "L021"),
    "parameter that is not declared": (nodes(["param", "delta"]), "L307"),
    "parameter name in a node": (nodes(["param", "os.system"]), "L304"),
    "coefficient is negative": (nodes(["coef", -1]), "L021"),
    "coefficient is a text": (nodes(["coef", "0"]), "L021"),
    "coefficient is true": (nodes(["coef", True]), "L021"),
    "constant is a number": (nodes(["const", 2]), "L021"),
    "constant is a formula": (nodes(["const", "1+1"]), "L008"),
    "constant is nan": (nodes(["const", "nan"]), "L008"),
    "constant divides by zero": (nodes(["const", "1/0"]), "L008"),
    "constant of 41 digits": (nodes(["const", "1" * 41]), "L105"),
    "constant is a bomb": (nodes(["const", "1e999999999"]), "L105"),
    "constant of 10,000 digits": (nodes(["const", "1" * 10_000]), "L008"),
    "constant in other digits": (nodes(["const", "٣"]), "L008"),
    "condition as a loss": (nodes(["arg", "y"], ["arg", "f"], ["lt", 0, 1]), "L303"),
    "condition as a number": (nodes(["arg", "y"], ["arg", "f"], ["lt", 0, 1], ["log", 2]), "L303"),
    "number as a condition": (nodes(["arg", "y"], ["where", 0, 0, 0]), "L303"),
    "50,001 nodes": (nodes(*[["arg", "y"]] * 50_001), "L112"),
    "a tree beyond memory": (doubling(100), "L112"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input(name: str) -> None:
    """Each is refused with this code, within a second, whether it comes as text or as a mapping."""
    given_, code = WRONG[name]
    begin = time.perf_counter()
    with pytest.raises(LosscError) as caught:
        from_json(given_)
    assert caught.value.diagnostic.code == code
    assert len(str(caught.value)) < 500
    assert time.perf_counter() - begin < 1
    if isinstance(given_, dict) and all(isinstance(key, str) for key in given_):
        with pytest.raises(LosscError):
            from_json(json.dumps(given_))


def test_the_good_one_is_good() -> None:
    """What the wrong inputs differ from is accepted, so that each is refused for its own fault."""
    assert from_json(GOOD) == Loss(Y - F, "a")
    assert from_json(nodes(["arg", "y"], ["const", "2"], ["pow", 0, 1])).body is Y**TWO


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 5) | st.sampled_from(["arg", "y", "const", "1/2", "sub", "real", ""]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*GOOD, "role"]), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=500)
@given(st.sampled_from([*GOOD]), VALUES)
def test_any_value_in_any_place(key: str, value: Any) -> None:
    """One part replaced by any JSON value: a loss comes out that can be written again, or a LosscError."""
    try:
        loss = from_json(changed(**{key: value}))
    except LosscError:
        return
    assert from_json(to_json(loss)) == loss


NODE = st.lists(st.sampled_from(["arg", "y", "f", "const", "1", "sub", "where", "lt", 0, 1, 2, -1]), max_size=4)


@settings(max_examples=500)
@given(st.lists(NODE))
def test_any_list_of_nodes(items: list[list[Any]]) -> None:
    """The same for lists that look like nodes."""
    try:
        loss = from_json(nodes(*items) | {"body": max(0, len(items) - 1)})
    except LosscError:
        return
    assert from_json(to_json(loss)) == loss
