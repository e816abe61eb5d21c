"""The argument LOSS: files, names, formulas and standard input are told apart, and each failure says what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lossc.cli.given import Given, assignments, declared
from lossc.cli.inputs import is_formula, read_loss
from lossc.compiler.errors import LosscError, UsageError, Warnings
from lossc.grammar import parse
from lossc.grammar.library import named, named_losses, names
from tests.cli.support import Ran

Run = Callable[..., Ran]

TWO = """loss first(y: real, f: real):
    (y - f)^2

loss second(y: real, f: real; delta: positive = 1.0):
    delta*abs(y - f)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(text: str, **given: object) -> object:
    """The loss of an argument LOSS with options."""
    return read_loss(text, Given(**given), Warnings())  # type: ignore[arg-type]


def error(text: str, **given: object) -> LosscError:
    """What reading complains about."""
    with pytest.raises(LosscError) as caught:
        read(text, **given)
    return caught.value


def test_a_formula_is_what_the_grammar_reads() -> None:
    """A formula on the command line is the loss that `parse` makes of it."""
    assert read("(y - f)^2") == parse("(y - f)^2")
    assert read("  (y - f)^2") == parse("(y - f)^2")
    options = {"y": "onehot", "f": "prob", "name": "ace"}
    assert read("abs(log(sqrt(y*f) + eps))", **options) == parse("abs(log(sqrt(y*f) + eps))", **options)


@pytest.mark.parametrize("text", ["y", "f", "pi", "e", "eps", "y_true", "pred", "C"])
def test_lone_names_of_the_language_are_formulas(text: str) -> None:
    """`y`, `f` and the constants alone are formulas, not names of losses."""
    assert read(text).body is parse(text).body  # type: ignore[attr-defined]


def test_every_named_loss_is_found_by_its_name() -> None:
    """The library's index (made without parsing) has the names that parsing finds, and each resolves to its loss."""
    losses = named_losses()
    assert tuple(losses) == names()
    assert len(losses) >= 30
    for name, loss in losses.items():
        assert loss.name == name
        assert named(name) is loss
        assert not is_formula(name)


def test_unknown_name_suggests_the_nearest() -> None:
    """A misspelt name is the call's fault, with the name that was meant."""
    problem = error("psuedo_huber")
    assert isinstance(problem, UsageError)
    assert problem.diagnostic.code == "L231"
    assert "`pseudo_huber`" in problem.diagnostic.hint


def test_a_declared_name_is_a_formula() -> None:
    """A lone name that --param declares is the hyper-parameter."""
    assert read("delta", params=["delta=2"]).body is parse("delta", params={"delta": 2}).body  # type: ignore[attr-defined]


def test_files_win_over_formulas(folder: Path) -> None:
    """A .loss file is read; its name does not matter, only its suffix."""
    (folder / "my-odd name (1).loss").write_text("loss mine(y: real, f: real):\n    (y - f)^4\n")
    loss = read("my-odd name (1).loss")
    assert (loss.name, str(loss)) == ("mine", "(y - f)^4")  # type: ignore[attr-defined]


def test_bare_formula_in_a_file_has_the_files_name_and_takes_options(folder: Path) -> None:
    """A file that holds only a formula is a loss of its name; roles and hyper-parameters come from options."""
    (folder / "huberish.loss").write_text("delta*abs(y - f)\n")
    loss = read("huberish.loss", params=["delta:positive=3"], f="positive")
    assert loss == parse("delta*abs(y - f)", name="huberish", f="positive", params=declared(["delta:positive=3"]))


def test_json_file_is_the_loss_that_was_written(folder: Path) -> None:
    """A .json file of `to_json` is the same loss again."""
    (folder / "ph.json").write_text(named("pseudo_huber").to_json())
    assert read("ph.json") == named("pseudo_huber")


def test_several_definitions_need_a_choice(folder: Path) -> None:
    """`file:name` and --name choose; without, the error lists what there is."""
    (folder / "two.loss").write_text(TWO)
    assert read("two.loss:second") == read("two.loss", name="second")
    assert read("two.loss:second", name="other").name == "other"  # type: ignore[attr-defined]
    none, wrong = error("two.loss"), error("two.loss:secnod")
    assert none.diagnostic.code == wrong.diagnostic.code == "L232"
    assert none.diagnostic.expected == "one of: first, second"
    assert "two.loss:first" in none.diagnostic.hint
    assert "second" in wrong.diagnostic.hint


@pytest.mark.parametrize("text", ["nothing.loss", "no/such/file.loss:name", "no.json", "none.py", "dir.loss"])
def test_missing_files_are_said_to_be_missing(folder: Path, text: str) -> None:
    """What can only be a file is not parsed as a formula."""
    (folder / "dir.loss").mkdir()
    assert error(text).diagnostic.code == "L230"


def test_missing_file_suggests_the_nearest(folder: Path) -> None:
    """A slip in a file's name is met with the file that is there."""
    (folder / "huber.loss").write_text("abs(y - f)")
    assert "huber.loss" in error("hubr.loss").diagnostic.hint


def test_python_is_refused_where_a_formula_is_wanted(folder: Path) -> None:
    """Only train takes Python files."""
    (folder / "a.py").write_text("x = 1")
    assert error("a.py").diagnostic.code == "L237"


def test_bytes_that_are_no_text(folder: Path) -> None:
    """A binary file is an error with a code, not a traceback."""
    (folder / "a.loss").write_bytes(b"\xff\xfe\x00y - f")
    (folder / "a.json").write_bytes(b"\xff{}")
    (folder / "b.json").write_bytes(b"[" * 2_000_000)
    for name in ("a.loss", "a.json", "b.json"):
        assert error(name).diagnostic.code in ("L212", "L230", "L002")


def test_options_change_definitions(folder: Path) -> None:
    """Roles, name and defaults of a named loss and of a definition can be changed by options."""
    loss = read("pseudo_huber", sets=["delta=1/3"], name="ph", y="positive")
    assert (loss.name, loss.y, str(loss.params[0].default)) == ("ph", "positive", "1/3")  # type: ignore[attr-defined]
    assert read("pseudo_huber", params=["delta=2"]) == read("pseudo_huber", sets=["delta=2"])


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"sets": ["delta"]}, "L236"),
        ({"sets": ["=2"]}, "L236"),
        ({"sets": ["delta=two"]}, "L202"),
        ({"sets": ["delta=-1"]}, "L202"),
        ({"sets": ["delta=1e999999999"]}, "L202"),
        ({"sets": ["delta=nan"]}, "L202"),
        ({"sets": ["gamma=1"]}, "L201"),
        ({"params": ["gamma=1"]}, "L201"),
        ({"y": "onhot"}, "L235"),
        ({"f": "count"}, "L235"),
        ({"name": "not a name"}, "L304"),
        ({"name": "y"}, "L309"),
        ({"dialect": "klingon"}, "L210"),
    ],
)
def test_bad_options_are_the_calls_fault(given: dict[str, object], code: str) -> None:
    """Each option that cannot be is a UsageError with its own code, quickly."""
    text = "pseudo_huber" if "dialect" not in given else "y - f"
    problem = error(text, **given)
    assert isinstance(problem, UsageError)
    assert problem.diagnostic.code == code


@pytest.mark.parametrize(
    "params", [["delta:postive=1"], ["2delta=1"], ["y=1"], ["delta=x"], ["delta:positive=-1"], [" "]]
)
def test_bad_declarations_are_the_calls_fault(params: list[str]) -> None:
    """A hyper-parameter that cannot be declared is a UsageError."""
    assert isinstance(error("delta*(y - f)^2", params=params), UsageError)


def test_values_are_exact() -> None:
    """Numbers of options are exact rationals, as in formulas."""
    assert {n: str(v) for n, v in assignments(["a=0.1", "b=1/3", "c=-1e-7"], "--set").items()} == {
        "a": "1/10",
        "b": "1/3",
        "c": "-1/10000000",
    }


@pytest.mark.parametrize("text", ["mse", "-", "loss a(y: real, f: real):\n    y - f", '{"lossc": 1}'])
def test_is_formula_knows_what_is_none(text: str) -> None:
    """Names, standard input, definitions and JSON are not bare formulas."""
    assert not is_formula(text)
    assert is_formula("y - f")


def test_a_formula_may_begin_with_a_minus(lossc: Run) -> None:
    """`-y*log(f)` is a formula, not a pile of options; so is anything after `--`."""
    assert lossc("show", "-y*log(f)", "--format", "text").out == "-y*log(f)\n"
    assert lossc("show", "--format", "text", "-(y - f)").out == "-(y - f)\n"
    assert lossc("show", "--format", "text", "--", "-y").out == "-y\n"
    assert lossc("show", "-y").code == 2


def test_warnings_name_what_is_missing(lossc: Run) -> None:
    """A loss without f is allowed, with a warning on standard error; --quiet silences it, --json carries it."""
    loud, quiet, record = lossc("simplify", "y^2"), lossc("simplify", "y^2", "-q"), lossc("simplify", "y^2", "--json")
    assert (loud.code, quiet.code, record.code) == (0, 0, 0)
    assert "warning[L330]" in loud.err
    assert "`f`" in loud.err
    assert loud.out == quiet.out == "y^2\n"
    assert quiet.err == record.err == ""
    assert [w["code"] for w in record.json["warnings"]] == ["L330"]
