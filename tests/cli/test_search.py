"""`lossc search`, `resume`, `runs`, `best`, `report`, `transfer`: results, files, errors."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lossc.runtime.search.config import make_search_config
from tests.cli.support import Ran
from tests.cli.test_commands import OF_RUNS, examples

Run = Callable[..., Ran]
QUICK = ("--population", "4", "--generations", "2", "--fitness-steps", "5", "--meta-steps", "2")
FILE = """
preset = "quick"
population = 4
generations = 2
fitness_steps = 5
meta_steps = 2
test_seeds = 2
rerank = 2
rerank_steps = 10
seeds = ["mse"]

[task]
name = "diabetes"
batch_size = 16
"""
pytestmark = pytest.mark.usefixtures("short")


@pytest.fixture
def config(tmp_path: Path) -> str:
    """The file of a small search."""
    (tmp_path / "s.toml").write_text(FILE)
    return str(tmp_path / "s.toml")


def test_search_finds_and_writes_a_loss(lossc: Run, tmp_path: Path, config: str) -> None:
    """The best loss is a definition that compiles and trains; everything about the run can be asked for afterwards."""
    best, folder = str(tmp_path / "best.loss"), tmp_path / "r"
    ran = lossc("search", "--config", config, "--run", str(folder), "-o", best)

    assert ran.code == 0, ran.err
    assert "losses by evomal (preset quick)" in ran.out and "formula" in ran.out
    assert "the found loss" in ran.out and "random search" in ran.out and "mse" in ran.out
    assert "generation 2 of 2" in ran.err
    assert lossc("compile", best, "-o", str(tmp_path / "best.py")).code == 0
    assert lossc("train", best, "--steps", "2").code == 0
    kept = {"front.csv", "hall_of_fame.json", "config.json", "journal.jsonl", "best.loss", "best.py", "report.html"}
    assert kept | {"final.json", "index.sqlite"} <= {p.name for p in folder.iterdir()}

    again = lossc("resume", str(folder), "--json", "--quiet")
    first = json.loads(again.out)["result"]["best"][0]
    assert first["formula"] in ran.out and not json.loads(again.out)["result"]["stopped"]
    shown = lossc("best", str(folder), "-n", "1")
    assert shown.code == 0 and first["formula"] in shown.out
    assert lossc("best", str(folder), "--front", "--json").code == 0
    second = str(tmp_path / "first.loss")
    assert lossc("best", str(folder), "--rank", "1", "-o", second).code == 0
    assert Path(second).read_text() == Path(best).read_text() == (folder / "best.loss").read_text()
    listed = lossc("runs", str(tmp_path))
    assert str(folder) in listed.out and "finished" in listed.out
    page = lossc("report", str(folder), "-o", str(tmp_path / "page.html"))
    assert page.code == 0 and (tmp_path / "page.html").read_bytes() == (folder / "report.html").read_bytes()
    moved = lossc("transfer", str(folder), "--task", "sine", "--seeds", "2", "--steps", "3", "--top", "2")
    assert moved.code == 0 and "found on diabetes" in moved.out and "found 2" in moved.out
    wrong = lossc("transfer", str(folder), "--task", "digits")
    assert wrong.code == 2 and "L222" in wrong.err


def test_every_example_of_the_help_runs(lossc: Run, config: str) -> None:
    """One after the other, on a search in runs/a; those that need a data folder say so."""
    assert lossc("search", "--config", config, "--run", "runs/a", "--quiet").code == 0
    shutil.copytree("runs/a", "runs/diabetes-evomal-1")
    for name in sorted(OF_RUNS):
        for line in examples(name):
            if name == "transfer":
                line = line.replace("california", "sine") + " --steps 2"
            ran = lossc(*shlex.split(line, comments=True)[1:])
            if "/data/runs" in line or "fashion-mnist" in line:
                assert ran.code == 2 and "Traceback" not in ran.err, line
            else:
                assert ran.code == 0 and (ran.out or " -o " in line), line


def test_search_in_json(lossc: Run, tmp_path: Path) -> None:
    """Counts, settings and the best losses are in the object; classes work with bare formulas; runs/ is the default."""
    (tmp_path / "few.toml").write_text("test_seeds = 2\nrerank_steps = 60\n")
    few = ("--config", "few.toml")
    ran = lossc(
        "search", "--task", "digits", *few, *QUICK, "--seed-losses", "-y*log(f + eps)", "--no-control", "--json"
    )

    result = json.loads(ran.out)["result"]
    assert sum(result["counts"].values()) == result["committed"] >= 8 and result["control"] is None
    assert result["settings"]["seeds"] == ["-y*log(f + eps)"]
    assert result["run"] == "runs/digits-evomal-1" and Path(result["run"], "report.html").exists()
    assert "runs/digits-evomal-1" in lossc("runs").out


def test_a_model_that_fails_is_named(lossc: Run, tmp_path: Path) -> None:
    """If every loss fails, the commonest reason is said."""
    (tmp_path / "t.py").write_text(
        "import torch\nfrom lossc.runtime.tasks import make_task\n"
        "def model():\n    raise ValueError('boom')\n"
        "task = make_task('mine', torch.randn(40, 3), torch.randn(40), model=model)\n"
    )
    ran = lossc("search", "--task", "t.py:task", *QUICK, "--no-control", "--run", "r")
    assert "ValueError: boom" in ran.out + ran.err and "passed the filters" not in ran.out


def test_options_go_before_the_file(lossc: Run, tmp_path: Path, config: str) -> None:
    """And the file before the preset."""
    ran = lossc(
        "search", "--config", config, "--generations", "1", "--no-control", "--run", str(tmp_path / "r"), "--json"
    )

    settings = json.loads(ran.out)["result"]["settings"]
    assert (settings["generations"], settings["population"], settings["control"]) == (1, 4, False)
    assert json.loads((tmp_path / "r" / "config.json").read_text())["config"]["task"]["batch_size"] == 16


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("--ops", "add,lgo"), 2, "L270"),
        (("--ops", "tanh"), 2, "two arguments"),
        (("--method", "magic"), 2, "method"),
        (("--preset", "fast"), 2, "L255"),
        (("--population", "1"), 2, "population"),
        (("--workers", "0"), 2, "--workers"),
        (("--memory", "0"), 2, "--memory"),
        (("--engine", "magic"), 2, "serial, processes, dask"),
        (("--resume",), 2, "--run"),
        (("--seed-losses", "y - g"), 1, "L308"),
        (("--seed-losses", "huber"), 2, "hyper-parameters"),
        (("--task", "nowhere"), 2, "L221"),
        (("--config", "nowhere.toml"), 2, "L230"),
        (("--deadline", "3"), 2, "--workers"),
    ],
)
def test_errors_help(lossc: Run, args: tuple[str, ...], code: int, says: str, tmp_path: Path) -> None:
    """Wrong calls are said to be, before anything is searched."""
    ran = lossc("search", *args)
    assert ran.code == code and says in ran.err and "Traceback" not in ran.err
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("populaton = 4", "did you mean `population`?"),
        ("workers = true", "of type int"),
        ("[task]\nnam = 'x'", "task.name"),
        ("task = 3", "neither"),
        ("population = ", "no TOML"),
        ("population = 'many'", "population"),
        ("low = 5", "low is 5 and high is 4"),
    ],
)
def test_wrong_files_are_said_to_be(lossc: Run, tmp_path: Path, text: str, says: str) -> None:
    """With the setting that is meant."""
    (tmp_path / "bad.toml").write_text(text)
    ran = lossc("search", "--config", str(tmp_path / "bad.toml"))
    assert ran.code == 2 and "L255" in ran.err and says in ran.err


@pytest.mark.parametrize(
    "fame", ['{"best": null}', '{"best": ["x"]}', '{"best": [{"fitness": "x"}]}', "[", '{"best": 5}']
)
def test_a_damaged_table_hides_no_run(lossc: Run, tmp_path: Path, fame: str) -> None:
    """The run is listed, without a best loss."""
    about = {"roles": ["real", "real"], "name": "diabetes"}
    settings = make_search_config("quick").model_dump(mode="json")
    (tmp_path / "runs" / "a").mkdir(parents=True)
    record = {"config": {"kind": "search", "task": None, "about": about, "settings": settings}}
    (tmp_path / "runs" / "a" / "config.json").write_text(json.dumps(record))
    (tmp_path / "runs" / "a" / "hall_of_fame.json").write_text(fame)
    ran = lossc("runs")
    assert ran.code == 0 and "runs/a" in ran.out and "interrupted" in ran.out


def test_commands_on_what_is_no_run(lossc: Run, tmp_path: Path) -> None:
    """All say that there is none."""
    for args in (("resume",), ("best",), ("report",), ("transfer", "--task", "sine")):
        ran = lossc(args[0], str(tmp_path), *args[1:])
        assert ran.code == 2 and "L256" in ran.err and "Traceback" not in ran.err
    assert lossc("runs", str(tmp_path / "nowhere")).code == 2
    assert "no searches" in lossc("runs", str(tmp_path)).out
