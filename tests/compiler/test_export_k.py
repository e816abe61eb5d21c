"""ONNX, Keras, TensorFlow and the boosters without their libraries: same bytes, imports, options, errors."""

from __future__ import annotations

import ast
import re
import struct

import pytest

from lossc.compiler.errors import LossTypeError, UsageError
from lossc.compiler.ops.forms import keras as keras_forms
from lossc.compiler.ops.forms import onnx as onnx_forms
from lossc.compiler.ops.forms import tensorflow as tensorflow_forms
from lossc.compiler.targets import emit, target_of
from lossc.compiler.targets.boosting.policy import choose, in_scores
from lossc.compiler.targets.derivatives import roots
from lossc.compiler.targets.onnx.proto import FLOAT, INT64, Model, Node, Tensor, Value
from lossc.grammar.library import named

PYTHON = {
    "xgboost": {"numpy", "math", "collections.abc", "dataclasses", "typing"},
    "lightgbm": {"numpy", "math", "collections.abc", "dataclasses", "typing"},
    "catboost": {"numpy", "math", "collections.abc", "dataclasses", "typing"},
    "keras": {"keras", "__future__"},
    "tensorflow": {"tensorflow", "collections.abc", "__future__"},
}


def imports(source: str) -> set[str]:
    """What a file imports, anywhere in it."""
    found: set[str] = set()
    for here in ast.walk(ast.parse(source)):
        if isinstance(here, ast.Import):
            found |= {a.name for a in here.names}
        elif isinstance(here, ast.ImportFrom):
            found.add(here.module or "")
    return found


@pytest.mark.parametrize("target", PYTHON)
@pytest.mark.parametrize("name", ["pseudo_huber", "cross_entropy"])
def test_python_files_import_their_library_alone(target: str, name: str) -> None:
    """And are the same to the byte when asked for again."""
    source = emit(named(name), target)
    assert isinstance(source, str) and imports(source) <= PYTHON[target]
    assert source == emit(named(name), target)
    assert all(len(line) <= 120 for line in source.splitlines())


def test_models_are_the_same_to_the_byte() -> None:
    """Two emissions, and another for another dtype."""
    loss = named("focal")
    assert emit(loss, "onnx") == emit(loss, "onnx") != emit(loss, "onnx", dtype="float64")


def test_the_wire_format_by_hand() -> None:
    """A model of one node, byte by byte: keys are number << 3 | wire type, lengths come before contents."""
    model = Model(
        name="g", doc="", nodes=[Node("Neg", ("x",), "y", {"k": -1})], initializers=[Tensor("c", FLOAT, (), (0.5,))],
        inputs=[Value("x", FLOAT, ("N",))], outputs=[Value("y", INT64, (300,))], opset=18, ir_version=8,
        producer="p", version="1", metadata={"a": "b"},
    ).serialize()  # fmt: skip
    attribute = b"\x0a\x01k" + b"\x18" + b"\xff" * 9 + b"\x01" + b"\xa0\x01\x02"
    node = (
        b"\x0a\x01x" + b"\x12\x01y" + b"\x1a\x05Neg_0" + b"\x22\x03Neg" + b"\x2a" + bytes([len(attribute)]) + attribute
    )
    tensor = b"\x10\x01" + b"\x42\x01c" + b"\x4a\x04" + struct.pack("<f", 0.5)
    given = b"\x0a\x01x" + b"\x12\x0b" + b"\x0a\x09" + b"\x08\x01" + b"\x12\x05" + b"\x0a\x03" + b"\x12\x01N"
    assert model[:8] == b"\x08\x08\x12\x01p\x1a\x011"
    assert bytes([0x0A, len(node)]) + node + b"\x12\x01g" in model
    assert b"\x2a" + bytes([len(tensor)]) + tensor in model
    assert given in model and b"\x08\xac\x02" in model  # 300 as a varint
    assert model.endswith(b"\x42\x04\x0a\x00\x10\x12" + b"\x72\x06\x0a\x01a\x12\x01b")


@pytest.mark.parametrize("forms", [onnx_forms.FORMS, keras_forms.FORMS, tensorflow_forms.FORMS])
def test_forms_are_calls_that_can_be_read(forms: dict[str, str]) -> None:
    """Every template is one expression."""
    for template in forms.values():
        ast.parse(re.sub(r"\{(\d)\}", r"x\1", template), mode="eval")


@pytest.mark.parametrize(
    ("options", "code"),
    [({"dtype": "float16"}, "L245"), ({"reduction": "average"}, "L241"), ({"parameters": "x"}, "L245"),
     ({"labels": True}, "L245"), ({"rank": 9}, "L245")],
)  # fmt: skip
def test_options_that_cannot_be(options: dict[str, object], code: str) -> None:
    """Are refused by name."""
    with pytest.raises(UsageError) as caught:
        emit(named("huber"), "onnx", **options)
    assert caught.value.diagnostic.code == code


def test_losses_that_cannot_be_expressed() -> None:
    """A clear error, and no code."""
    with pytest.raises(LossTypeError) as caught:
        emit(named("multilabel_soft_margin"), "xgboost")
    assert caught.value.diagnostic.code == "L346"


@pytest.mark.parametrize(
    ("name", "policy"), [("mse", "exact"), ("huber", "majoriser"), ("mae", "clip"), ("cauchy", "half-quadratic")]
)
def test_the_policy_follows_from_what_is_proved(name: str, policy: str) -> None:
    """And the file says so."""
    loss = named(name)
    assert choose(loss, roots(in_scores(loss), target_of("xgboost").key)).name == policy
    source = emit(loss, "xgboost")
    assert isinstance(source, str) and f"# {policy}: " in source
