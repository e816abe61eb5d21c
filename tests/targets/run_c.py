"""Runs emitted C headers: compiled to a shared library, warnings being errors, and called through ctypes."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path

import numpy as np

from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.targets.identifiers import function_name
from tests.targets.parity import Answer

FLAGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wfloat-conversion", "-Werror"]
TYPES = {"float64": (ctypes.c_double, ""), "float32": (ctypes.c_float, "f")}


def run(path: Path, loss: Loss, y: np.ndarray, f: np.ndarray) -> Answer:
    """Value, gradient and Hessian by the array function of the header."""
    name = function_name(loss.name)
    real, suffix = TYPES[str(f.dtype)]
    function = getattr(library(path, name), f"call{suffix}")
    function.restype = None
    value, gradient, hessian = np.empty(len(f), f.dtype), np.empty_like(f), np.empty_like(f)
    sizes = [ctypes.c_size_t(n) for n in f.shape]
    settings = [real(float(p.default or 0)) for p in loss.params]
    arrays = [a.ctypes.data_as(ctypes.POINTER(real)) for a in (y, f, value, gradient, hessian)]
    function(*sizes, *arrays[:2], *settings, *arrays[2:])
    assert (loss.layout == CLASSWISE) == (f.ndim == 2)
    return Answer(value, gradient, hessian)


def library(path: Path, name: str) -> ctypes.CDLL:
    """The header as a library, whose functions `call` and `callf` are those for arrays."""
    made = path.with_suffix(".so")
    if not made.exists():
        header = path.read_text(encoding="utf-8")
        source = [f'#include "{path.name}"']
        for suffix in ("", "f"):
            start = header.find(f"LOSSC_FN void {name}_array{suffix}(")
            if start < 0:
                continue
            head = header[start + len("LOSSC_FN ") : header.index("{", start)].strip()
            arguments = head[head.index("(") + 1 : -1]
            given = ", ".join(a.split()[-1].lstrip("*") for a in arguments.split(","))
            source.append(f"void call{suffix}({arguments});")
            source.append(f"void call{suffix}({arguments}) {{ {name}_array{suffix}({given}); }}")
        path.with_suffix(".c").write_text("\n".join(source) + "\n")
        compiler = os.environ.get("CC", "gcc")
        flags = ["-std=c99", "-O1", "-shared", "-fPIC", *FLAGS]
        subprocess.run(
            [compiler, *flags, path.with_suffix(".c").name, "-o", made.name, "-lm"], cwd=path.parent, check=True
        )
    return ctypes.CDLL(str(made))
