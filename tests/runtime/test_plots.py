"""Pictures: the curves are the closed forms, nothing is joined across a pole, and axes show what matters."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lossc.compiler.errors import LosscError
from lossc.compiler.loss import Loss
from lossc.grammar import parse
from lossc.grammar.library import named
from lossc.runtime.plots import PAGE, Picture, embedded, figure, picture
from lossc.runtime.plots.figure import as_file
from lossc.runtime.plots.fits import RATE, curve, fits, network, points
from lossc.runtime.plots.limits import padded, shared, span
from lossc.runtime.plots.names import symbol
from lossc.runtime.plots.style import DARK, LIGHT, look
from lossc.runtime.plots.surfaces import surfaces
from lossc.runtime.plots.thesis import FIGURES, thesis_figure

Function = Callable[[np.ndarray], np.ndarray]
XI, GAMMA, C = 0.2, 2.0, 10
LN = np.log


def softmax_of(z: np.ndarray) -> np.ndarray:
    """The probability of a score among nine zeros."""
    return 1 / (1 + 9 * np.exp(-z))


def values(made: Picture, panel: int, line: int, quantity: str) -> tuple[np.ndarray, np.ndarray]:
    """The points of a curve that have a value, a little away from the ends, where numbers are huge."""
    found = made.panels[panel].lines[line].series[quantity]
    low, high = made.panels[panel].shown
    inside = np.isfinite(found.values) & (found.x > low + 1e-3) & (found.x < high - 1e-3)
    return found.x[inside], found.values[inside]


# -- values -----------------------------------------------------------------------------------------------------------

CURVES: list[tuple[str, dict[str, float], int, str, Function]] = [
    ("focal", {}, 0, "loss", lambda f: -((1 - f) ** 2) * LN(f)),
    ("focal", {}, 0, "grad", lambda f: 2 * (1 - f) * LN(f) - (1 - f) ** 2 / f),
    ("focal", {}, 0, "hess", lambda f: -2 * LN(f) + 4 * (1 - f) / f + ((1 - f) / f) ** 2),
    ("focal", {}, 1, "grad", lambda f: 0 * f),
    ("label_smoothing", {"xi": XI}, 0, "loss", lambda f: -(1 - XI + XI / C) * LN(f)),
    ("label_smoothing", {"xi": XI}, 1, "loss", lambda f: -(XI / C) * LN(f)),
    ("label_smoothing", {"xi": XI}, 1, "grad", lambda f: -(XI / C) / f),
    ("sparse_lsr", {"xi": XI}, 0, "loss",
     lambda f: -((1 - XI + XI / C) * LN(f) + XI * (C - 1) / C * LN((1 - f) / (C - 1)))),
    ("sparse_lsr", {"xi": XI}, 0, "grad", lambda f: -((C * f + C * (XI - 1) - XI) / (C * f * (f - 1)))),
    ("sparse_lsr", {"xi": XI}, 1, "loss", lambda f: 0 * f),
    ("focal_sparse_lsr", {"gamma": GAMMA, "xi": XI}, 0, "loss",
     lambda f: -((1 - f) ** GAMMA * (1 - XI + XI / C) * LN(f) + f**GAMMA * XI * (C - 1) / C * LN((1 - f) / (C - 1)))),
    ("ace_phi", {"phi1": 1.25}, 0, "loss", lambda f: abs(LN(1.25 * f))),
    ("ace_phi", {"phi1": 1.25}, 0, "grad", lambda f: np.sign(f - 0.8) / f),
    ("bce", {}, 1, "grad", lambda f: 1 / (1 - f)),
    ("pseudo_huber", {"delta": 0.5}, 0, "loss", lambda r: 0.25 * (np.sqrt(1 + (r / 0.5) ** 2) - 1)),
    ("pseudo_huber", {"delta": 0.5}, 0, "hess", lambda r: (1 + (r / 0.5) ** 2) ** -1.5),
    ("geman_mcclure", {}, 0, "grad", lambda r: 2 * r / (1 + r**2) ** 2),
    ("squared_hinge", {}, 0, "grad", lambda m: np.where(m < 1, 2 * m - 2, 0.0)),
    ("cross_entropy_logits", {}, 0, "loss", lambda z: LN(np.exp(z) + 9) - z),
    ("cross_entropy_logits", {}, 0, "grad", lambda z: softmax_of(z) - 1),
    ("cross_entropy_logits", {}, 1, "loss", lambda z: LN(np.exp(z) + 9)),
    ("cross_entropy_logits", {}, 1, "grad", softmax_of),
    ("cross_entropy_logits", {}, 1, "hess", lambda z: softmax_of(z) * (1 - softmax_of(z))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "params", "panel", "quantity", "truth"), CURVES)
def test_curves_are_the_closed_forms(
    name: str, params: dict[str, float], panel: int, quantity: str, truth: Function
) -> None:
    """Every point of a curve is the formula of the thesis, or its derivative by hand, to nine digits."""
    made = picture(named(name), what=(quantity,), params={k: (v,) for k, v in params.items()})
    x, y = values(made, panel, 0, quantity)
    assert len(x) > 300
    np.testing.assert_allclose(y, truth(x), rtol=1e-9, atol=1e-9)


def test_targets_are_side_by_side() -> None:
    """Classes have a panel for the target and one for another class, over probabilities; signs have the margin, losses
    of y - f the residual, and any other loss of numbers a line for each of a few targets."""
    made = picture(named("focal"), what=("loss",))
    assert [p.title for p in made.panels] == ["target (y = 1)", "non-target (y = 0)"]
    assert made.panels[0].axis.label == "probability f" and made.panels[0].shown == (0.0, 1.0)
    assert [p.axis.label for p in picture(named("hinge"), what=("loss",)).panels] == ["margin y·f"]
    assert [p.axis.label for p in picture(named("mse"), what=("loss",)).panels] == ["residual f − y"]
    lines = picture(named("mse"), what=("loss",), targets=(0, 3)).panels[0].lines
    assert [line.label for line in lines] == ["y = 0", "y = 3"]
    np.testing.assert_allclose(lines[1].series["loss"].values, (lines[1].series["loss"].x - 3) ** 2, atol=1e-9)
    both = picture([named("mse"), named("evomal_g")], what=("loss",))
    assert [p.title for p in both.panels] == ["y = −1", "y = 0.5", "y = 2"]
    assert [line.label for line in both.panels[0].lines] == ["mse", "evomal_g"]


# -- breaks -----------------------------------------------------------------------------------------------------------

BREAKS: list[tuple[str, str, list[tuple[float, str]]]] = [
    ("abs(y - f)", "loss", [(0, "kink")]),
    ("abs(y - f)", "grad", [(0, "jump")]),
    ("abs(y - f)", "hess", []),
    ("where(abs(y - f) < 1, (y - f)^2/2, abs(y - f) - 1/2)", "loss", []),
    ("where(abs(y - f) < 1, (y - f)^2/2, abs(y - f) - 1/2)", "grad", [(-1, "kink"), (1, "kink")]),
    ("where(abs(y - f) < 1, (y - f)^2/2, abs(y - f) - 1/2)", "hess", [(-1, "jump"), (1, "jump")]),
    ("sqrt(abs(y - f))", "loss", [(0, "kink")]),
    ("sqrt(abs(y - f))", "grad", [(0, "pole")]),
    ("abs(y - f)^0.1", "loss", [(0, "kink")]),
    ("log(abs(y - f - 1))", "loss", [(-1, "pole")]),
    ("1/(y - f)", "loss", [(0, "pole")]),
    ("1/(y - f)^2", "loss", [(0, "pole")]),
    ("tan(y - f)", "loss", [(-math.pi / 2, "pole"), (math.pi / 2, "pole")]),
    ("log(y - f)", "loss", [(0, "edge")]),
    ("log(y - f)", "grad", [(0, "edge")]),
    ("sqrt(1 - (y - f)^2)", "loss", [(-1, "edge"), (1, "edge")]),
    ("sin(y - f)/(y - f)", "hess", []),
    ("log(1 + exp(y - f))", "hess", []),
    ("relu(y - f - 1/3)", "grad", [(-1 / 3, "jump")]),
]


@pytest.mark.parametrize(("formula", "quantity", "expected"), BREAKS)
def test_what_happens_where(formula: str, quantity: str, expected: list[tuple[float, str]]) -> None:
    """Kinks, jumps, poles and ends are found where they are, to nine digits; and nothing else is."""
    found = picture(parse(formula), what=(quantity,)).panels[0].lines[0].series[quantity].breaks
    assert [b.kind for b in found] == [kind for _, kind in expected]
    np.testing.assert_allclose([b.at for b in found], [at for at, _ in expected], atol=1e-9)


@pytest.mark.parametrize("formula", ["1/(y - f)", "tan(y - f)", "tan(30*(y - f))", "abs(y - f)/(y - f)", "1/(y - f)^3"])
def test_nothing_is_joined_across_a_pole_or_a_jump(formula: str) -> None:
    """No stroke goes from far below to far above: two points with NaN between are not joined."""
    series = picture(parse(formula), what=("loss",)).panels[0].lines[0].series["loss"]
    joined = np.isfinite(series.values[1:]) & np.isfinite(series.values[:-1])
    crossing = np.sign(series.values[1:]) * np.sign(series.values[:-1]) < 0
    rise = np.abs(np.diff(series.values))
    assert not np.any(joined & crossing & (rise > 1.5) & (np.diff(series.x) < 0.03))


def test_where_there_is_no_value_is_said() -> None:
    """log(y - f) has values for f < y only, and so has its gradient, whose formula goes on."""
    made = picture(parse("log(y - f)"), what=("loss", "grad"))
    for series in made.panels[0].lines[0].series.values():
        ((begin, end),) = series.gaps
        assert (begin, end) == pytest.approx((0, 4), abs=1e-8)
        assert not np.isfinite(series.values[series.x > 1e-9]).any()
    assert picture(parse("1/(y - f)"), what=("loss",)).panels[0].lines[0].series["loss"].gaps == ()


def test_breaks_that_cannot_be_seen_leave_no_stroke() -> None:
    """|log(sqrt(f) + eps)| has its kink at 1 - 2e-7, at the end of the axis: its slope does not turn back there; and
    where numbers overflow there is no pole."""
    series = picture(named("evomal_a"), what=("grad",)).panels[0].lines[0].series["grad"]
    assert not series.breaks and np.nanmax(series.values) < 0
    steep = picture(parse("exp(exp(exp(f)))*y"), what=("loss",), targets=(1.0,)).panels[0].lines[0].series["loss"]
    assert [b.kind for b in steep.breaks] == ["edge"] and len(steep.gaps) == 1


def test_curves_are_followed_to_their_limits() -> None:
    """The two ends of a jump are the limits, also where slopes have no bound."""
    (kink,) = picture(parse("abs(y - f)^0.1 + 1"), what=("loss",)).panels[0].lines[0].series["loss"].breaks
    assert (kink.left, kink.right) == pytest.approx((1, 1), abs=1e-9)
    jump = picture(parse("heaviside(f - y)*exp(f - y)"), what=("loss",)).panels[0].lines[0].series["loss"].breaks[0]
    assert (jump.kind, jump.left, jump.right) == ("jump", 0.0, pytest.approx(1.0, abs=1e-9))


# -- axes -------------------------------------------------------------------------------------------------------------


def test_axes_show_most_of_what_has_no_bound() -> None:
    """A pole does not flatten the rest; what is finite and tame is shown whole, and a constant has an axis."""
    f = np.linspace(0, 1, 401)[1:]
    for values_, most in ((-np.log(f), 4.0), (1 / f, 10.0), (1 / f**2, 50.0)):
        found = span(values_, bounded=False)
        assert found is not None and found[1] < most and found[0] == values_.min()
    x = np.linspace(-4, 4, 401)
    for whole in (x**2, np.exp(-x), np.maximum(0, 1 - x), np.abs(x)):
        assert span(whole) == (whole.min(), whole.max())
    assert span(np.array([np.nan, np.inf])) is None
    for formula, bounded in (
        ("log(abs(y - f))", False),
        ("exp(y - f)", True),
        ("1/(y - f)^2", False),
        ("sqrt(abs(y - f))", True),
    ):
        assert picture(parse(formula), what=("loss",)).panels[0].lines[0].series["loss"].bounded == bounded
    for name, bounded in (("cross_entropy", False), ("brier", True)):
        assert picture(named(name), what=("loss",)).panels[0].lines[0].series["loss"].bounded == bounded
    assert padded((3.0, 3.0)) == (1.5, 4.5) and padded(None) == (0.0, 1.0)


def test_panels_share_an_axis_where_heights_compare() -> None:
    """Alike ranges are one; a small one keeps its own, and a constant goes with the other."""
    assert shared([(0, 4), (1, 5)]) == [(0, 5), (0, 5)]
    assert shared([(0, 4), (0, 0.1)]) == [(0, 4), (0, 0.1)]
    assert shared([(0, 4), (0, 0)]) == [(0, 4), (0, 4)]


# -- families and complaints ------------------------------------------------------------------------------------------


def test_families_have_a_line_for_each_combination() -> None:
    """Values of hyper-parameters multiply; what is the same on all lines is in the title."""
    made = picture(named("focal_sparse_lsr"), what=("loss",), params={"gamma": (0, 1), "xi": (0.1, 0.2)})
    assert [line.label for line in made.panels[0].lines] == [
        "γ = 0, ξ = 0.1", "γ = 0, ξ = 0.2", "γ = 1, ξ = 0.1", "γ = 1, ξ = 0.2",
    ]  # fmt: skip
    one = picture(named("focal_sparse_lsr"), what=("loss",), params={"gamma": (0, 1), "xi": (0.2,)})
    assert one.title == "focal_sparse_lsr,  ξ = 0.2"
    assert [line.label for line in one.panels[0].lines] == ["γ = 0", "γ = 1"]
    some = picture([named("focal"), named("cross_entropy")], what=("loss",), params={"gamma": (1, 2)})
    assert [line.label for line in some.panels[0].lines] == ["focal, γ = 1", "focal, γ = 2", "cross_entropy"]
    assert (symbol("phi12"), symbol("lambda"), symbol("weight"), symbol("tau_2")) == ("φ₁₂", "λ", "weight", "τ₂")


@pytest.mark.parametrize(
    ("losses", "how", "code"),
    [
        (["mse"], {"what": ("slope",)}, "L260"),
        (["mse"], {"what": ()}, "L260"),
        ([], {}, "L260"),
        (["mse", "focal"], {}, "L260"),
        (["hinge", "bce"], {}, "L260"),
        (["focal"], {"params": {"xi": (0.1,)}}, "L201"),
        (["focal"], {"params": {"gamma": (-1.0,)}}, "L202"),
        (["focal"], {"params": {"gamma": tuple(range(30))}}, "L260"),
        (["focal"], {"classes": 1}, "L260"),
        (["focal"], {"targets": (2.0,)}, "L260"),
        (["crammer_singer"], {"targets": (0.5,)}, "L260"),
        (["focal"], {"ranges": {"f": (2.0, 3.0)}}, "L260"),
        (["focal"], {"ranges": {"f": (0.5, 0.5)}}, "L260"),
        (["focal"], {"ranges": {"f": (0.1, math.nan)}}, "L260"),
        (["mse"], {"ranges": {"f": (-1e300, 1e300)}}, "L260"),
        (["mse"], {"ranges": {"f": (1.0, math.nextafter(1, 2))}}, "L260"),
        (["focal"], {"ranges": {"x": (0.1, 0.2)}}, "L260"),
        (["focal"], {"panels": "rows"}, "L260"),
    ],
)
def test_what_cannot_be_drawn_is_refused(losses: list[str], how: dict[str, object], code: str) -> None:
    """Every wrong request is a complaint with a code."""
    with pytest.raises(LosscError) as caught:
        picture([named(n) for n in losses], **how)  # type: ignore[arg-type]
    assert caught.value.diagnostic.code == code


@pytest.mark.parametrize(
    ("loss", "code"),
    [
        (parse("sqrt(sum_c((y - f)^2))"), "L260"),
        (parse("a*f", params={"a": None}), "L208"),
        (parse("phi[0]*f"), "L208"),
        (parse("trigamma(f)*y"), "L310"),
        (parse("log(-1 - (y - f)^2)"), "L260"),
    ],
)
def test_losses_that_have_no_curve(loss: Loss, code: str) -> None:
    """Rows without one-hot targets, values that are missing, and derivatives that have no closed form."""
    with pytest.raises(LosscError) as caught:
        picture(loss)
    assert caught.value.diagnostic.code == code


def test_sums_over_classes_are_drawn_by_what_a_class_adds() -> None:
    """So the squared distance of rows is that of numbers."""
    made = picture(parse("sum_c((y - f)^2)"), what=("loss",))
    assert made.way == "residual"
    x, y = values(made, 0, 0, "loss")
    np.testing.assert_allclose(y, x**2, atol=1e-12)


# -- surfaces ---------------------------------------------------------------------------------------------------------


def test_surfaces_are_the_closed_forms() -> None:
    """Heights over y (down) and f (across), and NaN where the loss has no value, also of the gradient."""
    sheet = surfaces(named("poisson"), what=("loss", "grad"), ranges={"f": (-1, 2), "y": (0, 3)}).sheets[0]
    np.testing.assert_allclose(
        sheet.heights["loss"], np.exp(sheet.f)[None] - sheet.y[:, None] * sheet.f[None], rtol=1e-12
    )
    np.testing.assert_allclose(sheet.heights["grad"], np.exp(sheet.f)[None] - sheet.y[:, None], rtol=1e-9, atol=1e-12)
    assert (sheet.f[0], sheet.f[-1], sheet.y[-1]) == (-1, 2, 3)
    holes = surfaces(parse("log(y - f)"), what=("loss", "grad")).sheets[0]
    there = holes.y[:, None] > holes.f[None]
    assert np.array_equal(np.isfinite(holes.heights["loss"]), there)
    assert np.array_equal(np.isfinite(holes.heights["grad"]), there)


@pytest.mark.parametrize("name", ["hinge", "crammer_singer"])
def test_what_is_no_surface(name: str) -> None:
    """Signs and rows are refused."""
    with pytest.raises(LosscError) as caught:
        surfaces(named(name))
    assert caught.value.diagnostic.code == "L260"


# -- files ------------------------------------------------------------------------------------------------------------


def test_figures_are_the_same_every_time_and_touch_no_global_state() -> None:
    """PNG, SVG and PDF; the settings of Matplotlib are as they were, and are not obeyed."""
    import matplotlib

    made = picture(named("mae"), what=("grad",))
    first = as_file(made, "dark", "svg")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        assert as_file(made, "dark", "svg") == first
        assert dict(matplotlib.rcParams) == before
    assert DARK.paper in first.decode() and "Date" not in first.decode()
    png = as_file(made)
    assert png.startswith(b"\x89PNG") and png == as_file(made) and len(png) < 20_000
    assert as_file(made, suffix="pdf").startswith(b"%PDF")
    with pytest.raises(LosscError):
        figure(named("mae"), suffix="gif")
    with pytest.raises(LosscError):
        figure(named("mae"), theme="sepia")


def test_a_picture_of_a_page_has_its_colours_and_words() -> None:
    """Colours are variables of the style sheet, and the figure says what it shows."""
    svg = embedded(picture(named("mae"), what=("loss",)), "curves")
    assert "var(--blue)" in svg and "var(--ink)" in svg
    assert not any(colour.lower() in svg.lower() for colour in (*LIGHT.lines, LIGHT.ink, LIGHT.paper, *PAGE.lines))
    assert 'aria-label="Value of mae: abs(y - f) over the residual f − y."' in svg


def test_lines_differ_in_colour_and_in_grey() -> None:
    """No two of the first seven have the same colour or the same dashes, and no two of 28 have both."""
    for theme in (LIGHT, DARK):
        looks = [look(k, theme) for k in range(28)]
        assert (
            len({style["color"] for style in looks[:7]}) == len({str(style["linestyle"]) for style in looks[:7]}) == 7
        )
        assert len({str(style) for style in looks}) == 28
        assert all(_contrast(colour, theme.paper) > 2 for colour in theme.lines)


def _contrast(first: str, second: str) -> float:
    """The contrast of two colours (WCAG 2)."""

    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05

    low, high = sorted((light(first), light(second)))
    return high / low


# -- the figures of the thesis ----------------------------------------------------------------------------------------


def test_networks_are_trained_as_torch_would() -> None:
    """Three steps of Adam on torch's own loss give the same model; a loss of probabilities is refused."""
    found = fits({"mse": named("mse")}, steps=3).found[0]
    model = network()
    descent = torch.optim.Adam(model.parameters(), RATE)
    x, y = points()
    for _ in range(3):
        descent.zero_grad()
        torch.nn.functional.mse_loss(model(x), y).backward()
        descent.step()
    grid = torch.linspace(-3, 3, len(found.model), dtype=torch.float64)[:, None]
    np.testing.assert_allclose(found.model, model(grid).detach()[:, 0], rtol=1e-12)
    assert found.steps == (0, 1, 2, 3)
    assert found.errors[-1] == pytest.approx(float((model(grid) - curve(grid)).square().mean().detach()), rel=1e-12)
    with pytest.raises(LosscError):
        fits({"focal": named("focal")}, steps=1)


THESIS: dict[str, list[tuple[int, int, Function]]] = {
    "4.1": [(0, 0, lambda f: abs(LN(np.sqrt(f) + 1e-7))), (2, 1, lambda f: 1 + 0 * f),
            (3, 0, lambda f: 1 + f**3 + f + f**2), (4, 0, lambda f: abs(LN(f**2 + 1e-7))),
            (5, 2, lambda f: (f - 1) ** 2), (9, 0, lambda r: np.sqrt(abs(r)))],
    "4.4": [(0, 0, lambda f: -LN(f)), (0, 1, lambda f: 0 * f), (1, 0, lambda f: -LN(f)), (1, 1, lambda f: 0 * f)],
    "4.5": [(0, 1, lambda f: abs(LN(1.1 * f))), (0, 4, lambda f: abs(LN(2 * f)))],
    "4.6": [(0, 3, lambda f: -0.82 * LN(f)), (1, 3, lambda f: -0.02 * LN(f))],
    "4.8": [(0, 3, lambda f: -(0.82 * LN(f) + 0.18 * LN((1 - f) / 9))), (1, 3, lambda f: 0 * f)],
    "4.12": [(0, 4, lambda f: -((1 - f) ** 5) * LN(f)), (1, 4, lambda f: 0 * f)],
    "4.13": [(0, 0, lambda f: -(0.82 * LN(f) + 0.18 * LN((1 - f) / 9)))],
}  # fmt: skip
"""Panel, line and closed form (table 4.1, eq. 4.6, 4.27, 4.32, 4.37, 4.38)."""


@pytest.mark.parametrize("number", THESIS)
def test_figures_of_the_thesis_show_its_formulas(number: str) -> None:
    """Lines of each figure against the thesis's formulas."""
    shown = thesis_figure(number)
    params = {k: [float(v) for v in vs] for k, vs in shown.params.items()}
    made = picture(shown.losses, what=shown.what, params=params, panels=shown.panels)
    for panel, line, truth in THESIS[number]:
        x, y = values(made, panel, line, "loss")
        np.testing.assert_allclose(y, truth(x), rtol=1e-9, atol=1e-9)


DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_figures_has_each_with_its_command() -> None:
    """docs/figures.md shows every figure by a command that exists and is equal to `--thesis`; files are small."""
    page = (DOCS / "figures.md").read_text(encoding="utf-8")
    for number, shown in FIGURES.items():
        name = f"figures/{number}.png"
        assert f"]({name})" in page and f"lossc plot --thesis {number} -o docs/{name}\n" in page
        assert f"{shown.command}\n" in page and shown.caption in page
        data = (DOCS / name).read_bytes()
        assert data.startswith(b"\x89PNG") and len(data) <= 80_000
