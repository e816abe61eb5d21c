"""Online loss learning: AdaLFL, Meta-LR, ML3, and adapting runs that resume."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

import lossc
from lossc.compiler.errors import UsageError
from lossc.runtime import runs
from lossc.runtime.inner import init as start_training
from lossc.runtime.meta.adapt import Adaptation, LearningRate, adapt, advance, begin, make_adapt_config, train_baseline
from lossc.runtime.meta.engines import meta_gradient
from lossc.runtime.meta.figure import draw, shape_of
from lossc.runtime.meta.mlp import ADALFL, NeuralLoss, smooth_leaky_relu
from lossc.runtime.meta.symbolic import Symbolic
from lossc.runtime.tasks import SGD, Task, get_task
from lossc.runtime.training import train
from tests.runtime.meta_support import episode, relative


@pytest.fixture(scope="module")
def diabetes() -> Task:
    """The default task, short."""
    return get_task("diabetes", steps=30)


def test_smooth_leaky_relu_is_equation_5_7() -> None:
    """Its value and its derivative are eq. 5.7 and 5.14, far out too."""
    x = torch.tensor([-30.0, -1.0, -0.1, 0.0, 0.1, 1.0, 30.0], dtype=torch.float64, requires_grad=True)
    value = smooth_leaky_relu(x)
    (slope,) = torch.autograd.grad(value.sum(), x)
    e = torch.exp(10 * x.detach())
    torch.testing.assert_close(value.detach(), torch.log1p(e) / 10 * 0.99 + 0.01 * x.detach(), rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(slope, (e + 0.01) / (e + 1), rtol=1e-12, atol=1e-15)


def test_the_network_of_the_thesis() -> None:
    """2-40-40-1, the same for every output, the mean over the outputs (eq. 5.3)."""
    family = NeuralLoss(ADALFL)
    phi = family.initial(0)
    f, y = torch.randn(6, 3).double(), torch.randn(6, 3).double()

    assert family.size == 2 * 40 + 40 * 40 + 40
    each = family.entries(y, f, phi)
    assert float(family.plain(f, y, phi)) == pytest.approx(float(each.mean()), rel=1e-12)
    torch.testing.assert_close(family.entries(y[:, 1:2], f[:, 1:2], phi), each[:, 1:2], rtol=1e-12, atol=1e-14)


def test_offline_then_online(diabetes: Task) -> None:
    """Algorithm 5 then 6: φ moves in both, θ starts as every method's does, the loss at the marks is kept."""
    found = adapt(None, diabetes, init_steps=5, online_lr=1e-3)

    assert found.steps == 30 and not found.failure
    assert found.curve[0].step == 0 and found.curve[-1].step == 30
    assert [s for s, _ in found.shots] == [0, 3, 8, 15, 30]
    assert not torch.equal(found.shots[0][1], found.shots[-1][1])
    untrained = train(diabetes, nn.MSELoss(), 0).curve[0].val
    assert found.curve[0].val == pytest.approx(untrained, rel=1e-6)


def test_online_step_is_algorithm_6(diabetes: Task) -> None:
    """One online step: θ moves by SGD on the learned loss, φ by the meta-gradient through it on a validation batch."""
    config = make_adapt_config(init_steps=0, online_lr=1e-3, dtype="float64")
    run = Adaptation(diabetes, Symbolic(lossc.parse("(y - f)^2")), config)

    state, record = advance(run, begin(run))

    assert state.online is not None and state.online.step == 1
    phi = run.family.initial(0)
    x, y = run.sampler.batch("train", 0, -1)
    model, fresh = start_training(diabetes, 0, dtype=torch.float64)
    params = {k: v.clone().requires_grad_() for k, v in fresh.params.items()}
    value = run.family.plain(torch.func.functional_call(model, params, (x,)), y, phi)
    for (k, w), g in zip(params.items(), torch.autograd.grad(value, list(params.values())), strict=True):
        torch.testing.assert_close(state.online.params[k], (w - diabetes.sgd.lr * g).detach(), rtol=1e-9, atol=1e-12)
    v, z = run.sampler.batch("valid", 0, -2)
    outputs = torch.func.functional_call(model, state.online.params, (v,))
    assert record.value == pytest.approx(float(functional.mse_loss(outputs, z)), rel=1e-9)
    assert float((state.meta.phi - phi).abs().max()) == pytest.approx(1e-3, rel=1e-3)  # Adam's first step


def test_meta_learning_rate_is_the_hypergradient() -> None:
    """dL/dα = -∇L(θ_1)·∇L(θ_0), by torch alone (thesis, algorithms 7 and 8)."""
    task = get_task("diabetes")
    here = episode(lambda: nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 1)), 1, SGD(task.sgd.lr))
    family = LearningRate(task)
    phi = family.initial(0)

    found = meta_gradient(here, family, phi).grad

    def slopes(params: dict[str, torch.Tensor], batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        p = {k: v.clone().requires_grad_() for k, v in params.items()}
        value = functional.mse_loss(torch.func.functional_call(here.model, p, (batch[0],)), batch[1])
        return torch.cat([g.reshape(-1) for g in torch.autograd.grad(value, list(p.values()))])

    first = slopes(dict(here.params), here.inner[0])
    flat = torch.cat([v.reshape(-1) for v in here.params.values()]) - task.sgd.lr * first
    moved, place = {}, 0
    for k, v in here.params.items():
        moved[k], place = flat[place : place + v.numel()].view_as(v), place + v.numel()
    expected = -(slopes(moved, here.query) * first).sum()
    assert float(found[0]) == pytest.approx(float(expected), rel=1e-9)


def test_methods_and_their_control(diabetes: Task) -> None:
    """ML3 does not move online; Meta-LR learns a rate; the baseline is `train`."""
    ml3 = adapt(None, diabetes, method="ml3", init_steps=3)
    rate = adapt(None, diabetes, method="meta-lr", init_steps=3, online_lr=1e-4)
    base = train_baseline(diabetes, 0)

    assert all(torch.equal(phi, ml3.phi) for _, phi in ml3.shots)
    assert rate.family.size == 1 and float(rate.phi[0]) != diabetes.sgd.lr
    assert base.test == train(diabetes, nn.MSELoss(), 0).test


def test_classification_with_momentum_and_a_schedule() -> None:
    """Momentum goes on from step to step: the weights of an adapting run whose loss is cross-entropy are `train`'s."""
    task = get_task("digits", steps=12)
    ce = Symbolic(lossc.parse("-sum_c(y*log(f))", y="onehot", f="prob"), spread=0.0)

    found = adapt(ce, task, init_steps=0, online_lr=0.0, dtype="float64")

    assert found.curve[-1].val < found.curve[0].val
    assert relative(found.phi, torch.ones(ce.size).double()) == 0


def test_training_that_diverges_ends_with_what_it_has(diabetes: Task) -> None:
    """A learning rate that blows up: the result says when, and holds the last finite weights' metric."""
    wild = get_task("diabetes", steps=60, lr=1e4)

    found = adapt(Symbolic(lossc.parse("(y - f)^2")), wild, init_steps=0)

    assert found.failure and found.steps < 60
    assert found.test == found.test


def test_adapting_run_resumes_offline_and_online(
    diabetes: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in either part and gone on with, it ends with the numbers of an unbroken run."""
    monkeypatch.setattr(runs, "EVERY_SECONDS", 0.0)
    settings = {"init_steps": 8, "online_lr": 1e-3}
    whole = adapt(None, diabetes, run=tmp_path / "whole", **settings)  # type: ignore[arg-type]

    class Stop(Exception):
        pass

    for part, at in (("offline", 5), ("online", 11)):

        def stop(stage: str, record: object, state: object, part: str = part, at: int = at) -> None:
            if stage == part and record.step == at:  # type: ignore[attr-defined]
                raise Stop

        folder = tmp_path / part
        with pytest.raises(Stop):
            adapt(None, diabetes, run=folder, progress=stop, **settings)  # type: ignore[arg-type]
        found = adapt(None, diabetes, run=folder, resume=True, **settings)  # type: ignore[arg-type]
        assert torch.equal(found.phi, whole.phi) and (found.test, found.val) == (whole.test, whole.val)
        assert repr(found.curve) == repr(whole.curve) and [s for s, _ in found.shots] == [s for s, _ in whole.shots]
        assert (folder / runs.PROGRESS).read_text() == (tmp_path / "whole" / runs.PROGRESS).read_text()


@pytest.mark.parametrize("settings", [{"method": "magic"}, {"init_steps": -1}, {"online_lr": -1.0}, {"query": "test"}])
def test_settings_that_cannot_be(diabetes: Task, settings: dict[str, object]) -> None:
    """Each is an error of the call."""
    with pytest.raises(UsageError) as caught:
        adapt(None, diabetes, **settings)  # type: ignore[arg-type]
    assert caught.value.diagnostic.code == "L255"


def test_figure_of_an_adapting_loss(diabetes: Task) -> None:
    """A picture in each format, the same twice; its lines are the loss's own values."""
    found = {"adalfl": adapt(None, diabetes, init_steps=2), "baseline": train_baseline(diabetes, 0)}
    f = torch.linspace(-1, 1, 5).double()
    family, phi = found["adalfl"].family, found["adalfl"].phi

    values = shape_of(family, phi, 0.0, f, classes=False)

    assert values.tolist() == pytest.approx(family.entries(torch.zeros(5).double(), f, phi).tolist())  # type: ignore[attr-defined]
    assert draw(diabetes, found, "png") == draw(diabetes, found, "png")
    assert draw(diabetes, found, "svg").lstrip().startswith(b"<?xml")


def test_progress_lines_say_which_part(diabetes: Task, tmp_path: Path) -> None:
    """A line a step, offline then online, each a JSON object."""
    adapt(None, diabetes, init_steps=2, run=tmp_path / "a")

    lines = [json.loads(line) for line in (tmp_path / "a" / runs.PROGRESS).read_text().splitlines()]
    assert [line["stage"] for line in lines] == ["offline"] * 2 + ["online"] * 30
    assert [line["step"] for line in lines] == list(range(32))
