"""`lossc sparsify`: text, derivation, JSON and files; and docs/sparsify.md, whose examples are what is printed."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lossc.compiler.passes.canonicalize import canonicalize
from lossc.compiler.passes.sparsify import sparsify
from lossc.grammar import parse_losses
from lossc.grammar.library import named
from tests.cli.support import Ran, environment

Run = Callable[..., Ran]
PAGE = (Path(__file__).parents[2] / "docs" / "sparsify.md").read_text("utf-8")
SHOWN = [
    (command, output)
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for command, output in re.findall(r"^\$ lossc (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
]


@pytest.mark.parametrize(("command", "output"), SHOWN, ids=[command for command, _ in SHOWN])
def test_the_page_shows_what_is_printed(lossc: Run, command: str, output: str) -> None:
    """Each example of docs/sparsify.md, to the byte."""
    assert len(SHOWN) == 4
    assert lossc(*shlex.split(command)) == Ran(0, output, "")


def test_result_is_that_of_the_library(lossc: Run) -> None:
    """The formula, the derivation and the JSON record are those of `sparsify`, with all options passed on."""
    found = sparsify(named("focal"), xi=0.2, focus="own")
    args = ("sparsify", "focal", "--xi", "0.2", "--focus", "own")
    assert lossc(*args) == Ran(0, f"{found.loss}\n", "")
    assert lossc(*args, "--explain") == Ran(0, f"{found.explain()}\n", "")
    assert lossc(*args, "--format", "definition").out == found.loss.definition()
    record = lossc(*args, "--json").json["result"]
    assert record["definition"] == found.loss.definition()
    assert (record["exact"], record["bound"], record["unchanged"]) == (False, found.bound, False)
    assert record["assumptions"] == list(found.assumptions)
    assert [step["equation"] for step in record["steps"]] == [step.equation for step in found.steps]
    assert "f_j" in record["redistributed"] and "f_t" in record["second_order"]
    assert lossc("sparsify", "focal", "--smooth", "--json").json["result"]["params"][-1]["default"] == 0.1
    assert lossc("sparsify", "mae_classes", "--json").json["result"]["exact"] is True
    assert lossc("sparsify", "ace_phi", "--smooth", "--json").json["result"]["second_order"] is None


def test_a_file_that_compiles_and_tests_itself(lossc: Run, tmp_path: Path) -> None:
    """-o writes a definition that `lossc compile` takes; the emitted file passes its self-test and is SparseLSR."""
    assert lossc("sparsify", "cross_entropy", "--smooth", "--name", "mine", "-o", "mine.loss") == Ran(0, "", "")
    (loss,) = parse_losses((tmp_path / "mine.loss").read_text())
    assert loss.name == "mine"
    assert canonicalize(loss).body is canonicalize(named("sparse_lsr")).body
    assert lossc("compile", "mine.loss", "-o", "mine.py").code == 0
    done = subprocess.run([sys.executable, "mine.py"], cwd=tmp_path, env=environment(), capture_output=True, check=True)
    assert done.stdout.startswith(b"ok: ")
    refused = lossc("sparsify", "cross_entropy", "--smooth", "-o", "mine.loss")
    assert (refused.code, "L234" in refused.err) == (2, True)


def test_nothing_to_redistribute_is_said(lossc: Run) -> None:
    """A warning with what to do; the loss is printed as it is. None where targets were smoothed, or when quiet."""
    ran = lossc("sparsify", "focal")
    assert (ran.code, ran.out) == (0, f"{named('focal')}\n")
    assert "warning[L334]" in ran.err and "target-only already: nothing to redistribute" in ran.err
    assert "--smooth" in ran.err
    assert lossc("sparsify", "focal", "-q").err == ""
    record = lossc("sparsify", "focal", "--json").json
    assert [w["code"] for w in record["warnings"]] == ["L334"]
    assert record["result"]["unchanged"] is True


@pytest.mark.parametrize(
    ("args", "exit_code", "code"),
    [
        (["mse"], 1, "L321"),
        (["max_c(f)*y", "--y", "onehot", "--f", "prob"], 1, "L321"),
        (["bce", "--smooth"], 1, "L321"),
        (["focal", "--xi", "2"], 2, "L202"),
        (["focal", "--xi", "nan"], 2, "L202"),
        (["focal", "--xi", ""], 2, "L202"),
        (["focal", "--focus", "mine"], 2, "L235"),
        (["no_such_loss"], 2, "L231"),
        (["focal", "--smooth", "-o", "no/folder.loss"], 2, "L233"),
    ],
    ids=str,
)
def test_complaints(lossc: Run, args: list[str], exit_code: int, code: str) -> None:
    """What is wrong has a code, says whose fault it is, and is no traceback."""
    ran = lossc("sparsify", *args)
    assert (ran.code, ran.out) == (exit_code, "")
    assert f"error[{code}]" in ran.err
    assert lossc("sparsify", *args, "--json").json["error"]["code"] == code
