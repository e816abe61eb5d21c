"""`lossc optimize` and `lossc adapt`: results, files, errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.support import Ran

Run = Callable[..., Ran]
QUICK = ("--steps", "3", "--no-evaluate")


def test_optimize_writes_a_loss_that_compiles_and_trains(lossc: Run, tmp_path: Path) -> None:
    """The learned loss is a definition; compile, show and train take it."""
    learned = str(tmp_path / "learned.loss")
    ran = lossc("optimize", "sqrt(abs(y - f))", "--steps", "4", "--train-steps", "5", "-o", learned)

    assert ran.code == 0, ran.err
    assert ran.out.startswith("learned ") and "before" in ran.out and "mse" in ran.out
    assert lossc("compile", learned, "-o", str(tmp_path / "learned.py")).code == 0
    assert "learned" in lossc("show", learned).out
    assert lossc("train", learned, "--steps", "3").code == 0
    again = lossc("optimize", learned, *QUICK, "--json")
    assert again.code == 0 and json.loads(again.out)["ok"]


def test_a_network_goes_through_the_whole_chain(lossc: Run, tmp_path: Path) -> None:
    """ML3's network is JSON: it compiles to a file that tests itself, and learning goes on from it."""
    net = str(tmp_path / "net.json")
    assert lossc("optimize", "--representation", "mlp", *QUICK, "-o", net).code == 0
    ran = lossc("compile", net, "-o", str(tmp_path / "net.py"))
    assert ran.code == 0, ran.err
    assert lossc("train", str(tmp_path / "net.py"), "--steps", "3").code == 0
    assert lossc("train", net, "--steps", "3").code == 0
    shown = lossc("show", net)
    assert shown.code == 2 and "no formula" in shown.err
    assert lossc("optimize", net, *QUICK).code == 0
    refused = lossc("compile", net, "--y", "real")
    assert refused.code == 2 and "L235" in refused.err


def test_json_holds_everything(lossc: Run) -> None:
    """Coefficients, settings, measured meta-loss and comparison are in the object."""
    ran = lossc("optimize", "(y - f)^2", "--steps", "3", "--train-steps", "3", "--json")

    result = json.loads(ran.out)["result"]
    assert len(result["coefficients"]) == 4 and result["settings"]["meta_steps"] == 3
    assert set(result["meta_loss"]) == {"before", "after"}
    assert [r["name"] for r in result["comparison"][0]["rows"]] == ["mse", "before", "learned"]


def test_taylor_and_cma(lossc: Run) -> None:
    """A polynomial by gradients and by CMA-ES; the formula is printed."""
    for more in ((), ("--optimizer", "cma", "--population", "4", "--fitness-steps", "3")):
        ran = lossc("optimize", "--representation", "taylor3", "--steps", "2", "--no-evaluate", *more)
        assert ran.code == 0, ran.err
        assert "(1/6)" in ran.out


def test_bare_formulas_on_classes(lossc: Run) -> None:
    """On a classification task a bare formula is one of y: onehot, f: prob, said aloud."""
    ran = lossc("optimize", "abs(log(y*f + eps))", "--task", "digits", *QUICK, "--inner-steps", "2")

    assert ran.code == 0 and "assuming --y onehot --f prob" in ran.err
    assert "engine reversible" in ran.out


def test_adapt_compares_and_draws(lossc: Run, tmp_path: Path) -> None:
    """Methods beside each other, and the figure."""
    picture = tmp_path / "a.png"
    ran = lossc(
        "adapt", "--init-steps", "2", "--steps", "4", "--methods", "adalfl,ml3,meta-lr,baseline", "--seeds", "2",
        "-o", str(picture),
    )  # fmt: skip

    assert ran.code == 0, ran.err
    assert [line.split()[0] for line in ran.out.splitlines()[3:7]] == ["adalfl", "ml3", "meta-lr", "baseline"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_adapt_in_a_folder_resumes(lossc: Run, tmp_path: Path) -> None:
    """A finished run that is resumed gives the same result without a step."""
    call = ("adapt", "--init-steps", "2", "--steps", "4", "--run", str(tmp_path / "r"), "--json")
    one, two = lossc(*call), lossc(*call, "--resume")

    results = [json.loads(r.out)["result"]["methods"][0] for r in (one, two)]
    assert results[0]["test"] == results[1]["test"]


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("optimize",), 2, "no LOSS"),
        (("optimize", "abs(y - f)", "--representation", "mlp"), 2, "needs no LOSS"),
        (("optimize", "abs(y - f)", "--resume"), 2, "--run"),
        (("optimize", "abs(y - f)", "--preset", "paper"), 2, "L255"),
        (("optimize", "abs(y - f)", "--engine", "warp"), 2, "L253"),
        (("optimize", "abs(y - f)", "--steps", "0"), 2, "meta_steps"),
        (("optimize", "abs(y - f)", "--task", "nowhere"), 2, "L221"),
        (("optimize", "abs(y - f", *QUICK), 1, "L004"),
        (("optimize", "y^2", *QUICK), 1, "L320"),
        (("optimize", "log(-1 - (y - f)^2)", *QUICK), 1, "L322"),
        (("optimize", "focal", *QUICK), 2, "L222"),
        (("optimize", "--representation", "mlp", "--optimizer", "cma", *QUICK), 2, "at most 500"),
        (("adapt", "--methods", "magic"), 2, "magic"),
        (("adapt", "--representation", "symbolic"), 2, "no LOSS"),
        (("adapt", "-o", "a.txt"), 2, "L260"),
        (("adapt", "--init-steps", "-3"), 2, "init_steps"),
    ],
)
def test_errors_help(lossc: Run, args: tuple[str, ...], code: int, says: str) -> None:
    """Wrong calls and wrong losses: an exit code, a code, and what was wrong; never a traceback."""
    ran = lossc(*args)
    assert ran.code == code and says in ran.err and "Traceback" not in ran.err


def test_momentum_and_single_steps_are_noted(lossc: Run) -> None:
    """With momentum and one inner step a note says what that means; without either there is none."""
    assert "momentum of 0.9" in lossc("optimize", "(y - f)^2", "--task", "digits", *QUICK).err
    for more in (("--momentum", "0"), ("--inner-steps", "2")):
        assert "momentum of" not in lossc("optimize", "(y - f)^2", "--task", "digits", *QUICK, *more).err
