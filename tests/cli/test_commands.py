"""The commands: every example of every --help runs, results agree with the library, in text and in JSON."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lossc.cli.app import COMMANDS, EPILOG, command
from lossc.cli.commands import list as list_command
from lossc.compiler.codes import CODES
from lossc.compiler.ir import const
from lossc.compiler.loss import Loss
from lossc.compiler.passes.simplify import simplify
from lossc.grammar import parse, parse_losses
from lossc.grammar.library import named, named_losses
from tests.cli.support import Ran, environment, example, process

Run = Callable[..., Ran]
SLOW = {
    "train", "demo", "optimize", "adapt", "search", "landscape", "lr-sweep", "representations", "curves", "runtime",
    "plot",
}  # fmt: skip
OF_RUNS = {"resume", "runs", "best", "report", "transfer"}
"""Their examples need a search: tests/cli/test_search.py has one."""
"""Commands that load torch or draw: their examples run in the tests of their own."""


def examples(name: str) -> list[str]:
    """The example lines of a command's module."""
    module = __import__(f"lossc.cli.commands.{name.replace('-', '_')}", fromlist=["EXAMPLES"])
    return list(module.EXAMPLES)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_teaches_by_example(lossc: Run, name: str) -> None:
    """Each command's help shows its examples, whole, and each example calls a command of lossc."""
    ran = lossc(name, "--help")
    assert ran.code == 0
    assert "\nExamples:\n" in ran.out.replace("  Examples:", "Examples:")
    for line in examples(name):
        assert f"  {line}\n" in ran.out
        assert "lossc " in line
    assert command(name).get_short_help_str(80)
    assert COMMANDS[name] in lossc("--help").out


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in SLOW | OF_RUNS])
def test_every_example_of_the_help_runs(lossc: Run, tmp_path: Path, name: str) -> None:
    """The examples of a help are run one after the other, as a reader would; each succeeds without a complaint."""
    for line in examples(name):
        ran = example(line, lossc, tmp_path)
        assert (ran.code, ran.err) == (0, ""), line
        assert ran.out or " -o " in line or " > " in line, line


def test_the_examples_of_the_front_page_run(tmp_path: Path) -> None:
    """So do those of `lossc --help` that need no training."""
    lines = [line.strip() for line in EPILOG.splitlines() if line.strip().startswith("lossc ")]
    assert len(lines) >= 3
    for line in lines:
        if " train " not in line:
            assert process(shlex.split(line)[1:], cwd=tmp_path).code == 0, line


# -- compile ----------------------------------------------------------------------------------------------------------


def test_compile_writes_what_emit_gives(lossc: Run, tmp_path: Path) -> None:
    """The file, standard output and the JSON field are `Loss.emit`, to the byte."""
    source = parse("(y - f)^2", name="mse").emit("torch")
    assert lossc("compile", "(y - f)^2", "--name", "mse", "-o", "mse.py") == Ran(0, "", "")
    assert (tmp_path / "mse.py").read_text() == source
    assert lossc("compile", "(y - f)^2", "--name", "mse").out == source
    assert lossc("compile", "(y - f)^2", "--name", "mse", "-o", "-").out == source
    record = lossc("compile", "(y - f)^2", "--name", "mse", "--json").json["result"]
    assert (record["text"], record["target"], record["name"]) == (source, "torch", "mse")
    written = lossc("compile", "(y - f)^2", "--name", "mse", "--json", "-o", "other.py").json["result"]
    assert written["output"] == "other.py"
    assert "text" not in written


def test_compile_options_reach_the_loss(lossc: Run) -> None:
    """Roles, name, hyper-parameters and defaults of the options are those of the emitted loss."""
    given = ["--y", "onehot", "--f", "prob", "--name", "ace", "--param", "s:positive=2"]
    expected = parse("s*abs(log(sqrt(y*f) + eps))", name="ace", y="onehot", f="prob", params={"s": 2})
    expected = Loss(
        expected.body, "ace", "onehot", "prob", (expected.params[0].__class__("s", "positive", const(2).number),)
    )
    assert lossc("compile", "s*abs(log(sqrt(y*f) + eps))", *given).out == expected.emit("torch")
    assert lossc("compile", "pseudo_huber", "--set", "delta=2").out == named("pseudo_huber").with_defaults(
        delta=2
    ).emit("torch")


def test_compile_refuses_early_and_keeps_files(lossc: Run, tmp_path: Path) -> None:
    """An output that exists is refused, kept, and replaced with --force; a folder that is not there leaves nothing."""
    (tmp_path / "a.py").write_text("mine")
    refused = lossc("compile", "y - f", "-o", "a.py")
    assert (refused.code, (tmp_path / "a.py").read_text()) == (2, "mine")
    assert "--force" in refused.err
    assert lossc("compile", "y - f", "-o", "a.py", "--force").code == 0
    assert (tmp_path / "a.py").read_text() != "mine"
    assert lossc("compile", "y - f", "-o", "a.py/b.py", "--force").code == 2
    assert lossc("compile", "y - f", "-o", "no/b.py").code == 2
    assert lossc("compile", "y +", "-o", "bad.py").code == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.py"]


def test_compile_two_at_once(tmp_path: Path) -> None:
    """Two processes that write one new file: one succeeds, the other is told, and the file is whole."""
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "lossc", "compile", formula, "-o", "a.py"],
            cwd=tmp_path, env=environment(), stderr=subprocess.PIPE,
        )
        for formula in ("(y - f)^2", "abs(y - f)")
    ]  # fmt: skip
    errors = [child.communicate(timeout=60)[1] for child in running]
    assert sorted(child.returncode for child in running) == [0, 2]
    winner = "(y - f)^2" if running[0].returncode == 0 else "abs(y - f)"
    assert (tmp_path / "a.py").read_text() == parse(winner).emit("torch")
    assert b"error[L234]" in b"".join(errors)
    assert [p.name for p in tmp_path.iterdir()] == ["a.py"]


def test_compile_shows_its_passes(lossc: Run, tmp_path: Path) -> None:
    """--show-passes prints the formula after each pass, first as written; with -o the file is written too."""
    ran = lossc("compile", "0*y + (f - y)^2*1", "--show-passes", "-o", "a.py")
    lines = ran.out.splitlines()
    assert lines[0].split(maxsplit=1) == ["written", "0*y + (f - y)^2*1"]
    assert lines[1].split(maxsplit=1) == ["canonical", str(parse("(f - y)^2").canonicalize())]
    assert (tmp_path / "a.py").exists()
    record = lossc("compile", "0*y + (f - y)^2*1", "--show-passes", "--json").json["result"]
    assert [p["pass"] for p in record["passes"]][:2] == ["written", "canonical"]
    assert record["passes"][0]["nodes"] > record["passes"][1]["nodes"]


def test_compile_with_sympy_simplifies_first(lossc: Run) -> None:
    """--sympy emits the simplified loss; without, the canonical form of what was written."""
    formula = "(sin(y)^2 + cos(y)^2)*(y - f)^2"
    assert lossc("compile", formula, "--sympy").out == parse(formula).simplify().emit("torch")
    assert "torch.sin" not in lossc("compile", formula, "--sympy").out
    assert "torch.sin" in lossc("compile", formula).out


# -- simplify, show, grad ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "formula", ["log(exp(y)*exp(f)) + 0*y + (f - y) - f", "y^2 - 2*y*f + f^2", "abs(log(sqrt(y*f) + eps))"]
)
def test_simplify_is_the_librarys(lossc: Run, formula: str) -> None:
    """The command prints what `simplify` finds; --no-sympy the canonical one; --explain the report."""
    loss = parse(formula)
    assert lossc("simplify", formula, "-q").out == f"{loss.simplify()}\n"
    assert lossc("simplify", formula, "-q", "--no-sympy").out == f"{loss.simplify(sympy=False)}\n"
    assert lossc("simplify", formula, "-q", "--explain").out == simplify(loss).explain() + "\n"
    record = lossc("simplify", formula, "--json").json["result"]
    assert (record["input"], record["formula"]) == (str(loss), str(loss.simplify()))
    assert record["cost"]["after"]["work"] <= record["cost"]["before"]["work"]
    assert all(set(s) == {"origin", "before", "after", "accepted", "reason"} for s in record["steps"])


def test_simplified_definition_round_trips_through_files(lossc: Run, tmp_path: Path) -> None:
    """`simplify -o a.loss` writes a definition that reads back as the simplified loss; -o a.json its JSON form."""
    assert lossc("simplify", "pseudo_huber", "-o", "a.loss").code == 0
    assert parse_losses((tmp_path / "a.loss").read_text()) == [named("pseudo_huber").simplify()]
    assert lossc("simplify", "pseudo_huber", "-o", "a.json").code == 0
    assert Loss.from_json((tmp_path / "a.json").read_text()) == named("pseudo_huber").simplify()
    assert lossc("show", "a.loss", "--format", "text").out == lossc("show", "a.json", "--format", "text").out


@pytest.mark.parametrize("form", ["text", "tree", "latex", "json", "deap", "source", "definition", "grad"])
def test_every_format_of_every_named_loss(lossc: Run, form: str) -> None:
    """Each form of some losses of every kind prints, ends in one newline, and its JSON field is the same text."""
    for name in ("mse", "pseudo_huber", "evomal_a", "cross_entropy"):
        ran = lossc("show", name, "--format", form)
        assert (ran.code, ran.err) == (0, "")
        assert ran.out.endswith("\n")
        assert not ran.out.endswith("\n\n")
        assert lossc("show", name, "--format", form, "--json").json["result"]["text"] == ran.out


def test_forms_that_can_be_read_back_are(lossc: Run, tmp_path: Path) -> None:
    """text, definition, json and deap of a loss are that loss again when given back to the command line."""
    loss = named("pseudo_huber")
    for form, suffix in (("definition", ".loss"), ("json", ".json")):
        assert lossc("show", "pseudo_huber", "--format", form, "-o", f"a{suffix}").code == 0
        assert lossc("show", f"a{suffix}", "--json").json["result"]["definition"] == loss.definition()
    for form in ("text", "deap"):
        text = lossc("show", "pseudo_huber", "--format", form).out.strip()
        assert parse(text, params={"delta": 1}).body is loss.body


def test_the_overview_has_the_facts(lossc: Run) -> None:
    """`show LOSS`: header, formula, meaning, source, gradient; as JSON the same and more."""
    out = lossc("show", "pseudo_huber").out
    loss = named("pseudo_huber")
    for part in ("pseudo_huber(y: real, f: real; delta: positive = 1)", str(loss), loss.source, str(loss.grad("f"))):
        assert part in out
    record = lossc("show", "pseudo_huber", "--json").json["result"]
    assert record["params"] == [{"name": "delta", "role": "positive", "default": 1.0}]
    assert record["gradient"] == str(loss.grad("f"))
    assert (record["layout"], record["link"], record["y"], record["f"]) == ("elementwise", "identity", "real", "real")


@pytest.mark.parametrize(("wrt", "order"), [("f", 1), ("f", 2), ("y", 1), ("delta", 1)])
def test_grad_is_the_librarys(lossc: Run, wrt: str, order: int) -> None:
    """The derivative with respect to f, y and hyper-parameters, first and second."""
    expected = named("pseudo_huber").grad(wrt, order=order)
    ran = lossc("grad", "pseudo_huber", "--wrt", wrt, "--order", str(order))
    assert (ran.code, ran.out) == (0, f"{expected}\n")
    record = lossc("grad", "pseudo_huber", "--wrt", wrt, "--order", str(order), "--json").json["result"]
    assert (record["formula"], record["wrt"], record["order"]) == (str(expected), wrt, order)


# -- list, explain ----------------------------------------------------------------------------------------------------


def test_list_has_every_named_loss_with_its_source(lossc: Run) -> None:
    """In a pipe: a line each, of name, formula, roles and source; as JSON the facts."""
    lines = [line.split("\t") for line in lossc("list").out.splitlines()]
    losses = named_losses()
    assert lines[0] == ["name", "formula", "roles", "source"]
    assert [line[0] for line in lines[1:]] == list(losses)
    assert [line[1] for line in lines[1:]] == [str(loss) for loss in losses.values()]
    assert all(line[3] for line in lines[1:])
    record = lossc("list", "--json").json["result"]
    assert record["count"] == len(losses) == len(record["losses"])
    assert [one["name"] for one in record["losses"]] == list(losses)


def test_list_filters(lossc: Run) -> None:
    """A text keeps the losses that hold it anywhere; one that no loss holds gives nothing, and is no failure."""
    found = {line.split("\t")[0] for line in lossc("list", "HUBER").out.splitlines()[1:]}
    assert found == {name for name, loss in named_losses().items() if list_command.matches(loss, "huber")}
    assert "pseudo_huber" in found
    assert "mse" not in found
    assert lossc("list", "no such loss at all") == Ran(0, "", "")


def test_explain_knows_every_code(lossc: Run) -> None:
    """Every code, in any case, with or without brackets; without a code the list of all."""
    for code, meaning in CODES.items():
        assert lossc("explain", code).out == f"{code}: {meaning}\n"
    assert lossc("explain", "l101").out == lossc("explain", "[L101]").out == lossc("explain", "L101").out
    assert [line.split("\t")[0] for line in lossc("explain").out.splitlines()[1:]] == sorted(CODES)
    assert json.loads(lossc("explain", "--json").out)["result"]["codes"] == CODES


def test_every_code_of_the_command_line_is_explained(lossc: Run) -> None:
    """The code of every error that these calls end in can be explained."""
    for args in (
        ["shwo"],
        ["show", "x.loss"],
        ["show", "psuedo_huber"],
        ["show", "y", "--set", "a"],
        ["show", "y", "-o", "/"],
    ):
        code = lossc(*args, "--json").json["error"]["code"]
        assert lossc("explain", code).code == 0
