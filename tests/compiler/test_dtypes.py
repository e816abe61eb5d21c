"""Constants and dtypes: what a format holds is what torch makes of it; a loss that loses a constant is refused."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lossc.compiler.analysis.dtypes import becomes, unfit_constants
from lossc.compiler.errors import LossTypeError, UsageError
from lossc.compiler.formats import FORMATS
from lossc.compiler.targets.options import Options
from lossc.compiler.targets.torch import emit
from lossc.grammar import parse
from lossc.grammar.library import named, names


@pytest.mark.parametrize("name", FORMATS)
def test_formats_are_those_of_torch(name: str) -> None:
    """The least and greatest numbers of each format are those that torch.finfo gives."""
    info, ours = torch.finfo(getattr(torch, name)), FORMATS[name]
    assert float(ours.largest) == info.max
    assert float(ours.normal) == info.smallest_normal
    assert float(ours.smallest) == info.smallest_normal * info.eps
    assert (ours.digits, ours.width) == (1 - math.log2(info.eps), info.bits)


EDGES = [m * 2.0**e for e in (-149, -133, -24, -25, -26, -14, 0, 15, 16, 127) for m in (0.5, 1.0, 1.0000001, 1.5, 1.99)]


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
@settings(max_examples=300)
@given(st.one_of(st.sampled_from(EDGES), st.floats(1e-50, 1e40), st.floats(0.99, 1.01)), st.sampled_from([-1, 1]))
@example(65519.0, 1)
@example(65520.0, -1)
@example(2.0**-25, 1)
@example(1 - 2.0**-12, 1)
@example(1 + 2.0**-9, -1)
def test_what_a_dtype_holds_is_what_torch_makes_of_it(name: str, size: float, sign: int) -> None:
    """A float64 number becomes 0, infinite or ±1 in torch's conversion exactly where the format says so."""
    number = sign * size
    near = float(torch.tensor(number, dtype=torch.float64).to(getattr(torch, name)))
    said = becomes(Fraction(number), FORMATS[name])
    expected = "0" if near == 0 else "infinite" if near in (float("inf"), -float("inf")) else ""
    if near in (1.0, -1.0) and number != near:
        expected = "1" if near > 0 else "-1"
    assert said == expected


@pytest.mark.parametrize(
    ("formula", "dtype", "constant", "lost"),
    [
        ("log(f + 1e-8)", "float16", "1e-8", "0"),
        ("log(f + 1e-50)", "float32", "1e-50", "0"),
        ("log(f + 1e-50)", "bfloat16", "1e-50", "0"),
        ("clamp(f, 1e-3, 1 - 1e-3)", "bfloat16", "1 - 0.001", "1"),
        ("clamp(f, 1e-8, 1 - 1e-8)", "float32", "1 - 1e-8", "1"),
        ("f*1e39", "float32", "1e39", "infinite"),
        ("f*70000", "float16", "70000", "infinite"),
        ("f + exp(-20)", "float16", "exp(-20)", "0"),
    ],
)
def test_a_constant_that_is_lost_is_refused(formula: str, dtype: str, constant: str, lost: str) -> None:
    """L342 says which constant, what becomes of it, where it stands, and what would fit; float64 takes them all."""
    loss = parse(formula, f="positive")
    with pytest.raises(LossTypeError, match=f"the constant `.*` is {lost} in {dtype}") as caught:
        emit(loss, options=Options(dtype=dtype))
    said = caught.value.diagnostic
    assert f"`{constant}`" in said.message
    assert said.span is not None and said.source is not None and "expected" in said.render()
    assert emit(loss, selftest=False, options=Options(dtype="float64"))


def test_hyper_parameters_and_hidden_epsilons_are_looked_at() -> None:
    """The default of a hyper-parameter counts; the ε = 1e-7 of a protected operator is found, and float16 holds it."""
    loss = parse("log(abs(f) + tiny)", params={"tiny": 1e-9})
    with pytest.raises(LossTypeError, match="`tiny = 1e-9` is 0 in float16"):
        emit(loss, options=Options(dtype="float16"))
    assert becomes(Fraction(1, 10**7), FORMATS["float16"]) == ""
    assert emit(parse("plog(f)"), selftest=False, options=Options(dtype="float16"))
    assert unfit_constants(parse("plog(f) + 1e-9"), dtype="float16")[0].text == "1e-9"


@pytest.mark.parametrize("name", names())
def test_named_losses_fit_float32(name: str) -> None:
    """No named loss loses a constant in float32, nor in bfloat16."""
    assert not unfit_constants(named(name), dtype="float32")
    assert not unfit_constants(named(name), dtype="bfloat16")


def test_an_unknown_dtype() -> None:
    """L245 lists the dtypes that there are."""
    with pytest.raises(UsageError, match=r"L245.*float8") as caught:
        Options(dtype="float8")
    assert "bfloat16" in str(caught.value)
