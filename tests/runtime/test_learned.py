"""Learned losses as files: definitions, networks as JSON and as standalone PyTorch."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import lossc
from lossc.compiler.errors import UsageError
from lossc.compiler.targets.neural import NeuralSpec, value
from lossc.runtime.compiled import load_file
from lossc.runtime.meta.learned import from_json, learned_text, to_json
from lossc.runtime.meta.mlp import ADALFL, ML3, NeuralLoss
from lossc.runtime.meta.symbolic import Symbolic
from lossc.runtime.meta.taylor import taylor, taylor_loss

SHAPES = {
    "ml3": ML3,
    "classes": replace(ML3, inputs="softmax"),
    "adalfl": replace(ADALFL, inputs="softmax"),
    "biased": replace(ADALFL, bias=True, inputs="sigmoid", hidden=(7,), output="identity"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_emitted_network_is_the_network(shape: str, tmp_path: Path) -> None:
    """The file tests itself, and as a module gives the representation's own values, in each reduction."""
    family = NeuralLoss(SHAPES[shape])
    phi = family.initial(3) + 0.01
    path = tmp_path / "net.py"
    path.write_text(family.emit(phi, "my_net", 'a """quoted""" \\ text'))
    count = 4 if SHAPES[shape].inputs == "softmax" else 1
    f = torch.randn(9, count).double()
    y = torch.randint(count, (9,)) if count > 1 else torch.rand(9, 1).double()

    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False)
    made = load_file(path)

    assert (done.returncode, done.stderr) == (0, "")
    want = float(family.plain(f, family.encode(y, f), phi))
    assert float(made()(f, y)) == pytest.approx(want, rel=1e-12)
    assert float(made(reduction="sum")(f, y)) == pytest.approx(9 * want, rel=1e-12)
    assert made(reduction="none")(f, y).shape == (9,)
    assert path.read_text() == family.emit(phi, "my_net", 'a """quoted""" \\ text')


def test_a_broken_weight_is_noticed(tmp_path: Path) -> None:
    """The self-test compares with values that were computed without torch: it fails if a weight changes."""
    source = NeuralLoss(replace(ML3, hidden=(2,))).emit(torch.ones(6).double(), "net")
    path = tmp_path / "net.py"
    path.write_text(source.replace("[1.0, 1.0]", "[1.0, 1.5]", 1))

    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False)

    assert done.returncode == 1 and "should be" in done.stderr


def test_oracle_of_the_self_test() -> None:
    """Python's own evaluation of a small network, by hand."""
    spec = NeuralSpec([([[1.0, -2.0], [0.5, 0.5]], []), ([[3.0, -1.0]], [0.25])], "relu", "identity", "scores", "sum")

    assert value(spec, 3.0, 1.0) == 3 * 1.0 - 2.0 + 0.25


@pytest.mark.parametrize("family", [NeuralLoss(SHAPES["adalfl"]), taylor("taylor3"), Symbolic(lossc.parse("abs(y-f)"))])
def test_json_round_trip_is_exact(family: NeuralLoss) -> None:
    """What is written is read back to the bit, as the same representation."""
    phi = family.initial(1)

    again, read = from_json(to_json(family, phi))

    assert torch.equal(read, phi) and again.settings() == family.settings()


@pytest.mark.parametrize(
    "change",
    [
        {"phi": [1.0]}, {"phi": ["x"]}, {"phi": [True] * 2650}, {"phi": None}, {"lossc_network": 2},
        {"representation": "pickle"}, {"hidden": [10**9]}, {"hidden": []}, {"activation": "eval"}, {"hidden": "50"},
        {"phi": [1e999] * 2650},
    ],
    ids=str,
)  # fmt: skip
def test_forged_networks_are_refused(change: dict[str, object]) -> None:
    """Untrusted input: wrong lengths, types, sizes and names are errors with a code, never a traceback."""
    record = json.loads(to_json(NeuralLoss(), NeuralLoss().initial(0)))

    with pytest.raises(UsageError) as caught:
        from_json(json.dumps({**record, **change}))
    assert caught.value.diagnostic.code in ("L254", "L250")


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 5000, '{"lossc_network": 1}'])
def test_texts_that_are_no_network(text: str) -> None:
    """Anything else is L254."""
    with pytest.raises(UsageError) as caught:
        from_json(text)
    assert caught.value.diagnostic.code == "L254"


def test_a_formula_is_written_as_a_definition() -> None:
    """A learned symbolic loss is a `.loss` text that parses to the very function."""
    family = Symbolic(lossc.parse("abs(log(y*f + eps))", y="onehot", f="prob"), output="softplus")
    phi = family.initial(2)

    text = learned_text(family, phi, "learned", "learned somewhere", "thesis")

    again = lossc.parse(text)
    assert again.body is family.fold(phi).body and (again.y, again.f) == ("onehot", "prob")


@pytest.mark.parametrize("order", [2, 3])
def test_taylor_polynomial_by_differences(order: int) -> None:
    """It is a polynomial in f of the given order around θ_1, whose every coefficient moves the slope in f."""
    family = taylor(f"taylor{order}", start="zero")
    phi = torch.linspace(0.3, 1.7, family.size).double()
    f, y = torch.randn(8, 1).double(), torch.randn(8, 1).double()
    c = phi.tolist()
    a, b = y - c[0], f - c[1]
    if order == 2:
        want = -(c[2] * b + c[3] / 2 * b**2 + c[4] * a * b)
    else:
        want = -(
            c[2] * b + c[3] / 2 * b**2 + c[4] / 6 * b**3 + c[5] * a * b + c[6] / 2 * a * b**2 + c[7] / 2 * a**2 * b
        )

    assert float(family.plain(f, y, phi)) == pytest.approx(float(want.mean()), rel=1e-12)
    assert family.size == {2: 5, 3: 8}[order]
    assert bool((family.second(f, y, torch.ones_like(f), phi)[1] != 0).all())
    assert taylor_loss(order).source


@pytest.mark.parametrize("name", ["taylor2", "taylor3"])
def test_taylor_starts_at_the_squared_error(name: str) -> None:
    """Around its start the slope is that of (y - f)², to the size of the noise."""
    family = taylor(name)
    f, y = torch.randn(30, 1).double(), torch.randn(30, 1).double()

    slope = family.value_and_slope(f, y, family.initial(0))[1]

    torch.testing.assert_close(slope, 2 * (f - y) / 30, rtol=0, atol=2e-3)
    assert float(family.value_and_slope(f, y, taylor(name, start="zero").initial(0))[1].abs().max()) == 0.0
