"""`lossc export` and `lossc targets`: files, refusals, the report, and the tables of docs/targets.md."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lossc.compiler.targets import BUILT_IN, Target, emit
from lossc.grammar.library import named
from lossc.runtime import exports
from tests.cli.support import Ran

Run = Callable[..., Ran]
PAGE = (Path(__file__).parents[2] / "docs" / "targets.md").read_text("utf-8")


def test_a_file_is_that_of_the_library(lossc: Run, tmp_path: Path) -> None:
    """Printed or written, with all options passed on; not over a file unless told to; tested if asked for."""
    assert lossc("export", "mse", "--to", "numpy").out == emit(named("mse"), "numpy")
    path = tmp_path / "loss.py"
    ran = lossc("export", "mse", "--to", "numpy", "-o", str(path), "--check", "--json").json["result"]
    assert ran["check"]["status"] == "passed" and path.read_text() == emit(named("mse"), "numpy")
    assert lossc("export", "mse", "--to", "numpy", "-o", str(path)).code == 2
    probabilities = lossc("export", "bce", "--to", "numpy", "--from-probabilities").out
    assert probabilities != emit(named("bce"), "numpy") and ast.parse(probabilities)


def test_options_of_a_target(lossc: Run, tmp_path: Path) -> None:
    """They reach the emitter; with all targets, those that have them. `lossc targets` lists them."""
    ran = lossc("export", "huber", "--to", "latex", "--option", "gradient=yes", "--option", "environment=align")
    assert ran.out.rstrip("\n") == emit(named("huber"), "latex", gradient=True, environment="align")
    args = ("--no-check", "--option", "classes=4", "--option", "selftest=no")
    assert lossc("export", "focal", "--to", "all", "-o", str(tmp_path / "out"), *args).code == 0
    assert (tmp_path / "out" / "focal_fpcore.fpcore").read_text() == emit(named("focal"), "fpcore", classes=4)
    assert (tmp_path / "out" / "focal_numpy.py").read_text() == emit(named("focal"), "numpy", selftest=False)
    listed = {one["name"]: one["options"] for one in lossc("targets", "--json").json["result"]["targets"]}
    assert {o["name"]: o["values"] for o in listed["fpcore"]} == {"classes": "a whole number"}


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("mse", "--to", "jaxx"), "L240"),
        (("mse", "--to", "all"), "L235"),
        (("mse", "--to", "onnx"), "L235"),
        (("mse", "--to", "latex", "--eps", "add"), "L245"),
        (("mse", "--to", "numpy", "--check"), "L235"),
        (("mse", "--to", "numpy", "-o", "/nowhere/loss.py"), "L233"),
        (("mse", "--to", "all", "-o", "/proc/none"), "L233"),
        (("phi[0]*(y - f)^2", "--to", "numpy"), "L341"),
        (("mse", "--to", "numpy", "--option", "rank=2"), "L245"),
        (("mse", "--to", "latex", "--option", "gradient"), "L235"),
    ],
)
def test_what_cannot_be_is_an_error(lossc: Run, args: tuple[str, ...], code: str) -> None:
    """A code and an exit code, and no file."""
    ran = lossc("export", *args, "--json")
    assert ran.code in (1, 2) and ran.json["error"]["code"] == code


def test_all_targets_into_a_folder(lossc: Run, tmp_path: Path) -> None:
    """Each target is emitted or refused with a reason; the report has a line for each; a second run needs --force."""
    ran = lossc("export", "pseudo_huber", "--to", "all", "-o", str(tmp_path / "out"), "--no-check", "--json")
    found = {one["target"]: one for one in ran.json["result"]["targets"]}
    assert found.keys() == BUILT_IN.keys()
    assert all(one["status"] == "emitted" for one in found.values()), found
    report = (tmp_path / "out" / "report.md").read_text()
    assert all(f"| {name} | emitted | " in report for name in BUILT_IN)
    assert {one["file"] for one in found.values()} < set(os.listdir(tmp_path / "out"))
    assert lossc("export", "mse", "--to", "all", "-o", str(tmp_path / "out"), "--no-check").code == 2


def test_a_target_that_cannot_says_why(tmp_path: Path) -> None:
    """A loss on the class axis is refused where there is none, with a code; no target fails in another way."""
    status = {one.target.name: one for one in exports.exported(named("focal"))}
    assert status["pysr"].status == "refused" and re.match(r"L\d+: ", status["pysr"].said)
    assert not [one.target.name for one in status.values() if one.status == "broken"]


def test_a_self_test_that_fails_or_hangs_is_a_line_of_the_report(tmp_path: Path) -> None:
    """A wrong number, a loop without end, a library that is not there."""
    for source, limit, status, said in (
        ("raise SystemExit('off by 1')", 30, "failed", "off by 1"),
        ("while True: pass", 0.3, "failed", "stopped after 0.3 s"),
    ):
        target = Target(name="t", title="", suffix=".py", emit=lambda loss, s=source: s, check=("{python}", "{file}"))
        path = tmp_path / exports.file_name(named("mse"), target)
        path.write_text(source)
        (one,) = [o for o in exports.exported(named("mse")) if o.target.name == "numpy"]
        found = exports.tested(type(one)(target, path.name, b"x", "emitted"), path, limit)
        assert (found.status, found.said) == (status, said)
    away = Target(name="t", title="", suffix=".py", emit="", library=("no_such_library", "It"), check=("{python}",))
    assert exports.tested(type(one)(away, "x", b"x", "emitted"), path).said == "It is not installed"


def test_the_page_has_the_tables_of_today(lossc: Run) -> None:
    """docs/targets.md holds what `lossc targets --markdown` prints, and the plug-in that is tested."""
    tables = PAGE.split("<!-- begin tables -->\n")[1].split("<!-- end tables -->")[0]
    assert tables == lossc("targets", "--markdown").out
    data = lossc("targets", "--json").json["result"]
    assert data["operators"]["softplus"]["c"] == "fallback"
    assert (Path(__file__).parents[1] / "targets/plugin/lossc_example.py").read_text("utf-8") in PAGE
