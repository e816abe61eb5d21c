"""The pickles of CIFAR, read without running anything: the only place of lossc that reads a pickle.

A pickle is a program that may call whatever it names. Here it may name numpy's arrays and types and nothing else, and
even those are stand-ins of ours that keep what they are given, from which an array of bytes is made afterwards. Another
name, a persistent id or a registered extension is refused, and nothing has run by then.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from lossc.runtime.data.files import damaged, reading, whole

MOST = 1 << 28
"""Bytes of a file: the largest of CIFAR has 154 million."""


class _Array:
    """What `numpy.ndarray` becomes: shape, type and bytes, unchecked."""

    shape: Any = ()
    kind: Any = None
    fortran: Any = False
    content: Any = b""

    def __setstate__(self, state: Any) -> None:
        _, self.shape, self.kind, self.fortran, self.content = state

    def bytes_array(self) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        """The array, if it is one of bytes; ValueError otherwise."""
        content = bytes(self.content) if isinstance(self.content, bytearray) else self.content
        sizes = self.shape if isinstance(self.shape, tuple) and all(type(n) is int for n in self.shape) else ()
        fits = isinstance(content, bytes) and min(sizes, default=-1) >= 0 and prod(sizes) == len(content)
        if not fits or self.fortran or not isinstance(self.kind, _Type) or self.kind.name not in ("u1", b"u1"):
            raise ValueError("it holds an array that is not one of bytes, row by row")
        return np.frombuffer(bytearray(content), np.uint8).reshape(sizes)


class _Type:
    """What `numpy.dtype` becomes: the name of a type."""

    def __init__(self, name: Any = None, *_: Any) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        """Byte order and the like mean nothing for bytes."""


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _from_buffer(content: Any, kind: Any, shape: Any, order: Any) -> _Array:
    """How numpy writes arrays since protocol 5."""
    found = _Array()
    found.__setstate__((1, shape, kind, order != "C", content))
    return found


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """How Python 3 writes bytes into a pickle for Python 2."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("it holds text that is not bytes")
    return text.encode("latin-1")


class _Fixed:
    """A function that a pickle may call, and cannot change."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call

    def __call__(self, *args: Any) -> Any:
        return self.call(*args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it changes a function, which no CIFAR file does")


_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("numpy.core.multiarray", "_reconstruct"): _Fixed(_reconstruct),
    ("numpy._core.multiarray", "_reconstruct"): _Fixed(_reconstruct),
    ("numpy.core.numeric", "_frombuffer"): _Fixed(_from_buffer),
    ("numpy._core.numeric", "_frombuffer"): _Fixed(_from_buffer),
    ("_codecs", "encode"): _Fixed(_encode),
}


class _Reader(pickle._Unpickler):  # type: ignore[misc, name-defined, unused-ignore]
    """An unpickler that knows the names above. It is the one written in Python: that in C takes as much memory as a
    number in the file says."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name."""
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no CIFAR file does") from None

    def persistent_load(self, pid: Any) -> Any:
        """Never."""
        raise pickle.UnpicklingError("it holds a persistent id, which no CIFAR file does")


def read_batch(path: Path) -> dict[bytes, Any]:
    """The dictionary of a CIFAR pickle, of Python 2 or 3: its arrays are of bytes, its keys are bytes.

    Raises UsageError (L227) for a file that is no pickle, is damaged, or names what no CIFAR file names.
    """
    content = whole(path, MOST)
    with reading(path):
        found = _Reader(BytesIO(content), encoding="bytes").load()
        if not isinstance(found, dict):
            raise damaged(path, f"it holds a {type(found).__name__}", "a dictionary")
        plain = {k.encode() if isinstance(k, str) else k: v for k, v in found.items()}
        return {k: v.bytes_array() if isinstance(v, _Array) else v for k, v in plain.items()}
