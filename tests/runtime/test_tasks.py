"""Data sets, the split, standardisation and the registry of tasks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, mean_squared_error
from sklearn.preprocessing import StandardScaler

from lossc.compiler.errors import UsageError
from lossc.compiler.ir import F, Y, node
from lossc.compiler.loss import Loss
from lossc.runtime.data import Dataset, Scaler, deal, derive, load, split
from lossc.runtime.models import mlp
from lossc.runtime.tasks import error_rate, get_task

BUILT_IN = ("diabetes", "digits")
"""The data sets that need no files; the others are in test_data_files.py."""
DATA = {name: load(name) for name in BUILT_IN}


@pytest.mark.parametrize("name", BUILT_IN)
def test_data_sets_are_whole(name: str) -> None:
    """Shapes, types and classes are those that the publisher states; nothing is missing."""
    rows, features, classes = {"diabetes": (442, 10, 0), "digits": (1797, 64, 10)}[name]

    data = DATA[name]

    assert data.inputs.shape == (rows, features) and data.inputs.dtype == torch.float64
    assert data.targets.shape == (rows,) and data.classes == classes
    assert torch.isfinite(data.inputs).all() and torch.isfinite(data.targets).all()
    assert data.source


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("seed", [0, 7])
def test_parts_are_disjoint_and_complete(name: str, seed: int) -> None:
    """Every row is in exactly one part, and the parts are 60/20/20 to within one row."""
    parts = deal(DATA[name], seed)

    n = len(DATA[name].inputs)
    assert sorted(torch.cat(parts).tolist()) == list(range(n))
    for part, share in zip(parts, (0.6, 0.2, 0.2), strict=True):
        assert abs(len(part) - share * n) <= 2


def test_classes_are_dealt_in_proportion() -> None:
    """Each part holds each class's share of 60/20/20, to within two rows."""
    data = DATA["digits"]

    for part, share in zip(deal(data, 3), (0.6, 0.2, 0.2), strict=True):
        have = torch.bincount(data.targets[part], minlength=10)
        assert (have - share * torch.bincount(data.targets)).abs().max() < 2


@pytest.mark.parametrize("name", BUILT_IN)
def test_statistics_come_from_the_training_part_alone(name: str) -> None:
    """scikit-learn's scaler, fitted on the training rows only, gives the same three parts."""
    data = DATA[name]
    parts = split(data, 1, torch.float64)
    oracle = StandardScaler().fit(data.inputs[parts.train.rows].numpy())

    for part in (parts.train, parts.val, parts.test):
        expected = oracle.transform(data.inputs[part.rows].numpy())
        np.testing.assert_allclose(part.x.numpy(), expected, rtol=1e-12, atol=1e-12)
    if not data.classes:
        y = data.targets[:, None].numpy()
        scale = StandardScaler().fit(y[parts.train.rows])
        np.testing.assert_allclose(parts.test.y.numpy(), scale.transform(y[parts.test.rows]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", BUILT_IN)
def test_held_out_rows_cannot_reach_the_training_part(name: str) -> None:
    """Changing every held-out row beyond recognition leaves the training tensors as they were, to the bit."""
    data = DATA[name]
    before = split(data, 5)
    inputs, targets = data.inputs.clone(), data.targets.clone()
    for part in (before.val, before.test):
        inputs[part.rows] = 1e6
        if not data.classes:
            targets[part.rows] = -1e6

    after = split(Dataset(data.name, inputs, targets, data.classes), 5)

    assert torch.equal(after.train.x, before.train.x) and torch.equal(after.train.y, before.train.y)
    assert torch.equal(after.x_scaler.mean, before.x_scaler.mean)
    assert not torch.equal(after.test.x, before.test.x)


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_seed_decides_the_split(name: str) -> None:
    """One seed, one split; another seed, another."""
    first, again, other = split(DATA[name], 0), split(DATA[name], 0), split(DATA[name], 1)

    assert torch.equal(first.test.rows, again.test.rows) and torch.equal(first.train.x, again.train.x)
    assert not torch.equal(first.test.rows, other.test.rows)


def test_constant_columns_are_centred_only() -> None:
    """A constant column becomes 0 in training and is never divided by a deviation of rounding errors."""
    x = torch.tensor([[0.1, 1.0], [0.1, 2.0], [0.1, 4.0]], dtype=torch.float64)

    scaler = Scaler.fit(x)

    assert scaler.scale[0] == 1.0
    assert scaler(x)[:, 0].abs().max() < 1e-15
    assert scaler(x + 5.0)[:, 0].sub(5.0).abs().max() < 1e-14


def test_derived_seeds_are_stable_and_distinct() -> None:
    """Derived seeds are part of what "same seed, same result" means, so one is pinned: blake2b of the repr."""
    assert derive(0, "split") == derive(0, "split")
    assert derive(0, "split") == 42839300776178864
    many = [derive(s, name, k) for s in range(50) for name in ("init", "epoch") for k in range(20)]
    assert len(set(many)) == len(many)


def test_building_a_model_leaves_the_global_stream() -> None:
    """A model comes from its own stream: equal streams give equal weights, and torch's global one does not move."""
    before = torch.get_rng_state()

    a = mlp((4, 8, 3), torch.Generator().manual_seed(1))
    b = mlp((4, 8, 3), torch.Generator().manual_seed(1))

    assert torch.equal(torch.get_rng_state(), before)
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        assert torch.equal(p, q)
    assert [tuple(p.shape) for p in a.parameters()] == [(8, 4), (8,), (3, 8), (3,)]
    bound = (6 / (4 + 8)) ** 0.5
    weight, bias = list(a.parameters())[:2]
    assert 0.5 * bound < weight.abs().max() <= bound and bias.abs().max() == 0


def test_metrics_agree_with_scikit_learn() -> None:
    """MSE and error rate are scikit-learn's, on random outputs."""
    stream = torch.Generator().manual_seed(0)
    outputs, y = torch.randn(50, 1, generator=stream), torch.randn(50, 1, generator=stream)
    logits, labels = torch.randn(50, 10, generator=stream), torch.randint(10, (50,), generator=stream)

    mse = float(get_task("diabetes").metric.measure(outputs, y))
    error = float(get_task("digits").metric.measure(logits, labels))

    assert mse == pytest.approx(mean_squared_error(y, outputs), rel=1e-6)
    assert error == pytest.approx(1 - accuracy_score(labels, logits.argmax(1)), abs=1e-12)


def test_logits_that_are_not_finite_are_wrong() -> None:
    """A NaN never counts as the right class, although argmax points at it."""
    logits = torch.tensor([[float("nan"), 0.0], [2.0, 1.0], [float("inf"), 0.0]])

    assert float(error_rate(logits, torch.tensor([0, 0, 0]))) == pytest.approx(2 / 3)


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("size", ["small", "thesis"])
def test_tasks_fit_together(name: str, size: str) -> None:
    """In every size the model takes the data, and the baseline and the meta-loss take the model's output."""
    task = get_task(name, size)
    part = task.split(0).val

    outputs = task.fresh_model(0)(part.x)

    assert outputs.shape == (len(part), task.data.outputs)
    assert task.baseline_loss()(outputs, part.y) == task.meta_loss(outputs, part.y)
    assert torch.isfinite(task.metric.measure(outputs, part.y))
    assert task.model.startswith("MLP ") and (size == "small" or "-1000-1000-" in task.model)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda: get_task("mnits"), "L221"),
        (lambda: get_task("diabetes", "huge"), "L221"),
        (lambda: get_task("diabetes", steps=0), "L223"),
        (lambda: get_task("diabetes", batch_size=-1), "L223"),
        (lambda: get_task("diabetes", lr=float("nan")), "L223"),
        (lambda: get_task("diabetes", lr=0.0), "L223"),
        (lambda: load("iris"), "L220"),
    ],
)
def test_wrong_calls_are_usage_errors(call: object, code: str) -> None:
    """An unknown name or a setting out of range is the caller's fault, and says what would do."""
    with pytest.raises(UsageError) as caught:
        call()  # type: ignore[operator]
    assert caught.value.diagnostic.code == code


def test_settings_can_be_changed() -> None:
    """Steps, batch size and learning rate of a task can be set; the rest stays."""
    task = get_task("digits", steps=7, batch_size=9, lr=0.5)

    assert (task.steps, task.batch_size, task.sgd.lr, task.sgd.momentum) == (7, 9, 0.5, 0.9)


SQUARE = (Y - F) ** 2
CROSS_ENTROPY = node("neg", Y * node("log", F))


@pytest.mark.parametrize(
    ("task", "loss", "fits"),
    [
        ("diabetes", Loss(SQUARE), True),
        ("diabetes", Loss(SQUARE, y="count"), False),
        ("diabetes", Loss(SQUARE, y="binary", f="prob"), False),
        ("diabetes", Loss(CROSS_ENTROPY, y="onehot", f="prob"), False),
        ("digits", Loss(SQUARE), False),
        ("digits", Loss(SQUARE, y="binary", f="logit"), False),
        ("digits", Loss(CROSS_ENTROPY, y="onehot", f="prob"), True),
        ("digits", Loss(SQUARE, y="onehot", f="logit"), True),
    ],
)
def test_a_task_says_which_losses_fit(task: str, loss: Loss, fits: bool) -> None:
    """A loss whose roles cannot be those of the task's targets and outputs is refused before any training."""
    if fits:
        get_task(task).check(loss)
        return
    with pytest.raises(UsageError) as caught:
        get_task(task).check(loss)
    assert caught.value.diagnostic.code == "L222"
