"""The bytes of an ONNX model: the few messages of onnx.proto3 that a loss needs, in the format of Protocol Buffers.

A message is its fields in the order of their numbers, each a key (number and wire type) and a value: a varint, four
bytes, or a length and bytes. That is all, so no package is needed to write a model, and the same graph gives the same
bytes; the tests read them back with `onnx` and compare. Field numbers: onnx/onnx.proto3, https://github.com/onnx/onnx.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

FLOAT, INT64, BOOL, DOUBLE = 1, 7, 9, 11
"""Element types: TensorProto.DataType."""

_VARINT, _BYTES, _FIXED32 = 0, 2, 5
_ATTRIBUTE_FLOAT, _ATTRIBUTE_INT = 1, 2
_PACK = {FLOAT: "<f", DOUBLE: "<d", INT64: "<q", BOOL: "<?"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """An initialiser: its name, element type, shape (`()` for a scalar) and numbers in row-major order."""

    name: str
    kind: int
    shape: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """An input or output: its name, element type, and the size of each axis, as a number or as a symbol."""

    name: str
    kind: int
    shape: tuple[int | str, ...]
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """One operation: operator, names of inputs and outputs, attributes (whole numbers or floats)."""

    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, int | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A graph with its opset, what it says of itself, and who wrote it."""

    name: str
    doc: str
    nodes: Sequence[Node]
    initializers: Sequence[Tensor]
    inputs: Sequence[Value]
    outputs: Sequence[Value]
    opset: int
    ir_version: int
    producer: str
    version: str
    metadata: Mapping[str, str]

    def serialize(self) -> bytes:
        """The file: a ModelProto."""
        return b"".join([
            _integer(1, self.ir_version), _text(2, self.producer), _text(3, self.version), _text(6, self.doc),
            _message(7, self._graph()),
            _message(8, _text(1, "") + _integer(2, self.opset)),
            *(_message(14, _text(1, key) + _text(2, value)) for key, value in self.metadata.items()),
        ])  # fmt: skip

    def _graph(self) -> bytes:
        return b"".join([
            *(_message(1, _node(n, i)) for i, n in enumerate(self.nodes)),
            _text(2, self.name),
            *(_message(5, _tensor(t)) for t in self.initializers),
            _text(10, self.doc),
            *(_message(11, _value(v)) for v in self.inputs),
            *(_message(12, _value(v)) for v in self.outputs),
        ])  # fmt: skip


def _node(n: Node, index: int) -> bytes:
    return b"".join([
        *(_text(1, name) for name in n.inputs), _text(2, n.output), _text(3, f"{n.op}_{index}"), _text(4, n.op),
        *(_message(5, _attribute(name, value)) for name, value in n.attributes.items()),
    ])  # fmt: skip


def _attribute(name: str, value: float) -> bytes:
    if isinstance(value, int):
        return _text(1, name) + _integer(3, value) + _integer(20, _ATTRIBUTE_INT)
    return _text(1, name) + _key(2, _FIXED32) + struct.pack("<f", value) + _integer(20, _ATTRIBUTE_FLOAT)


def _tensor(t: Tensor) -> bytes:
    numbers = [int(v) for v in t.values] if t.kind in (INT64, BOOL) else t.values
    raw = b"".join(struct.pack(_PACK[t.kind], v) for v in numbers)
    dims = _bytes(1, b"".join(_varint(d) for d in t.shape)) if t.shape else b""
    return dims + _integer(2, t.kind) + _text(8, t.name) + _bytes(9, raw)


def _value(v: Value) -> bytes:
    axes = [_message(1, _integer(1, a) if isinstance(a, int) else _text(2, a)) for a in v.shape]
    tensor = _integer(1, v.kind) + _message(2, b"".join(axes))
    return _text(1, v.name) + _message(2, _message(1, tensor)) + (_text(3, v.doc) if v.doc else b"")


# -- the wire format --------------------------------------------------------------------------------------------------


def _key(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


def _varint(n: int) -> bytes:
    """Seven bits a byte, the least first; negative numbers as 64-bit two's complement."""
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def _integer(number: int, n: int) -> bytes:
    return _key(number, _VARINT) + _varint(n)


def _bytes(number: int, held: bytes) -> bytes:
    return _key(number, _BYTES) + _varint(len(held)) + held


def _text(number: int, held: str) -> bytes:
    return _bytes(number, held.encode("utf-8", "replace"))


_message = _bytes
