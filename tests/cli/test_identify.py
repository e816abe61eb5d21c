"""`lossc identify`: text, JSON, duplicates and complaints; and docs/identify.md, whose examples are what is printed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from lossc.compiler.analysis.identify import identify
from lossc.grammar import parse
from lossc.grammar.library import named_losses
from tests.cli.support import Ran

Run = Callable[..., Ran]
PAGE = (Path(__file__).parents[2] / "docs" / "identify.md").read_text("utf-8")
SHOWN = [
    (command, output)
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for command, output in re.findall(r"^\$ lossc (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
]


@pytest.mark.parametrize(("command", "output"), SHOWN, ids=[command for command, _ in SHOWN])
def test_the_page_shows_what_is_printed(lossc: Run, command: str, output: str) -> None:
    """Each example of docs/identify.md, to the byte."""
    assert len(SHOWN) == 6
    assert lossc(*shlex.split(command)) == Ran(0, output, "")


def test_python_of_the_page_runs() -> None:
    """The Python block of docs/identify.md, run as it stands after `import lossc`."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(compile("import lossc\n" + block, "docs/identify.md", "exec"), names)  # noqa: S102
    assert names["found"].headline() == "pseudo_huber, delta = 1, exactly"  # type: ignore[attr-defined]


def test_json_is_that_of_the_library(lossc: Run) -> None:
    """The record is `Identity.as_json`, the time apart; several losses are a list with their arguments."""
    text = "2*sqrt(1 + (f - y)^2) + 0.5"
    record = lossc("identify", text, "--json").json["result"]
    expected = identify(parse(text), named_losses().values()).as_json()
    assert {**record, "seconds": 0} == {**expected, "seconds": 0}
    assert record["exact"]["name"] == "charbonnier" and record["exact"]["scale"] == {"value": 2.0, "exact": "2"}
    several = lossc("identify", "mse", text, "--json").json["result"]["losses"]
    assert [one["loss"] for one in several] == ["mse", text]
    assert several[1]["exact"] == record["exact"]


def test_roles_files_and_values_are_read_as_elsewhere(lossc: Run, tmp_path: Path) -> None:
    """--y, --f, --set and --param, names, and a definition in a file."""
    (tmp_path / "mine.loss").write_text("loss mine(y: onehot, f: prob; k: positive = 2):\n    -k*log(sum_c(y*f))\n")
    assert lossc("identify", "mine.loss").out.startswith("2*cross_entropy, exactly\n")
    assert lossc("identify", "mine.loss", "--set", "k=1").out.startswith("cross_entropy, exactly\n")
    assert lossc("identify", "huber", "--set", "delta=0.25").out.startswith("huber, delta = 0.25, exactly\n")
    given = lossc("identify", "sqrt(s^2 + (y - f)^2)", "--param", "s:positive=0.3")
    assert given.out.startswith("charbonnier, epsilon0 = 0.3, exactly\n")


def test_several_losses_and_duplicates(lossc: Run) -> None:
    """Each loss has its paragraph; --duplicates groups them, in text and in JSON."""
    assert [p.split("\n")[0] for p in lossc("identify", "mse", "mae").out.split("\n\n")] == [
        "mse: mse, exactly", "mae: mae, exactly"
    ]  # fmt: skip
    found = lossc("identify", "mse", "(f - y)^2", "huber", "--duplicates")
    assert found == Ran(0, "mse\n  (f - y)^2   the same, exactly\n3 losses, 2 different ones\n", "")
    record = lossc("identify", "mse", "l2", "huber", "--duplicates", "--json").json["result"]
    assert (record["count"], record["distinct"]) == (3, 2)
    assert [[m["relation"] for m in group] for group in record["groups"]] == [["", "affine"], [""]]
    assert record["groups"][0][1]["match"]["scale"]["exact"] == "0.5"


@pytest.mark.parametrize(
    ("args", "exit_code", "code"),
    [
        (["mse", "--duplicates"], 2, "L235"),
        (["mse", "--timeout", "0"], 2, "L235"),
        (["mse", "--timeout", "nan"], 2, "L235"),
        (["mse", "no_such_loss"], 2, "L231"),
        (["y -"], 1, "L006"),
        (["k*(y - f)^2", "--param", "k"], 2, "L242"),
        (["mse", "--y", "none"], 2, "L235"),
    ],
    ids=str,
)
def test_complaints(lossc: Run, args: list[str], exit_code: int, code: str) -> None:
    """What is wrong has a code, says whose fault it is, and is no traceback."""
    ran = lossc("identify", *args, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (exit_code, code)
    assert "Traceback" not in lossc("identify", *args).err
