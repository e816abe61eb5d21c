"""The engines of meta-gradients: equal to each other, to torch's autograd, to finite differences and to formulas."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import lossc
from lossc.compiler.errors import LosscError, UsageError
from lossc.compiler.ir import F, postorder
from lossc.compiler.loss import Loss
from lossc.runtime.meta.engines import ENGINES, WHY_NOT, choose, lockstep, meta_gradient, meta_gradients, unroll
from lossc.runtime.meta.engines.evolution import play
from lossc.runtime.meta.mlp import ADALFL, NeuralLoss
from lossc.runtime.meta.symbolic import Symbolic
from lossc.runtime.meta.taylor import taylor
from lossc.runtime.tasks import SGD
from tests.runtime.meta_support import CLASSES, REGRESSION, episode, loss_of, naive_meta_gradient, relative
from tests.strategies import exprs

EXACT = [n for n in ENGINES if n not in ("implicit", "evolution")]
OPTIMISERS = {
    "plain": SGD(0.1),
    "decay": SGD(0.1, weight_decay=0.02),
    "momentum": SGD(0.05, momentum=0.9, weight_decay=0.01),
    "nesterov": SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
}


def stack(act: type[nn.Module], out: int) -> nn.Module:
    """A stack of linear layers, one of them without a bias."""
    return nn.Sequential(nn.Linear(5, 8), act(), nn.Linear(8, 7, bias=False), act(), nn.Linear(7, out))


def normalised(out: int) -> nn.Module:
    """A model that is no stack: convolution, batch norm with running statistics, pooling, dropout, layer norm."""
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Dropout(0.25),
        nn.LayerNorm(27), nn.Linear(27, out),
    )  # fmt: skip


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("name", [*REGRESSION, *CLASSES])
def test_engines_agree_on_stacks(name: str, steps: int, optimiser: str) -> None:
    """Every exact engine that is applicable gives autograd's meta-gradient, to 1e-10 in float64."""
    classes = 3 if name in CLASSES else 0
    here = episode(lambda: stack(nn.Tanh, classes or 1), steps, OPTIMISERS[optimiser], classes=classes)
    family = Symbolic(loss_of(name))
    phi = family.initial(1)
    oracle = naive_meta_gradient(here, family.plain, phi)

    used = [n for n in EXACT if n not in WHY_NOT or not WHY_NOT[n](here)]

    assert len(used) == (4 if steps == 1 else 2)
    for engine in used:
        found = meta_gradient(here, family, phi, engine)
        assert relative(found.grad, oracle) < 1e-10, engine
        assert found.engine == engine


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("optimiser", ["plain", "nesterov"])
def test_engines_agree_through_normalisation_and_dropout(steps: int, optimiser: str) -> None:
    """Through batch norm, layer norm and dropout one step of forward mode and reverse over reverse mode agree."""
    here = episode(lambda: normalised(3), steps, OPTIMISERS[optimiser], classes=3, shape=(1, 8, 8))
    family = Symbolic(loss_of("evomal"))
    phi = family.initial(1)

    found = [meta_gradient(here, family, phi, n) for n in ("unroll", "auto")]
    value, end = play(here, family, phi)

    assert found[1].engine == ("jvp1" if steps == 1 else "unroll")
    assert relative(found[1].grad, found[0].grad) < 1e-10
    for one in found:
        assert one.value == pytest.approx(value, rel=1e-12)
        for k, v in end.buffers.items():
            torch.testing.assert_close(one.end.buffers[k], v, rtol=1e-12, atol=0)


def test_batch_norm_moves_its_statistics_once_a_step() -> None:
    """The buffers at the end are those of ordinary training: two steps and the query count three batches."""
    here = episode(lambda: normalised(3), 2, SGD(0.1), classes=3, shape=(1, 8, 8))

    family = Symbolic(loss_of("brier"))

    found = meta_gradient(here, family, family.initial(0))

    assert int(found.end.buffers["1.num_batches_tracked"]) == 3
    assert int(here.buffers["1.num_batches_tracked"]) == 0


@settings(max_examples=25, deadline=None)
@given(body=exprs(params=(), class_axis=False, total=True, max_leaves=6), steps=st.sampled_from([1, 2]), data=st.data())
def test_engines_agree_for_any_loss(body: object, steps: int, data: st.DataObject) -> None:
    """For random losses over all operators, the closed forms give what autograd makes of the same code."""
    loss = Loss(body)  # type: ignore[arg-type]
    if F not in postorder(loss.body):
        return
    try:
        family = Symbolic(loss, output=data.draw(st.sampled_from(["identity", "softplus", "smooth-leaky-relu"])))
    except LosscError as problem:
        assert problem.diagnostic.code in ("L310", "L340", "L320")
        return
    here = episode(lambda: stack(nn.ReLU, 1), steps, OPTIMISERS["nesterov"])
    phi = family.initial(3)
    oracle = unroll.meta_gradient(here, _Plain(family), phi)
    if not oracle.finite or float(oracle.grad.norm()) > 1e6:
        return
    for engine in EXACT:
        if engine not in WHY_NOT or not WHY_NOT[engine](here):
            found = meta_gradient(here, family, phi, engine)
            assert float((found.grad - oracle.grad).norm()) <= 1e-8 * max(1.0, float(oracle.grad.norm())), engine


class _Plain(NeuralLoss):
    """The same loss, with every derivative left to autograd."""

    def __init__(self, family: Symbolic) -> None:
        self.family, self.size, self.name = family, family.size, "plain"

    def plain(self, outputs: torch.Tensor, target: torch.Tensor, phi: torch.Tensor) -> torch.Tensor:
        return self.family.plain(outputs, target, phi)


@pytest.mark.parametrize("engine", ["jvp1", "lockstep", "unroll", "reversible"])
def test_linear_model_and_squared_loss_by_formula(engine: str) -> None:
    """For f = xw and φ(y - f)², one step gives dL_meta/dφ = ∇L_meta(w_1) · (2α/n) Xᵀ(y - Xw), by hand."""
    here = episode(lambda: nn.Sequential(nn.Linear(5, 1, bias=False)), 1, SGD(0.1))
    family = Symbolic(lossc.parse("(y - f)^2"))
    phi = torch.tensor([1.3, 1.0, 1.0, 1.0], dtype=torch.float64)  # φ_0 is on the root, the rest inside
    family_size = family.size
    (x, y), (v, z) = here.inner[0], here.query
    w = here.params["0.weight"]
    n = len(x)

    found = meta_gradient(here, family, phi[:family_size], engine)

    push = 2 * 0.1 / n * (y - x @ w.t()).t() @ x
    end = w + 1.3 * push
    expected = (-2 / n * (z - v @ end.t()).t() @ v * push).sum()
    assert float(found.grad[0]) == pytest.approx(float(expected), rel=1e-12)
    torch.testing.assert_close(found.end.params["0.weight"], end, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("name", ["smooth", "evomal", "brier", "reduced"])
def test_finite_differences(name: str, steps: int) -> None:
    """On a smooth model and a smooth loss, central differences of the meta-loss agree to 1e-6."""
    classes = 3 if name in CLASSES else 0
    here = episode(lambda: stack(nn.Tanh, classes or 1), steps, OPTIMISERS["nesterov"], classes=classes)
    family = Symbolic(loss_of(name))
    phi, h = family.initial(2), 1e-5

    found = meta_gradient(here, family, phi).grad

    for i in range(family.size):
        up, down = phi.clone(), phi.clone()
        up[i], down[i] = phi[i] + h, phi[i] - h
        slope = (play(here, family, up)[0] - play(here, family, down)[0]) / (2 * h)
        assert float(found[i]) == pytest.approx(slope, rel=1e-6, abs=1e-9 * float(found.norm()) + 1e-10)


@pytest.mark.parametrize("classes", [0, 3, 9])
@pytest.mark.parametrize("chunk", [1, 2, 5])
def test_lockstep_losses_do_not_touch_each_other(classes: int, chunk: int) -> None:
    """Losses of different forms, together in chunks of any size, each have the meta-gradient that they have alone."""
    here = episode(lambda: stack(nn.ReLU, classes or 1), 1, OPTIMISERS["nesterov"], classes=classes)
    names = list(CLASSES if classes else REGRESSION)
    families = [Symbolic(loss_of(n)) for n in names] * 2
    phis = [f.initial(i) for i, f in enumerate(families)]

    together = lockstep.meta_gradients(here, families, phis, chunk=chunk)

    for found, family, phi in zip(together, families, phis, strict=True):
        alone = meta_gradient(here, family, phi, "unroll")
        assert relative(found.grad, alone.grad) < 1e-10
        assert found.value == pytest.approx(alone.value, rel=1e-12)
        for k, v in alone.end.params.items():
            torch.testing.assert_close(found.end.params[k], v, rtol=1e-10, atol=1e-12)
    assert [g.engine for g in meta_gradients(here, families, phis)] == ["lockstep"] * len(families)


@pytest.mark.parametrize("family", [NeuralLoss(), NeuralLoss(ADALFL), taylor("taylor3"), taylor("taylor2")])
def test_other_representations_have_the_same_engines(family: NeuralLoss) -> None:
    """A network and a polynomial: all engines agree with autograd too."""
    here = episode(lambda: stack(nn.Tanh, 1), 1, OPTIMISERS["nesterov"])
    phi = family.initial(1)
    oracle = naive_meta_gradient(here, family.plain, phi)

    for engine in EXACT:
        assert relative(meta_gradient(here, family, phi, engine).grad, oracle) < 1e-10, engine


def test_two_tasks_add_up() -> None:
    """The meta-gradient of two tasks is the sum of the two (thesis, algorithm 3, line 11)."""
    family = Symbolic(loss_of("smooth"))
    phi = family.initial(0)
    both = [episode(lambda: stack(nn.Tanh, 1), 2, SGD(0.1), seed=s) for s in (0, 1)]

    parts = [meta_gradient(e, family, phi).grad for e in both]
    oracle = sum(naive_meta_gradient(e, family.plain, phi) for e in both)

    assert relative(parts[0] + parts[1], torch.as_tensor(oracle)) < 1e-10


@pytest.mark.parametrize("optimiser", ["plain", "nesterov"])
def test_truncation_holds_the_early_steps_fixed(optimiser: str) -> None:
    """Truncated to the last K steps it is the full meta-gradient of an episode that starts K steps before the end."""
    whole = episode(lambda: stack(nn.Tanh, 1), 5, OPTIMISERS[optimiser])
    family = Symbolic(loss_of("smooth"))
    phi = family.initial(0)
    early = type(whole)(
        whole.model, whole.params, whole.buffers, whole.inner[:3], whole.query, whole.sgd, whole.meta_loss
    )
    end = play(early, family, phi)[1]
    late = type(whole)(
        whole.model, end.params, end.buffers, whole.inner[3:], whole.query, whole.sgd, whole.meta_loss, end.velocity
    )

    found = meta_gradient(whole, family, phi, truncate=2)

    assert relative(found.grad, meta_gradient(late, family, phi, "unroll").grad) < 1e-10
    assert relative(found.grad, meta_gradient(whole, family, phi).grad) > 1e-3


def test_momentum_that_is_under_way() -> None:
    """With a velocity at the start, one step by forward mode and by reverse mode agree."""
    here = episode(lambda: stack(nn.Tanh, 1), 1, OPTIMISERS["momentum"])
    moving = type(here)(
        here.model, here.params, here.buffers, here.inner, here.query, here.sgd, here.meta_loss,
        {k: torch.randn_like(v) for k, v in here.params.items()},
    )  # fmt: skip
    family = Symbolic(loss_of("smooth"))
    phi = family.initial(0)

    oracle = naive_meta_gradient(moving, family.plain, phi)

    assert lockstep.why_not(moving)
    for engine in ("unroll", "jvp1", "reversible"):
        assert relative(meta_gradient(moving, family, phi, engine).grad, oracle) < 1e-10, engine


def test_growth_of_the_adjoint_is_the_same_in_both_engines() -> None:
    """The norms of the weights' adjoints from step to step: autograd's hooks and the hand-written walk agree."""
    here = episode(lambda: stack(nn.Tanh, 1), 4, OPTIMISERS["plain"])
    family = Symbolic(loss_of("smooth"))
    phi = family.initial(0)

    found = [meta_gradient(here, family, phi, n).growth for n in ("unroll", "reversible")]

    assert len(found[0]) == 3
    assert found[0] == pytest.approx(found[1], rel=1e-9)


def test_implicit_gradient_at_a_minimum() -> None:
    """For a quadratic inner problem trained to its end, the implicit gradient is the derivative of the minimum."""
    from dataclasses import replace

    from lossc.runtime.meta.engines import implicit

    here = episode(lambda: nn.Sequential(nn.Linear(5, 1)), 1, SGD(0.1, weight_decay=0.1), rows=30)
    here = replace(here, inner=here.inner * 400)
    family = Symbolic(lossc.parse("(y - f)^2"))
    phi = torch.tensor([1.2, 0.9, 1.1, 1.0][: family.size], dtype=torch.float64)

    found = implicit.meta_gradient(here, family, phi, damping=0.0)

    assert relative(found.grad, meta_gradient(here, family, phi, "unroll").grad) < 1e-6


def test_evolution_finds_the_direction() -> None:
    """On a smooth episode the estimate by random directions points where the gradient points."""
    from lossc.runtime.meta.engines import evolution

    here = episode(lambda: stack(nn.Tanh, 1), 1, OPTIMISERS["plain"])
    family = Symbolic(loss_of("smooth"))
    phi = family.initial(0)

    exact = meta_gradient(here, family, phi).grad
    found = evolution.meta_gradient(here, family, phi, pairs=400, width=1e-3).grad

    assert float(torch.dot(found, exact) / (found.norm() * exact.norm())) > 0.95


def test_the_fastest_engine_is_chosen() -> None:
    """lockstep for one step of a stack, jvp1 for one of any model, reversible for several, unroll for the rest."""
    assert choose(episode(lambda: stack(nn.ReLU, 1), 1, SGD(0.1))) == "lockstep"
    assert choose(episode(lambda: stack(nn.ReLU, 1), 3, SGD(0.1))) == "reversible"
    assert choose(episode(lambda: normalised(3), 1, SGD(0.1), classes=3, shape=(1, 8, 8))) == "jvp1"
    assert choose(episode(lambda: normalised(3), 2, SGD(0.1), classes=3, shape=(1, 8, 8))) == "unroll"


def test_an_engine_that_cannot_be_used_says_why() -> None:
    """Asking for an engine that is not for the episode is an error of the call that names the reason."""
    here = episode(lambda: stack(nn.GELU, 1), 2, SGD(0.1))
    family = Symbolic(loss_of("smooth"))
    phi = family.initial(0)

    for engine, reason in (("jvp1", "one inner step"), ("reversible", "stack"), ("nosuch", "no engine")):
        with pytest.raises(UsageError, match=reason) as caught:
            meta_gradient(here, family, phi, engine)
        assert caught.value.diagnostic.code == "L253"


def test_gradients_of_the_node_of_the_loss() -> None:
    """torch's own checks of first and second derivatives, in outputs and φ, and a third derivative."""
    family = Symbolic(loss_of("evomal"), output="softplus")
    f = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    phi = family.initial(0).requires_grad_()
    y = family.encode(torch.tensor([0, 2, 1, 1]), f)

    assert torch.autograd.gradcheck(lambda a, b: family.loss(a, y, b), (f, phi))
    assert torch.autograd.gradgradcheck(lambda a, b: family.loss(a, y, b), (f, phi))
    assert torch.autograd.gradgradcheck(lambda a, b: family.slope(a, y, b), (f, phi))
