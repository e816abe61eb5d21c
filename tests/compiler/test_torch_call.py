"""The whole call of an emitted loss against torch's own losses: weights, ignored labels, smoothing, masks, shapes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lossc.compiler.loss import Loss
from lossc.compiler.targets.options import Options
from lossc.grammar import parse
from lossc.grammar.library import named

CLASSES = 5
REDUCTIONS = ("none", "mean", "sum")
FORMS = {"fused": Options(fused=True), "plain": Options(fused=False)}
EACH_FORM = pytest.mark.parametrize("form", FORMS)
WRITTEN = {
    "library": named("cross_entropy"),
    "logits": named("cross_entropy_logits"),
    "ace": named("ace"),
    "smoothed formula": named("label_smoothing"),
}


def module_of(loss: Loss, form: str, reduction: str = "mean", **settings: Any) -> nn.Module:
    """The module in one of the forms."""
    return loss.to_torch(reduction, options=FORMS[form], **settings)


def compared(ours: Callable[[Tensor], Tensor], theirs: Callable[[Tensor], Tensor], z: Tensor) -> None:
    """Value and gradient agree to float64 rounding, NaN included (an empty mean)."""
    z = z.detach().requires_grad_()
    value, expected = ours(z), theirs(z)
    assert value.shape == expected.shape and value.dtype == expected.dtype
    assert torch.allclose(value, expected, rtol=1e-12, atol=1e-14, equal_nan=True)
    pull = torch.rand(value.shape, dtype=value.dtype)
    mine, right = (torch.autograd.grad(v, z, pull)[0] for v in (value, expected))
    assert torch.allclose(mine, right, rtol=1e-10, atol=1e-13, equal_nan=True)


# -- cross-entropy: everything that nn.CrossEntropyLoss takes ---------------------------------------------------------

SHAPES = [(7, CLASSES), (CLASSES,), (3, CLASSES, 4), (2, CLASSES, 3, 2)]


@EACH_FORM
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.15])
@pytest.mark.parametrize("ignored", ["none", "some", "all"])
@pytest.mark.parametrize("name", ["library", "logits", "ace"])
def test_class_indices(form: str, weighted: bool, smoothing: float, ignored: str, name: str) -> None:
    """Weights, smoothing and ignored labels together, for every reduction and shape: nn.CrossEntropyLoss."""
    torch.manual_seed(1)
    weight = torch.rand(CLASSES, dtype=torch.float64) + 0.1 if weighted else None
    for shape, reduction in itertools.product(SHAPES, REDUCTIONS):
        dim = min(1, len(shape) - 1)
        z = 3 * torch.randn(shape, dtype=torch.float64)
        labels = torch.randint(0, CLASSES, shape[:dim] + shape[dim + 1 :])
        if ignored != "none":
            out = torch.rand(labels.shape) < 0.4 if ignored == "some" else torch.ones_like(labels, dtype=torch.bool)
            labels = torch.where(out, 2, labels)
        index = 2 if ignored != "none" else -100
        settings: dict[str, Any] = {"weight": weight, "ignore_index": index, "label_smoothing": smoothing}
        ours = module_of(WRITTEN[name], form, reduction, **settings)
        theirs = nn.CrossEntropyLoss(reduction=reduction, **settings)
        compared(lambda v, m=ours, y=labels: m(v, y), lambda v, m=theirs, y=labels: m(v, y), z)


@EACH_FORM
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.15])
@pytest.mark.parametrize("name", ["library", "logits"])
def test_soft_targets(form: str, weighted: bool, smoothing: float, name: str) -> None:
    """Rows of probabilities with class weights and smoothing: nn.CrossEntropyLoss, whose mean counts the samples."""
    torch.manual_seed(2)
    weight = torch.rand(CLASSES, dtype=torch.float64) + 0.1 if weighted else None
    for shape, reduction in itertools.product(SHAPES, REDUCTIONS):
        z = torch.randn(shape, dtype=torch.float64)
        y = torch.softmax(torch.randn(shape, dtype=torch.float64), dim=min(1, len(shape) - 1))
        settings: dict[str, Any] = {"weight": weight, "label_smoothing": smoothing}
        ours = module_of(WRITTEN[name], form, reduction, **settings)
        theirs = nn.CrossEntropyLoss(reduction=reduction, **settings)
        compared(lambda v, m=ours, t=y: m(v, t), lambda v, m=theirs, t=y: m(v, t), z)


@EACH_FORM
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_smoothed_formula_has_the_weights_of_torch(form: str, reduction: str, weighted: bool) -> None:
    """Label smoothing written into the formula, with class weights and ignored labels, is torch's label_smoothing."""
    torch.manual_seed(3)
    z, labels = torch.randn(9, CLASSES, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 4, -100, 0, 1, -100])
    weight = torch.rand(CLASSES, dtype=torch.float64) if weighted else None
    ours = module_of(WRITTEN["smoothed formula"], form, reduction, weight=weight)
    theirs = nn.CrossEntropyLoss(weight, reduction=reduction, label_smoothing=0.1)
    compared(lambda v: ours(v, labels), lambda v: theirs(v, labels), z)


@EACH_FORM
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_negative_log_likelihood(form: str, reduction: str) -> None:
    """-Σ y f of log-probabilities with weights and ignored labels is nn.NLLLoss."""
    torch.manual_seed(4)
    f = torch.log_softmax(torch.randn(9, CLASSES, dtype=torch.float64), 1)
    labels, weight = torch.tensor([0, 1, 2, 3, 4, 1, 0, 1, 2]), torch.rand(CLASSES, dtype=torch.float64)
    ours = module_of(named("nll"), form, reduction, weight=weight, ignore_index=1)
    theirs = nn.NLLLoss(weight, ignore_index=1, reduction=reduction)
    compared(lambda v: ours(v, labels), lambda v: theirs(v, labels), f)


@EACH_FORM
@pytest.mark.parametrize("reduction", ["none", "sum"])
def test_a_loss_that_is_no_sum_of_terms_weighs_samples(form: str, reduction: str) -> None:
    """The multi-margin loss weighs each sample by the weight of its class, as F.multi_margin_loss does."""
    torch.manual_seed(5)
    f, labels = torch.randn(9, CLASSES, dtype=torch.float64), torch.randint(0, CLASSES, (9,))
    weight = torch.rand(CLASSES, dtype=torch.float64)
    ours = module_of(named("multi_margin"), form, reduction, weight=weight)
    compared(
        lambda v: ours(v, labels),
        lambda v: functional.multi_margin_loss(v, labels, weight=weight, reduction=reduction), f,
    )  # fmt: skip


@EACH_FORM
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_multi_label_class_weights(form: str, reduction: str) -> None:
    """The weights of nn.MultiLabelSoftMarginLoss are those of the labels' terms."""
    torch.manual_seed(6)
    f = torch.randn(9, CLASSES, dtype=torch.float64)
    y, weight = (torch.rand(9, CLASSES) > 0.5).double(), torch.rand(CLASSES, dtype=torch.float64)
    ours = module_of(named("multilabel_soft_margin"), form, reduction, weight=weight)
    theirs = nn.MultiLabelSoftMarginLoss(weight, reduction=reduction)
    compared(lambda v: ours(v, y), lambda v: theirs(v, y), f)


# -- binary and elementwise -------------------------------------------------------------------------------------------


@EACH_FORM
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("pos_weight", [None, [2.5], [0.3, 1.0, 4.0]])
@pytest.mark.parametrize("name", ["bce", "bce_logits"])
def test_pos_weight(form: str, reduction: str, soft: bool, pos_weight: list[float] | None, name: str) -> None:
    """pos_weight of any broadcastable shape, hard and soft targets, is that of nn.BCEWithLogitsLoss."""
    torch.manual_seed(7)
    z, y = 3 * torch.randn(8, 3, dtype=torch.float64), torch.rand(8, 3, dtype=torch.float64)
    y = y if soft else (y > 0.5).double()
    weight = None if pos_weight is None else torch.tensor(pos_weight, dtype=torch.float64)
    ours = module_of(named(name), form, reduction, pos_weight=weight)
    theirs = nn.BCEWithLogitsLoss(pos_weight=weight, reduction=reduction)
    compared(lambda v: ours(v, y), lambda v: theirs(v, y), z)


@EACH_FORM
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_binary_label_smoothing(form: str, reduction: str) -> None:
    """Smoothing moves a binary target toward 1/2: the loss of the target so transformed."""
    torch.manual_seed(8)
    z, y = torch.randn(20, dtype=torch.float64), (torch.rand(20) > 0.5).double()
    ours = module_of(named("bce"), form, reduction, label_smoothing=0.2)
    theirs = nn.BCEWithLogitsLoss(reduction=reduction)
    compared(lambda v: ours(v, y), lambda v: theirs(v, 0.8 * y + 0.1), z)


@EACH_FORM
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    ("name", "theirs"),
    [("mse", functional.mse_loss), ("mae", functional.l1_loss), ("huber", functional.huber_loss)],
)
def test_element_weights(form: str, reduction: str, name: str, theirs: Callable[..., Tensor]) -> None:
    """sample_weight of an elementwise loss is the `weight` of F.mse_loss and its kin: a mean divides by their sum (that
    of F.huber_loss alone does not)."""
    torch.manual_seed(9)
    f, y = 2 * torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    weight = torch.rand(6, 4, dtype=torch.float64)
    factor = 24 / weight.sum() if (name, reduction) == ("huber", "mean") else 1.0
    ours = module_of(named(name), form, reduction)
    compared(lambda v: ours(v, y, weight), lambda v: factor * theirs(v, y, reduction=reduction, weight=weight), f)


@EACH_FORM
def test_sample_weights_of_a_classwise_loss(form: str) -> None:
    """One weight a sample, of any shape that broadcasts to the unreduced loss: Σ w L / Σ w, and a mask is 0 or 1."""
    torch.manual_seed(10)
    z, labels = torch.randn(6, CLASSES, 3, dtype=torch.float64), torch.randint(0, CLASSES, (6, 3))
    each = functional.cross_entropy(z, labels, reduction="none")
    for weight in (torch.rand(6, 3).double(), torch.rand(6, 1).double(), torch.rand(6, 3) > 0.5):
        spread = weight.double().broadcast_to(6, 3)
        module = module_of(named("cross_entropy"), form)
        expected = (spread * each).sum() / spread.sum()
        assert torch.allclose(module(z, labels, weight), expected, rtol=1e-12)
        none = module_of(named("cross_entropy"), form, "none")(z, labels, sample_weight=weight)
        assert torch.allclose(none, spread * each, rtol=1e-12)
    with pytest.raises(RuntimeError, match=r"expanded size|broadcast"):
        module_of(named("cross_entropy"), form)(z, labels, torch.rand(5, 3))


@EACH_FORM
def test_class_weights_and_sample_weights_multiply(form: str) -> None:
    """Weights of classes, of samples and ignored labels together: Σ w_n s_n L_n / Σ w_n s_n over what is left."""
    torch.manual_seed(11)
    z, labels = torch.randn(8, CLASSES, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 4, -100, 1, -100])
    weight, samples = torch.rand(CLASSES, dtype=torch.float64), torch.rand(8, dtype=torch.float64)
    each = functional.cross_entropy(z, labels, weight, reduction="none")
    total = (samples * torch.where(labels == -100, 0.0, weight[labels.clamp(min=0)])).sum()
    ours = module_of(named("focal"), form, weight=weight, gamma=0.0)
    assert torch.allclose(ours(z, labels, samples), (samples * each).sum() / total, rtol=1e-12)


# -- G15: what does not count leaves no trace -------------------------------------------------------------------------


@EACH_FORM
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf, 1e30])
def test_masked_garbage_leaves_no_trace(form: str, reduction: str, garbage: float) -> None:
    """NaN and infinities in ignored, masked and zero-weight rows: the other rows' numbers, and gradients of exactly 0
    there (numerics.md, G15), where torch's own gradient is NaN."""
    torch.manual_seed(12)
    z, labels = torch.randn(6, CLASSES, dtype=torch.float64), torch.tensor([0, -100, 2, 3, -100, 1])
    z[1], z[4] = garbage, garbage
    z.requires_grad_()
    kept = [0, 2, 3, 5]
    module = module_of(named("focal_sparse_lsr"), form, reduction)
    mask = labels != -100
    clean = module(z[kept].detach(), labels[kept])
    for arguments in ((labels,), (labels.clamp(min=0), mask), (labels.clamp(min=0), mask.double())):
        value = module(z, *arguments)
        assert torch.allclose(value[kept] if reduction == "none" else value, clean)
        (slope,) = torch.autograd.grad(value.sum(), z)
        assert torch.equal(slope[[1, 4]], torch.zeros(2, CLASSES, dtype=torch.float64))
        assert torch.isfinite(slope).all() and slope[kept].abs().sum() > 0
    f = torch.tensor([0.5, garbage, -1.0], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0.0, garbage, 1.0], dtype=torch.float64)
    for name in ("mse", "pseudo_huber", "evomal_i", "bce"):
        value = module_of(named(name), form, reduction)(f, y, torch.tensor([1.0, 0.0, 1.0]))
        (slope,) = torch.autograd.grad(value.sum(), f)
        assert torch.isfinite(value).all() and torch.isfinite(slope).all() and slope[1] == 0


@EACH_FORM
def test_masked_classes(form: str) -> None:
    """Scores of -inf take classes out of the race: finite values and gradients for the others, and 0 there."""
    z = torch.tensor([[1.0, -math.inf, 0.5], [-math.inf, -math.inf, 2.0]], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 2])
    for name in ("cross_entropy", "cross_entropy_logits", "ace", "focal", "generalized_cross_entropy"):
        value = module_of(named(name), form, "none")(z, labels)
        (slope,) = torch.autograd.grad(value.sum(), z)
        assert torch.isfinite(value).all() and torch.isfinite(slope).all(), name
        assert torch.equal(slope[0, 1:2], torch.zeros(1).double()) and torch.equal(slope[1], torch.zeros(3).double())
    exact = functional.cross_entropy(z, labels, reduction="none")
    assert torch.allclose(module_of(named("cross_entropy"), form, "none")(z, labels), exact)


# -- the edges --------------------------------------------------------------------------------------------------------


@EACH_FORM
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_empty_batches(form: str, reduction: str) -> None:
    """Nothing to average is NaN, nothing to sum is 0, as in torch; and backward works."""
    z, labels = torch.zeros(0, CLASSES, requires_grad=True), torch.zeros(0, dtype=torch.int64)
    for name in ("cross_entropy", "label_smoothing", "focal"):
        ours = module_of(named(name), form, reduction)(z, labels)
        theirs = functional.cross_entropy(z, labels, reduction=reduction)
        assert torch.equal(ours, theirs) or (bool(ours.isnan()) and bool(theirs.isnan()))
        ours.sum().backward()
    f = torch.zeros(0, requires_grad=True)
    ours, theirs = (
        module_of(named("huber"), form, reduction)(f, f.detach()),
        functional.huber_loss(f, f, reduction=reduction),
    )
    assert torch.equal(ours, theirs) or (bool(ours.isnan()) and bool(theirs.isnan()))


@EACH_FORM
@pytest.mark.parametrize("bad", [CLASSES, -1, 100])
def test_labels_out_of_range(form: str, bad: int) -> None:
    """A class index that does not exist is an error, not a loss of zero."""
    with pytest.raises((IndexError, RuntimeError), match=r"out of (bounds|range)"):
        module_of(named("cross_entropy"), form)(torch.randn(2, CLASSES), torch.tensor([0, bad]))


@EACH_FORM
def test_one_class(form: str) -> None:
    """With a single class the softmax is 1: cross-entropy and its gradient are 0."""
    z = torch.randn(4, 1, requires_grad=True)
    value = module_of(named("cross_entropy"), form)(z, torch.zeros(4, dtype=torch.int64))
    value.backward()
    assert value.item() == 0 and z.grad is not None and torch.equal(z.grad, torch.zeros(4, 1))


def test_probabilities_instead_of_scores() -> None:
    """from_logits=False takes the probabilities: the loss of the scores, and the gradient of the formula itself."""
    torch.manual_seed(13)
    z = torch.randn(7, CLASSES, dtype=torch.float64)
    p, labels = torch.softmax(z, 1).requires_grad_(), torch.randint(0, CLASSES, (7,))
    for name in ("cross_entropy", "label_smoothing", "sparse_lsr", "brier", "focal"):
        of_scores, of_p = named(name).to_torch(), named(name).to_torch(from_logits=False)
        assert torch.allclose(of_p(p, labels), of_scores(z, labels), rtol=1e-11)
    (slope,) = torch.autograd.grad(named("cross_entropy").to_torch("sum", from_logits=False)(p, labels), p)
    onehot = functional.one_hot(labels, CLASSES).double()
    assert torch.allclose(slope, -onehot / p)
    q, y = torch.rand(9, dtype=torch.float64), (torch.rand(9) > 0.5).double()
    ours = named("bce").to_torch(from_logits=False)(q, y)
    assert torch.allclose(ours, functional.binary_cross_entropy(q, y))


@pytest.mark.parametrize("value", [-0.1, 1.5, math.nan])
def test_wrong_settings(value: float) -> None:
    """Smoothing outside [0, 1] and ignore_index beside soft targets are refused with a reason, as by torch."""
    z, labels = torch.randn(3, CLASSES), torch.randint(0, CLASSES, (3,))
    with pytest.raises(ValueError, match="label_smoothing must be between"):
        named("cross_entropy").to_torch(label_smoothing=value)(z, labels)
    with pytest.raises(ValueError, match="ignore_index is for class indices"):
        named("cross_entropy").to_torch(ignore_index=1)(z, torch.softmax(z, 1))


def test_weights_are_buffers() -> None:
    """weight and pos_weight move with the module and are in its state, as in torch."""
    module = named("cross_entropy").to_torch(weight=torch.ones(3))
    assert list(module.state_dict()) == ["weight"]
    assert module.double().weight.dtype == torch.float64
    binary = named("bce").to_torch(pos_weight=torch.tensor(2.0))
    assert list(binary.state_dict()) == ["pos_weight"]
    assert not list(named("mse").to_torch().state_dict())


def test_a_hyper_parameter_called_weight() -> None:
    """A loss's own `weight` keeps its name in to_torch; the class weights stay torch's in the emitted class."""
    loss = named("poly_cross_entropy")
    z, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    module = loss.to_torch(weight=0.0)
    assert torch.allclose(module(z, labels), functional.cross_entropy(z, labels), rtol=1e-5)
    both = type(module)("mean", weight=torch.tensor([1.0, 2.0, 3.0]), weight_=0.0)
    theirs = functional.cross_entropy(z, labels, torch.tensor([1.0, 2.0, 3.0]))
    assert torch.allclose(both(z, labels), theirs, rtol=1e-5)


@EACH_FORM
def test_rows_of_zeros_have_no_gradient(form: str) -> None:
    """A target row of zeros (padding) gives a loss and a gradient of 0, although no probabilities sum to 0."""
    z = torch.randn(2, CLASSES, dtype=torch.float64, requires_grad=True)
    y = torch.zeros(2, CLASSES, dtype=torch.float64)
    y[0, 1] = 1.0
    for loss in (named("cross_entropy"), named("focal"), parse("-y*log(f)^3", y="prob", f="prob")):
        (slope,) = torch.autograd.grad(module_of(loss, form, "sum")(z, y), z)
        assert torch.equal(slope[1], torch.zeros(CLASSES).double()) and slope[0].abs().sum() > 0
