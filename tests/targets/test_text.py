"""The text targets in what reads them: parity on all named losses, and the grammars of other people.

`make test-targets` runs these; what is not installed is skipped. Julia is in no package index, so its
files are read by `julia_text.py` and, where tree-sitter is, by its grammar of Julia.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from lossc.compiler.errors import LosscError
from lossc.compiler.targets import emit
from lossc.grammar.library import named, names
from tests.targets.cases import named_case, random_case, seeds
from tests.targets.parity import compare

pytestmark = pytest.mark.skipif(os.environ.get("LOSSC_TARGETS") != "all", reason="make test-targets runs it")

RANDOM = seeds(10)


@pytest.mark.parametrize("target", ["sympy", "fpcore", "julia", "pysr"])
def test_parity(target: str, tmp_path: Path) -> None:
    """Values, gradients and second derivatives within 4 ulp, and what the formula itself loses."""
    compared = 0
    dtypes = ("float64",) if target == "sympy" else ("float64", "float32")  # SymPy computes with any number of digits
    for case in [*(named_case(n) for n in names()), *(random_case(i) for i in RANDOM)]:
        for dtype in dtypes:
            try:
                found = compare(target, case, dtype, tmp_path)
            except LosscError as problem:
                assert problem.diagnostic.code == "L345", (target, case.loss.name, problem)
                continue
            assert found.share <= 1, (target, case.loss.name, dtype, found)
            compared += 1
    assert compared >= 70, compared


def test_julia_reads_as_julia() -> None:
    """Every file is without a syntax error to the grammar of Julia that editors use."""
    sitter, grammar = pytest.importorskip("tree_sitter"), pytest.importorskip("tree_sitter_julia")
    parser = sitter.Parser(sitter.Language(grammar.language()))
    for target in ("julia", "pysr"):
        files = [text for n in names() if (text := _emitted(n, target))]
        assert len(files) > 30
        for text in files:
            assert not parser.parse(text.encode()).root_node.has_error, text


def test_fpcore_reads_as_fpcore() -> None:
    """Every file is FPCore to the parser of Titanic, and to the grammar of tree-sitter."""
    parser = pytest.importorskip("titanfp.fpbench.fpcparser")
    sitter, grammar = pytest.importorskip("tree_sitter"), pytest.importorskip("tree_sitter_fpcore")
    second = sitter.Parser(sitter.Language(grammar.language()))
    for n in names():
        text = _emitted(n, "fpcore")
        cores = parser.compile(text)
        assert len(cores) >= 3 and cores[0].spec is not None, n
        assert not second.parse(text.encode()).root_node.has_error, text


def _emitted(name: str, target: str) -> Any:
    try:
        return emit(named(name), target)
    except LosscError:
        return ""
