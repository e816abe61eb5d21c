"""Experiments on trained models, against closed forms, full Hessians and manual passes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lossc.compiler.errors import UsageError
from lossc.grammar import parse
from lossc.grammar.library import named
from lossc.runtime.data import Part
from lossc.runtime.experiments import curvature, curves, learning_rate, representations, runtime, sweep
from lossc.runtime.experiments.directions import along, direction, on_plane
from lossc.runtime.experiments.flatness import Flatness, rise
from lossc.runtime.experiments.landscape import Window, landscapes
from lossc.runtime.experiments.learning_rate import Scale
from lossc.runtime.experiments.view import View, sample
from lossc.runtime.models import factory
from lossc.runtime.tasks import Task, get_task
from lossc.runtime.training import train

DOUBLE = torch.float64


def stream(seed: int = 0) -> torch.Generator:
    """A random stream of its own."""
    return torch.Generator().manual_seed(seed)


def view_of(model: nn.Module) -> View:
    """A view of a model as it is."""
    params = {k: v.detach() for k, v in model.named_parameters()}
    return View(model.eval(), params, dict(model.named_buffers()))


def rows_of(n: int, d: int, classes: int = 0) -> Part:
    """So many random rows, with classes or real targets."""
    x = torch.randn(n, d, generator=stream(1), dtype=DOUBLE)
    y = (
        torch.randint(classes, (n,), generator=stream(2))
        if classes
        else torch.randn(n, 1, generator=stream(2)).double()
    )
    return Part(torch.arange(n), x, y)


def tiny(*sizes: int) -> nn.Sequential:
    """An MLP with tanh in float64, small enough for its whole Hessian."""
    torch_rng = stream(3)
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(sizes):
        layers += [nn.Linear(wide, narrow, dtype=DOUBLE), nn.Tanh()]
    model = nn.Sequential(*layers[:-1])
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=torch_rng, dtype=DOUBLE) / 2)
    return model


# -- directions and landscapes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lenet5", "resnet18", "squeezenet"])
def test_directions_have_the_norm_of_every_filter(name: str) -> None:
    """|d_ij| = |θ_ij| for each filter of convolutions and rows of linear layers; weights of one axis do not move."""
    _, build = factory(name, (1, 28, 28) if name == "lenet5" else (3, 32, 32), 10)
    params = dict(build(stream(), DOUBLE).named_parameters())
    toward = direction(params, stream(1))
    assert any(p.ndim == 4 for p in params.values()) and any(p.ndim == 1 for p in params.values())
    for key, weight in params.items():
        if weight.ndim == 1:
            assert not toward[key].any()
        else:
            expected = weight.detach().flatten(1).norm(dim=1)
            torch.testing.assert_close(toward[key].flatten(1).norm(dim=1), expected, rtol=1e-13, atol=0)
            assert not torch.equal(toward[key], weight)


def test_a_landscape_of_a_quadratic_is_the_parabola() -> None:
    """A linear model under squared error: the line and the plane are polynomials of degree two in closed form."""
    part, model = rows_of(30, 4), tiny(4, 1)
    view = view_of(model)
    towards = [direction(view.params, stream(k)) for k in (1, 2)]
    moves = [part.x @ d["0.weight"].T for d in towards]
    residual = model(part.x).detach() - part.y
    places = (-1.0, -0.5, 0.0, 0.25, 2.0)
    line = along(view, towards[0], places, {"mse": functional.mse_loss}, part)["mse"]
    plane = on_plane(view, towards, places, functional.mse_loss, part)
    for i, a in enumerate(places):
        closed = residual.pow(2).mean() + 2 * a * (residual * moves[0]).mean() + a * a * moves[0].pow(2).mean()
        assert line[i] == pytest.approx(float(closed), rel=1e-12)
        for j, b in enumerate(places):
            assert plane[j][i] == pytest.approx(
                float((residual + a * moves[0] + b * moves[1]).pow(2).mean()), rel=1e-12
            )
    expected = 0.25**2 * torch.stack(moves).pow(2).mean()
    assert rise(view, functional.mse_loss, part, towards, 0.25) == pytest.approx(float(expected), rel=1e-10)


def test_rises_do_not_know_of_scales_that_cancel() -> None:
    """A ReLU network with one layer times 4 and the next one divided by 4 is the same function, with the same rise and
    another curvature."""
    part, layers = rows_of(40, 4, classes=3), tiny(4, 6, 3)
    model = nn.Sequential(layers[0], nn.ReLU(), layers[2])
    view = view_of(model)
    factors = {"0.weight": 4.0, "0.bias": 4.0, "2.weight": 0.25, "2.bias": 1.0}
    scaled = View(model, {k: factors[k] * v for k, v in view.params.items()}, {})
    rises = [rise(v, functional.cross_entropy, part, [direction(v.params, stream())], 0.5) for v in (view, scaled)]
    tops = [curvature.top_eigenvalue(functional.cross_entropy, v, part, stream()) for v in (view, scaled)]
    assert rises[0] == pytest.approx(rises[1], rel=1e-9)
    assert abs(tops[0] / tops[1] - 1) > 0.5


def test_landscapes_of_a_task_are_of_trained_models() -> None:
    """The middle of a line is the trained model on the sample; a loss like the baseline has its landscape; a diverged
    run is left out and counted; plain data has all of it."""
    task = get_task("digits", steps=15)
    window = Window(points=3, directions=2, rows=100_000, side=3)
    explodes = parse("-y*log(f)*1e30", y="onehot", f="prob").to_torch()
    found = landscapes(task, {"ce": named("cross_entropy").to_torch(), "explodes": explodes}, [0, 1], window)
    base, same, none = found.found
    assert (none.diverged, none.lines, none.flatness) == (2, {}, {})
    runs = [train(task, nn.CrossEntropyLoss(), seed) for seed in (0, 1)]
    assert base.lines["test"]["metric"][1] == pytest.approx(sum(r.test for r in runs) / 2, abs=1e-12)
    for part in ("train", "test"):
        assert same.lines[part]["common"] == pytest.approx(base.lines[part]["common"], rel=1e-3)
    assert base.flatness[Flatness.top].mean == pytest.approx(base.flatness[Flatness.own_top].mean, rel=1e-6)
    assert base.plane[1][1] == pytest.approx(
        landscapes(task, {}, [0], Window(points=3, directions=2, rows=100_000)).found[0].lines["train"]["common"][1]
    )
    data = found.as_json()
    assert data["places"] == [-1.0, 0.0, 1.0] and len(data["losses"]) == 3


@pytest.mark.parametrize("wrong", [{"radius": 0.0}, {"points": 2}, {"within": math.nan}, {"side": 2}, {"rows": 0}])
def test_windows_that_cannot_be(wrong: dict[str, float]) -> None:
    """A number out of range is refused."""
    with pytest.raises(UsageError, match="must be"):
        Window(**wrong)  # type: ignore[arg-type]


def test_samples_are_rows_without_repeats() -> None:
    """A sample is a fixed choice of rows with their targets; a part that is smaller is taken whole."""
    part = rows_of(50, 3)
    some = sample(part, 20, seed=1)
    assert len(set(some.rows.tolist())) == 20
    assert torch.equal(some.x, part.x[some.rows]) and torch.equal(some.y, part.y[some.rows])
    assert torch.equal(sample(part, 20, seed=1).rows, some.rows)
    assert not torch.equal(sample(part, 20, seed=2).rows, some.rows)
    assert sample(part, 50, seed=1) is part


# -- curvature --------------------------------------------------------------------------------------------------------


def full_hessian(view: View, part: Part, measure: curvature.Measure) -> Tensor:
    """The whole Hessian, by torch."""
    shapes = {k: v.shape for k, v in view.params.items()}

    def of(flat: Tensor) -> Tensor:
        pieces = flat.split([s.numel() for s in shapes.values()])
        return measure(
            view.outputs(part.x, {k: p.view(s) for (k, s), p in zip(shapes.items(), pieces, strict=True)}), part.y
        )

    flat = torch.cat([v.flatten() for v in view.params.values()])
    found = torch.autograd.functional.hessian(of, flat)
    assert isinstance(found, Tensor)
    return found


@pytest.mark.parametrize("loss", ["label_smoothing", "mae_classes"])
def test_curvature_is_that_of_the_whole_hessian(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products, the top eigenvalue and the trace against torch's own Hessian, also some rows at a time."""
    view, part = view_of(tiny(3, 3, 3)), rows_of(40, 3, classes=3)
    measure = named(loss).to_torch()
    hessian = full_hessian(view, part, measure)
    monkeypatch.setattr("lossc.runtime.experiments.view.CHUNK", 4 * 17 * 4)
    vector = torch.randn(len(hessian), generator=stream(), dtype=DOUBLE)
    product = curvature.hessian_product(measure, view, part, vector)
    torch.testing.assert_close(product, hessian @ vector, rtol=1e-9, atol=1e-12)
    eigenvalues = torch.linalg.eigvalsh(hessian)
    top = eigenvalues[eigenvalues.abs().argmax()]
    assert curvature.top_eigenvalue(measure, view, part, stream()) == pytest.approx(float(top), rel=0.03)
    spread = math.sqrt(2 * float((hessian - hessian.diag().diag()).pow(2).sum()) / 100)
    estimate = curvature.trace(measure, view, part, stream(), probes=100)
    assert abs(estimate - float(hessian.trace())) < 4 * spread


def test_no_curvature_where_there_is_none() -> None:
    """A loss that is straight in the weights has the curvature 0, not an error."""
    view, part = view_of(tiny(4, 1)), rows_of(10, 4)

    def straight(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs * targets).mean()

    assert curvature.top_eigenvalue(straight, view, part, stream()) == 0
    assert curvature.trace(straight, view, part, stream()) == 0


# -- implicit learning rates ------------------------------------------------------------------------------------------


def test_the_scale_is_the_least_squares_factor() -> None:
    """s, the cosine and the ratio of lengths against their definitions; what has no length has no scale."""
    a, b = torch.tensor([3.0, 1.0]), torch.tensor([2.0, 0.0])
    found = Scale.between(a, b)
    assert (found.scale, found.cosine) == (1.5, pytest.approx(3 / math.sqrt(10)))
    assert found.ratio == pytest.approx(math.sqrt(10) / 2)
    rest = a - found.scale * b
    assert float(rest @ b) == 0
    assert float(rest @ rest / (a @ a)) == pytest.approx(1 - found.cosine**2)
    assert Scale.between(-2 * b, b) == Scale(-2.0, -1.0, 2.0)
    assert all(math.isnan(v) for v in (Scale.between(a, 0 * b).scale, Scale.between(a * math.inf, b).cosine))


@pytest.mark.parametrize(("task", "formula", "factor"), [
    ("diabetes", "3*(y - f)^2", 3.0), ("digits", "-0.25*y*log(f)", 0.25), ("digits", "-(y*log(f) + 7)", 1.0),
])  # fmt: skip
def test_a_multiple_of_the_baseline_is_all_scale(task: str, formula: str, factor: float) -> None:
    """k times the baseline (and an offset) has scale k and cosine 1, in outputs and weights, from first to last."""
    roles = {"y": "onehot", "f": "prob"} if task == "digits" else {}
    loss = parse(formula, **roles).to_torch()
    found = learning_rate.implicit_rate(get_task(task, steps=20), loss, 0, checkpoints=3)
    assert [m.step for m in found] == [0, 10, 20]
    for scale in (s for m in found for s in (m.outputs, m.weights)):
        assert scale.scale == pytest.approx(factor, rel=1e-4)
        assert scale.cosine == pytest.approx(1, abs=1e-6)
        assert scale.ratio == pytest.approx(factor, rel=1e-4)


def test_evolved_losses_have_the_scales_of_their_formulas() -> None:
    """Thesis, Table 4.1: (a) has a square root of the probability, so half of cross-entropy's slope, (e) a square."""
    outputs = torch.randn(200, 10, generator=stream(), dtype=DOUBLE)
    targets = torch.randint(10, (200,), generator=stream())
    for name, scale in (("evomal_a", 0.5), ("evomal_e", 2.0), ("ace", 1.0)):
        found = learning_rate.of_outputs(named(name).to_torch(), nn.CrossEntropyLoss(), outputs, targets)
        assert (found.scale, found.cosine) == (pytest.approx(scale, rel=0.02), pytest.approx(1, abs=0.01))


def test_the_gradient_in_the_weights_is_the_whole_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some rows at a time, the gradient is that of all at once."""
    model, part = tiny(4, 5, 3), rows_of(40, 4, classes=3)
    functional.cross_entropy(model(part.x), part.y).backward()
    expected = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    monkeypatch.setattr("lossc.runtime.experiments.view.CHUNK", 4 * 17 * 4)
    torch.testing.assert_close(learning_rate.gradient(nn.CrossEntropyLoss(), view_of(model), part), expected)


def test_means_over_seeds_are_step_by_step() -> None:
    """A seed whose run ended early has no part in the later steps."""
    one, two = Scale(1.0, 1.0, 1.0), Scale(3.0, 0.5, 6.0)
    runs = [[learning_rate.Measured(0, one, one), learning_rate.Measured(5, two, two)],
            [learning_rate.Measured(0, two, one)]]  # fmt: skip
    start, end = learning_rate.over_seeds(runs)
    assert (start.outputs, start.weights, end.outputs) == (Scale(2.0, 0.75, 3.5), one, two)


# -- sweeps -----------------------------------------------------------------------------------------------------------


def swept(task: Task, scale: float, formula: str = "3*(y - f)^2") -> tuple[sweep.Line, ...]:
    """A sweep of a formula over two rates and two seeds."""
    series = sweep.series_of(task, {"it": parse(formula).to_torch()}, {"it": scale})
    rates = sweep.grid(task, (0.03, 0.01))
    return sweep.lines(series, list(sweep.sweep_runs(task, series, rates, (0, 1))), len(rates))


def test_a_sweep_is_what_training_gives_and_matched_is_the_same() -> None:
    """Cells are `train` at each rate; a multiple of the baseline divided by its scale is the baseline; equal arguments
    give equal sweeps."""
    task = get_task("diabetes", steps=25)
    base, it, matched = found = swept(task, 3.0)
    assert [line.name for line in found] == ["mse", "it", "it / 3"]
    assert (it.matched, matched.matched, it.scale, matched.scale) == (False, True, 3.0, 1.0)
    loss = parse("3*(y - f)^2").to_torch()
    for cell in it.cells:
        runs = [train(task.with_settings(lr=cell.rate), loss, seed) for seed in (0, 1)]
        assert cell.test.mean == pytest.approx(sum(r.test for r in runs) / 2, rel=1e-12)
    for mine, its in zip(matched.cells, base.cells, strict=True):
        assert mine.test.mean == pytest.approx(its.test.mean, rel=1e-4)
    best = min(it.cells, key=lambda c: c.val.mean)
    assert it.best == best and it.gain is not None
    assert it.gain.mean == pytest.approx(base.best.test.mean - best.test.mean, rel=1e-9)
    assert base.gain is None and swept(task, 3.0) == found


def test_sweeps_leave_out_what_is_not_done_or_has_no_scale() -> None:
    """A loss at the baseline's scale, or that points the other way, is not matched; of a seed that was stopped, nothing
    is kept; a diverged run is counted."""
    task = get_task("diabetes", steps=3)
    for scale in (1.01, -2.0, math.nan):
        assert len(sweep.series_of(task, {"it": nn.MSELoss()}, {"it": scale})) == 2
    series = sweep.series_of(task, {"mse": nn.MSELoss()}, {"mse": 1.0})
    assert [s.name for s in series] == ["mse", "mse (given)"]
    runs = list(sweep.sweep_runs(task, series, (0.01, 1e30), (0, 1)))
    assert sweep.lines(series, runs[:3], 2) == ()
    line = sweep.lines(series, runs[:7], 2)[0]
    assert [(c.test.n, c.diverged) for c in line.cells] == [(1, 0), (1, 1)]
    assert line.best.rate == 0.01
    assert line.as_json()["rates"][1]["diverged"] == 1


@pytest.mark.parametrize("rates", [(0.0,), (0.1, -1.0), (math.inf,), (math.nan,)])
def test_rates_that_cannot_be(rates: tuple[float, ...]) -> None:
    """Learning rates are positive numbers."""
    with pytest.raises(UsageError, match="learning rate"):
        sweep.grid(get_task("diabetes"), rates)


def test_the_default_grid_is_around_the_rate_of_the_task() -> None:
    """From a hundredth of the task's own rate to ten times it, in order."""
    assert sweep.grid(get_task("digits")) == (0.0005, 0.0015, 0.005, 0.015, 0.05, 0.15, 0.5)


# -- representations --------------------------------------------------------------------------------------------------


def test_features_are_what_a_manual_pass_gives() -> None:
    """The input of the last layer: all that is before it, and of a network that ends in a convolution the mean over the
    places."""
    x = torch.randn(5, 3, 32, 32, generator=stream(), dtype=DOUBLE)
    part = Part(torch.arange(5), x, torch.zeros(5, dtype=torch.int64))
    for name, cut in (("resnet18", 1), ("alexnet", 1), ("squeezenet", 2), ("allcnnc", 3)):
        model = factory(name, (3, 32, 32), 10)[1](stream(), DOUBLE)
        assert isinstance(model, nn.Sequential)
        model.eval()
        with torch.no_grad():
            inside = model[:-cut](x)
        expected = inside if inside.ndim == 2 else inside.mean(dim=(2, 3))
        torch.testing.assert_close(representations.features(view_of(model), part), expected)
        assert not any(m._forward_pre_hooks for m in model.modules())


def test_layers_count_in_the_order_in_which_they_run() -> None:
    """The last layer is the last that runs, not the last that was defined; pieces of the rows are put together."""

    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Linear(3, 2, dtype=DOUBLE), nn.Linear(4, 3, dtype=DOUBLE)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.last(self.first(x).relu())
            return out

    model, part = Backwards(), rows_of(40, 4)
    found = representations.features(view_of(model), part)
    torch.testing.assert_close(found, model.first(part.x).relu().detach())


def test_no_features_before_a_single_layer() -> None:
    """A logistic regression has no representation of its own."""
    with pytest.raises(UsageError, match="no layer before its last"):
        representations.features(view_of(tiny(4, 2)), rows_of(5, 4))


def test_tightness_and_silhouette_by_hand() -> None:
    """Two pairs of points at the corners of a rectangle: distances that can be written down, whatever the scale."""
    points = torch.tensor([[0.0, 0.0], [0.0, 2.0], [6.0, 0.0], [6.0, 2.0]])
    classes = torch.tensor([3, 3, 7, 7])
    assert representations.tightness(points, classes) == pytest.approx(1 / 6)
    assert representations.tightness(1000 * points, classes) == pytest.approx(1 / 6)
    near, far = 2.0, (6 + math.sqrt(40)) / 2
    assert representations.silhouette(points, classes) == pytest.approx((far - near) / far)
    assert math.isnan(representations.tightness(points, torch.zeros(4)))
    assert math.isnan(representations.silhouette(points, torch.arange(4)))


def test_representations_of_a_task_are_of_trained_models() -> None:
    """Figures by seed of the trained weights on every row; the picture is the same twice; a task without classes is
    refused."""
    task = get_task("digits", steps=10)
    once, _ = representations.representations(task, {"ce": nn.CrossEntropyLoss()}, [0], rows=90, picture=True)
    state = train(task, nn.CrossEntropyLoss(), 0).state
    part = sample(task.split(0).test, 90, 0)
    hidden = functional.relu(functional.linear(part.x.flatten(1), state.params["0.weight"], state.params["0.bias"]))
    assert once.figures["test"]["tightness"].mean == pytest.approx(representations.tightness(hidden, part.y), rel=1e-5)
    assert once.figures["test"]["silhouette"].mean == pytest.approx(
        representations.silhouette(hidden, part.y), rel=1e-5
    )
    assert once.picture is not None and once.picture.shape == (90, 2)
    assert (once.picture == representations.embedded(hidden, 0)).all()
    with pytest.raises(UsageError, match="no classes"):
        representations.representations(get_task("diabetes"), {}, [0])


# -- training curves --------------------------------------------------------------------------------------------------


def test_curves_are_what_training_gives() -> None:
    """The last point is `train`'s, points in between are those of a shorter run, a loss like the baseline has its
    curve, and of a seed that is not done nothing is kept."""
    task = get_task("digits", steps=12)
    runs = list(curves.curve_runs(task, {"same": named("cross_entropy").to_torch()}, [0, 1], points=3, rows=10_000))
    base, same = curves.curves(runs, 2)
    ended = [train(task, nn.CrossEntropyLoss(), seed) for seed in (0, 1)]
    assert base.steps == (0, 4, 8, 12)
    assert base.last["val"].mean == pytest.approx(sum(r.val for r in ended) / 2, abs=1e-12)
    early = [train(task.with_settings(steps=4), nn.CrossEntropyLoss(), seed) for seed in (0, 1)]
    assert base.means["val"][1] == pytest.approx(sum(r.val for r in early) / 2, abs=1e-12)
    assert same.means["common"] == pytest.approx(base.means["common"], rel=1e-4)
    assert base.reached is not None and base.reached == same.reached
    assert curves.curves(runs[:3], 2)[0].last["val"].n == 1
    assert curves.curves(runs[:1], 2) == ()
    with pytest.raises(UsageError, match="one point"):
        next(curves.curve_runs(task, {}, [0], points=0))


def test_what_reached_means_and_where_a_run_ends() -> None:
    """0.9 of the way from the baseline's first value to its last; a run that ended early stays where it was."""
    base = curves.Run("b", 0, tuple(curves.Seen(s, 0.0, v, 0.0) for s, v in ((0, 1.0), (5, 0.5), (10, 0.2))), "")
    slow = curves.Run("s", 0, tuple(curves.Seen(s, 0.0, v, 0.0) for s, v in ((0, 1.0), (5, 0.9))), "broke")
    fast = curves.Run("f", 0, tuple(curves.Seen(s, 0.0, v, 0.0) for s, v in ((0, 1.0), (5, 0.27), (10, 0.9))), "")
    b, s, f = curves.curves([base, slow, fast], 3)
    assert b.reached is not None and f.reached is not None
    assert (b.reached.mean, s.reached, f.reached.mean) == (10, None, 5)
    assert s.steps == (0, 5, 10) and s.means["val"] == (1.0, 0.9, 0.9)
    assert (s.diverged, f.diverged, b.stds) == (1, 0, None)


# -- runtime ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sparse_lsr", "focal", "label_smoothing"])
def test_the_form_at_the_target_is_the_loss(name: str) -> None:
    """Where a loss needs the target's probability only, looking up that one gives its value and its gradient; a loss
    that needs the others has no such form."""
    loss = named(name)
    probabilities = torch.randn(20, 7, generator=stream(), dtype=DOUBLE).softmax(dim=1).requires_grad_()
    targets = torch.randint(7, (20,), generator=stream())
    form = runtime.at_target(loss, 7)
    if name == "label_smoothing":
        assert form is None
        return
    assert form is not None
    expected = loss.to_torch(from_logits=False)(probabilities, targets)
    found = form(probabilities, targets)
    torch.testing.assert_close(found, expected)
    grads = [torch.autograd.grad(v, probabilities)[0] for v in (found, expected)]
    torch.testing.assert_close(*grads)


def test_times_are_medians_of_blocks_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that each call moves by its own amount, a time is that amount; ratios and growth are quotients of
    times; elementwise losses and sizes that cannot be are refused."""
    now = [0.0]
    monkeypatch.setattr(runtime.time, "perf_counter", lambda: now[0])
    turns: list[str] = []

    def call(name: str, seconds: float) -> Callable[[], None]:
        def spend() -> None:
            turns.append(name)
            now[0] += seconds

        return spend

    calls = {"a": call("a", 0.02), "b": call("b", 0.04)}
    times = runtime._interleaved(calls, 4, torch.device("cpu"))
    assert times == {"a": pytest.approx([0.02] * 4), "b": pytest.approx([0.04] * 4)}
    assert turns[-8:] == ["a", "b"] * 4
    monkeypatch.undo()
    losses = {"ls": named("label_smoothing"), "hinge": named("crammer_singer")}
    found = list(runtime.timings(losses, [5, 3], rows=4, blocks=2))
    assert [t.classes for t in found][:4] == [3] * 4
    assert {(t.name, t.form) for t in found} == {("ls", "softmax"), ("hinge", "softmax"), ("ls", "no softmax")}
    ratio = runtime.ratios(found, "ls")
    by = {(t.name, t.classes, t.form, t.of): t.seconds for t in found}
    key = (5, "softmax", "value")
    assert ratio["hinge", *key] == by["hinge", *key] / by["ls", *key] and ratio["ls", *key] == 1
    grown = runtime.growth(found, "ls", "softmax", "value")
    assert grown == by["ls", 5, "softmax", "value"] / by["ls", 3, "softmax", "value"]
    for wrong in ({"classes": [1]}, {"rows": 0}, {"blocks": 1}):
        with pytest.raises(UsageError):
            next(runtime.timings(losses, **wrong))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="elementwise"):
        next(runtime.timings({"mse": named("mse")}))


# -- documentation ----------------------------------------------------------------------------------------------------


def test_python_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """The Python block of docs/experiments.md, run as it stands (with fewer steps): a scale of a half, as it says."""
    text = (Path(__file__).resolve().parents[2] / "docs/experiments.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    exec(compile(block.replace("steps=100", "steps=4"), "docs/experiments.md", "exec"), {})  # noqa: S102
    first = capsys.readouterr().out.splitlines()[0].split()
    assert first[0] == "0" and float(first[1]) == pytest.approx(0.5, rel=1e-3)
