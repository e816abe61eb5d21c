"""How targets write the operators, one table a file: operator -> template over `{0}`, `{1}`, ...

A table belongs to one key of `OpRecord.lower`. It is merged into the records where `OPS` is built, so that all others
read it there. What a target has no form for it prints by means of others (`lossc.compiler.targets.fallback`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module

from lossc.compiler.ops.record import OpRecord

TABLES = ("numpy", "c", "jax", "onnx", "onnx_double", "keras", "tensorflow", "julia", "fpcore", "sympy")
"""The files of this folder. Each has `KEY`, the key of `OpRecord.lower`, and `FORMS`; a form goes before one that the
record itself has for the key."""


def with_forms(records: Mapping[str, OpRecord]) -> dict[str, OpRecord]:
    """The records with the forms of all tables. A form of an operator that does not exist is an AssertionError."""
    lower: dict[str, dict[str, str]] = {name: dict(record.lower) for name, record in records.items()}
    for table in TABLES:
        module = import_module(f"lossc.compiler.ops.forms.{table}")
        key: str = module.KEY
        forms: Mapping[str, str] = module.FORMS
        if unknown := forms.keys() - lower.keys():
            raise AssertionError(f"forms of unknown operators in {table}: {sorted(unknown)}")
        for name, template in forms.items():
            lower[name][key] = template
    return {name: replace(record, lower=lower[name]) for name, record in records.items()}
