"""Loss networks as modules and as code: value, slope and second-order products against mpmath and autograd."""

from __future__ import annotations

import mpmath
import pytest
import torch
from hypothesis import given, settings

import lossc
from lossc.compiler.errors import LosscError, UsageError
from lossc.compiler.evaluate import evaluate
from lossc.compiler.ir import F, Y, coef, const, postorder, substitute
from lossc.compiler.loss import Loss
from lossc.compiler.passes.parameterize import parameterize
from lossc.compiler.targets.network import network_program
from lossc.runtime.meta.network import LossNetwork
from lossc.runtime.meta.representation import LossRepresentation
from lossc.runtime.meta.symbolic import Symbolic
from tests.runtime.meta_support import CLASSES, REGRESSION, loss_of, relative
from tests.strategies import exprs


def batch(classes: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores and targets."""
    stream = torch.Generator().manual_seed(4)
    f = torch.randn(11, classes or 1, generator=stream, dtype=dtype)
    return f, (torch.randint(classes, (11,), generator=stream) if classes else f.flip(0) + 0.3)


@pytest.mark.parametrize("output", ["identity", "softplus"])
@pytest.mark.parametrize("name", [*REGRESSION, *CLASSES])
def test_closed_forms_are_those_of_autograd(name: str, output: str) -> None:
    """Slope, Hessian product and mixed product of the NumPy and of the torch code, against torch's own autograd."""
    family = Symbolic(loss_of(name), output=output)
    f, y = batch(4 if name in CLASSES else 0)
    target, phi, u = family.encode(y, f), family.initial(0), torch.sin(f)

    want = (
        LossRepresentation.value_and_slope(family, f, target, phi),
        LossRepresentation.second(family, f, target, u, phi),
    )
    found = family.value_and_slope(f, target, phi), family.second(f, target, u, phi)
    with torch.device("cpu"):
        plain = family._torch.second(target, f, u, phi.unbind())

    assert float(found[0][0]) == pytest.approx(float(want[0][0]), rel=1e-12)
    for a, b in ((found[0][1], want[0][1]), (found[1][0], want[1][0]), (found[1][1], want[1][1])):
        assert relative(a, b) < 1e-12
    share = 1 / len(f) if name in CLASSES else 1 / f.numel()
    assert relative(torch.as_tensor(plain[0]).expand_as(f) * share, want[1][0]) < 1e-12


@pytest.mark.parametrize("name", [*REGRESSION, *CLASSES])
def test_value_is_that_of_the_formula(name: str) -> None:
    """The mean over the rows of the formula's value in mpmath, softmax and all."""
    family = Symbolic(loss_of(name))
    classes = 4 if name in CLASSES else 0
    f, y = batch(classes)
    target, phi = family.encode(y, f), family.initial(0)
    body = substitute(family.network.body, {coef(i): const(float(v)) for i, v in enumerate(phi)})

    total = mpmath.mpf(0)
    for row, goal in zip(f.tolist(), target.tolist(), strict=True):
        if classes:
            grown = [mpmath.exp(v) for v in row]
            probs = [g / mpmath.fsum(grown) for g in grown]
            value = evaluate(body, {Y: goal, F: probs}, dps=40, num_classes=classes)
            total += (
                value
                if family.network.reduces_itself and not isinstance(value, list)
                else mpmath.fsum(value) / (classes if family.network.reduces_itself else 1)
            )
        else:
            total += evaluate(body, {Y: goal[0], F: row[0]}, dps=40)

    assert float(family.value_and_slope(f, target, phi)[0]) == pytest.approx(float(total / len(f)), rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(body=exprs(params=(), total=True, max_leaves=7))
def test_closed_forms_for_any_classwise_loss(body: object) -> None:
    """For random losses along the class axis too, the closed forms are autograd's."""
    loss = Loss(body, y="onehot", f="prob")  # type: ignore[arg-type]
    if F not in postorder(loss.body):
        return
    try:
        family = Symbolic(loss)
    except LosscError as problem:
        assert problem.diagnostic.code in ("L310", "L340", "L320")
        return
    f, y = batch(3)
    target, phi, u = family.encode(y, f), family.initial(0), torch.cos(f)
    want = LossRepresentation.second(family, f, target, u, phi)
    if not all(bool(torch.isfinite(w).all()) and float(w.abs().max()) < 1e8 for w in want if w.numel()):
        return

    found = family.second(f, target, u, phi)

    for a, b in zip(found, want, strict=True):
        assert float((a - b).norm()) <= 1e-8 * max(1.0, float(b.norm()))


def test_every_coefficient_has_a_meta_gradient() -> None:
    """On some input the mixed derivative with respect to each φ is not zero, the root's included."""
    for name in [*REGRESSION, *CLASSES]:
        family = Symbolic(loss_of(name))
        f, y = batch(4 if name in CLASSES else 0)
        mixed = family.second(f, family.encode(y, f), torch.ones_like(f) + f, family.initial(0))[1]
        assert bool((mixed != 0).all()), name


def test_code_is_straight_line_and_the_same_every_time() -> None:
    """No loops and no calls but those of the operators; equal losses give equal text; what is dead is not computed."""
    program = network_program(parameterize(lossc.parse("sqrt(abs(y - f))")))
    source = program.source()

    assert source == network_program(parameterize(lossc.parse("sqrt(abs(y - f))"))).source()
    assert "for " not in source and "lambda" not in source
    assert source.count("def ") == 4


def test_module_is_called_like_a_loss_of_torch() -> None:
    """`to_network` gives a module whose φ is a parameter, near 1, the same for a seed; folded, it is its function."""
    loss = lossc.parse("abs(log(y*f + eps))", y="onehot", f="prob")
    network = loss.to_network(seed=3)
    f, y = batch(5)
    f.requires_grad_()

    value = network(f, y)
    value.backward()

    assert isinstance(network, LossNetwork)
    assert torch.equal(network.phi, loss.to_network(seed=3).phi)
    assert float((network.phi - 1).abs().max()) < 5e-3 and network.phi.grad is not None
    assert network.phi.shape == network.phi.grad.shape and f.grad is not None
    folded = network.fold()
    assert folded is not None
    assert float(folded.to_torch()(f.detach(), y)) == pytest.approx(float(value.detach()), rel=1e-9)


def test_shapes_that_do_not_fit_are_refused() -> None:
    """A target of another shape is not broadcast in silence; φ of another length is refused."""
    network = lossc.parse("(y - f)^2").to_network()

    with pytest.raises(UsageError, match="shape"):
        network(torch.zeros(4, 1), torch.zeros(4))
    with pytest.raises(UsageError, match="coefficients"):
        LossNetwork(network.family, torch.ones(99))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_of_the_outputs_is_kept(dtype: torch.dtype) -> None:
    """float32 outputs give a float32 loss and slope; φ is float64 whatever they are."""
    family = Symbolic(loss_of("kinked"))
    f, y = batch(0, dtype)
    phi = family.initial(0)

    value, slope = family.value_and_slope(f, y, phi)
    hessian, mixed = family.second(f, y, f, phi)

    assert value.dtype == slope.dtype == hessian.dtype == dtype
    assert mixed.dtype == torch.float64


def test_kinks_are_counted() -> None:
    """The share of entries that sit on a kink of some operator."""
    family = Symbolic(lossc.parse("abs(y - f)"))
    phi = torch.ones(family.size, dtype=torch.float64)
    f = torch.tensor([[0.0], [1.0], [2.0], [3.0]], dtype=torch.float64)

    assert family.kink_share(f, torch.zeros_like(f), phi) == 0.25
    assert Symbolic(lossc.parse("(y - f)^2")).kink_share(f, f, torch.ones(4).double()[:4]) == 0.0


def test_a_network_is_copied_pickled_and_saved() -> None:
    """Copies share no φ; a pickle and a state dict bring it back to the bit."""
    import copy
    import io

    network = loss_of("evomal").to_network(seed=1)
    f, y = batch(4)
    want = network(f, y)

    twin = copy.deepcopy(network)
    buffer = io.BytesIO()
    torch.save(network, buffer)
    buffer.seek(0)
    stored = torch.load(buffer, weights_only=False)
    fresh = loss_of("evomal").to_network(seed=9)
    fresh.load_state_dict(network.state_dict())

    for other in (twin, stored, fresh):
        assert torch.equal(other(f, y), want) and other.phi is not network.phi
    with torch.no_grad():
        twin.phi.add_(1.0)
    assert torch.equal(network(f, y), want)


def test_transforms_of_torch_func() -> None:
    """grad, jacfwd, vmap over φ and jvp of the network are those of plain operations."""
    network = loss_of("evomal").to_network(seed=1, output="softplus")
    f, y = batch(4)
    target, phi = network.family.encode(y, f), network.phi.detach()

    def value(p: torch.Tensor) -> torch.Tensor:
        return network.family.loss(f, target, p)

    oracle = torch.autograd.grad(network.family.plain(f, target, network.phi), network.phi)[0]
    assert relative(torch.func.grad(value)(phi), oracle) < 1e-12
    assert relative(torch.func.jacfwd(value)(phi), oracle) < 1e-12
    many = torch.stack([phi, 1.1 * phi])
    assert relative(torch.vmap(value)(many), torch.stack([value(p) for p in many])) < 1e-12


def test_dense_prediction_counts_every_pixel() -> None:
    """Scores [N, C, H, W] and labels [N, H, W]: the mean over the pixels, as the same pixels in rows."""
    network = loss_of("evomal").to_network(seed=1)
    f = torch.randn(2, 4, 3, 5, dtype=torch.float64, requires_grad=True)
    y = torch.randint(4, (2, 3, 5))

    value = network(f, y)

    rows = network(f.movedim(1, -1).reshape(-1, 4), y.reshape(-1))
    assert float(value.detach()) == pytest.approx(float(rows.detach()), rel=1e-12)
    (g,) = torch.autograd.grad(value, f)
    (h,) = torch.autograd.grad(rows, f)
    torch.testing.assert_close(g, h, rtol=1e-10, atol=1e-14)
