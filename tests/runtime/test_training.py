"""The inner loop, training runs and comparisons."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import islice

import pytest
import torch
from torch import Tensor, nn

from lossc.compiler.errors import LossTypeError, UsageError
from lossc.runtime.inner import TrainState, batches, evaluate, init, step
from lossc.runtime.models import mlp
from lossc.runtime.tasks import SGD, Task, get_task
from lossc.runtime.training import Spread, compare, train


@pytest.fixture(scope="module", params=["diabetes", "digits"])
def task(request: pytest.FixtureRequest) -> Task:
    """Each task, cut to 40 steps."""
    return get_task(request.param, steps=40)


class Recorder(nn.Module):
    """A loss that keeps what it was given, scaled."""

    def __init__(self, task: Task, scale: float = 1.0) -> None:
        super().__init__()
        self.inner, self.scale, self.seen = task.baseline_loss(), scale, list[tuple[Tensor, Tensor]]()

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The scaled baseline."""
        self.seen.append((outputs.detach().clone(), targets.clone()))
        value: Tensor = self.scale * self.inner(outputs, targets)
        return value


class Function(nn.Module):
    """A plain function as a loss."""

    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def forward(self, outputs: Tensor, targets: Tensor) -> object:
        """Whatever the function gives."""
        return self.function(outputs, targets)  # type: ignore[operator]


def same(a: TrainState, b: TrainState) -> bool:
    """Equality of two states to the bit."""
    return a.step == b.step and all(
        x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)
        for x, y in ((a.params, b.params), (a.velocity, b.velocity), (a.buffers, b.buffers))
    )


def run(task: Task, seed: int, steps: int, state: TrainState | None = None) -> TrainState:
    """The state `steps` steps after `state`, or after the start."""
    parts = task.split(seed)
    model, first = init(task, seed)
    state = state or first
    for rows in islice(batches(seed, len(parts.train), task.batch_size, state.step), steps):
        state = step(model, task.baseline_loss(), task.sgd, state, parts.train.x[rows], parts.train.y[rows])
    return state


def test_equal_seeds_give_equal_results(task: Task) -> None:
    """Two runs with one seed are equal to the bit, weights and curve; another seed gives another run."""
    first, again, other = (train(task, task.baseline_loss(), s) for s in (3, 3, 4))

    assert same(first.state, again.state)
    assert [p.val for p in first.curve] == [p.val for p in again.curve]
    assert (first.test, first.val, first.early) == (again.test, again.val, again.early)
    assert not same(first.state, other.state) and first.val != other.val
    assert not same(init(task, 3)[1], init(task, 4)[1])


def test_training_leaves_the_global_stream(task: Task) -> None:
    """Training neither reads nor moves torch's global random stream."""
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = train(task, task.baseline_loss(), 0)
    assert torch.equal(torch.get_rng_state(), before)

    torch.manual_seed(2)
    assert same(train(task, task.baseline_loss(), 0).state, first.state)


def test_losses_share_their_random_numbers(task: Task) -> None:
    """For one seed, two losses see the same first predictions and the same targets in every batch."""
    a, b = Recorder(task), Recorder(task, scale=0.25)

    train(task, a, 6)
    train(task, b, 6)

    assert torch.equal(a.seen[0][0], b.seen[0][0])
    assert len(a.seen) == len(b.seen) == task.steps
    assert all(torch.equal(p[1], q[1]) for p, q in zip(a.seen, b.seen, strict=True))
    assert not torch.equal(a.seen[-1][0], b.seen[-1][0])


@pytest.mark.parametrize(
    "sgd", [SGD(0.05), SGD(0.05, 0.9), SGD(0.05, 0.9, nesterov=True, weight_decay=0.01), SGD(0.05, weight_decay=0.1)]
)
def test_steps_are_those_of_torch(task: Task, sgd: SGD) -> None:
    """30 steps give the weights that torch.optim.SGD gives an ordinary module on the same batches."""
    task = replace(task, sgd=sgd)
    parts, model = task.split(2, torch.float64), task.fresh_model(2, torch.float64)
    oracle = torch.optim.SGD(
        model.parameters(), lr=sgd.lr, momentum=sgd.momentum, nesterov=sgd.nesterov, weight_decay=sgd.weight_decay
    )
    shell, state = init(task, 2, dtype=torch.float64)
    loss = task.baseline_loss()
    for rows in islice(batches(2, len(parts.train), task.batch_size), 30):
        x, y = parts.train.x[rows], parts.train.y[rows]
        oracle.zero_grad()
        loss(model(x), y).backward()
        oracle.step()
        state = step(shell, loss, sgd, state, x, y)

    for name, weight in model.named_parameters():
        torch.testing.assert_close(state.params[name], weight.detach(), rtol=1e-10, atol=1e-12)


def test_a_step_leaves_its_state(task: Task) -> None:
    """The state that a step is given is unchanged, so a run can branch from any state."""
    start = run(task, 0, 5)
    kept = replace(
        start,
        params={k: v.clone() for k, v in start.params.items()},
        velocity={k: v.clone() for k, v in start.velocity.items()},
    )

    one, two = run(task, 0, 3, start), run(task, 0, 3, start)

    assert same(start, kept)
    assert same(one, two) and not same(one, start)


def test_a_run_goes_on_from_its_state(task: Task) -> None:
    """Stopping after 13 steps and going on equals 50 steps at once, over the end of an epoch, to the bit."""
    assert same(run(task, 1, 37, run(task, 1, 13)), run(task, 1, 50))


def test_running_statistics_are_state() -> None:
    """Buffers of the model (batch normalisation's) advance in the state, never in the module."""

    def normalised(stream: torch.Generator, dtype: torch.dtype = torch.float32) -> nn.Module:
        net = mlp((10, 8, 1), stream, dtype)
        return nn.Sequential(net[0], nn.BatchNorm1d(8, dtype=dtype), net[1], net[2])

    task = replace(get_task("diabetes"), build=normalised)
    model, start = init(task, 0)
    frozen = {k: v.clone() for k, v in start.buffers.items()}

    state = run(task, 0, 4, start)

    assert state.buffers["1.num_batches_tracked"] == 4
    assert not torch.equal(state.buffers["1.running_mean"], start.buffers["1.running_mean"])
    assert all(torch.equal(start.buffers[k], v) for k, v in frozen.items())
    assert all(torch.equal(dict(model.named_buffers())[k], v) for k, v in frozen.items())
    whole, single = (evaluate(task, model, state, task.split(0).val, chunk=c) for c in (4096, 1))
    assert whole == pytest.approx(single, rel=1e-5), "evaluation uses running statistics, so rows do not mix"
    assert state.buffers["1.num_batches_tracked"] == 4 and model.training


@pytest.mark.parametrize(("rows", "size"), [(10, 3), (10, 5), (4, 100), (7, 7), (1, 1)])
def test_batches_cover_an_epoch(rows: int, size: int) -> None:
    """An epoch has each row at most once, in whole batches, in a new order; any step can be jumped to."""
    each = max(1, rows // size)
    first = list(islice(batches(0, rows, size), 3 * each))

    for epoch in range(3):
        seen = torch.cat(first[epoch * each : (epoch + 1) * each]).tolist()
        assert len(seen) == len(set(seen)) == each * min(size, rows) and set(seen) <= set(range(rows))
    if each > 1:
        assert not torch.equal(torch.cat(first[:each]), torch.cat(first[each : 2 * each]))
    for start in range(3 * each):
        assert torch.equal(next(batches(0, rows, size, start)), first[start])


def _diverging() -> Iterator[tuple[str, object, int]]:
    calls = {"n": 0}

    def later(outputs: Tensor, targets: Tensor) -> Tensor:
        calls["n"] += 1
        return (outputs**2).mean() * (math.nan if calls["n"] > 5 else 1.0)

    yield "nan at once", lambda f, y: (f * math.nan).mean(), 0
    yield "infinite", lambda f, y: (f**2).mean() + math.inf, 0
    yield "nan later", later, 5
    yield "gradient only", lambda f, y: torch.sqrt((f - f.detach()) ** 2).mean(), 0
    yield "runs away", lambda f, y: -torch.exp(f.abs()).mean(), -1


@pytest.mark.parametrize(("name", "function", "steps"), [pytest.param(*case, id=case[0]) for case in _diverging()])
def test_divergence_is_a_result(name: str, function: object, steps: int) -> None:
    """A run that is no longer finite ends with its last finite weights, and says why; it never raises."""
    task = get_task("diabetes", steps=30)

    result = train(task, Function(function), 0)

    assert result.diverged and ("not finite" in result.failure or "training loss is" in result.failure), name
    assert result.steps == steps if steps >= 0 else 0 < result.steps < 30
    assert all(torch.isfinite(v).all() for v in result.state.params.values())
    assert result.curve[-1].step <= result.steps
    model, _ = init(task, 0)
    parts = task.split(0)
    assert result.test == evaluate(task, model, result.state, parts.test) or math.isnan(result.test)


@pytest.mark.parametrize(
    ("function", "kind", "code"),
    [
        (lambda f, y: (f - y.T) ** 2, UsageError, "L222"),
        (lambda f, y: 3.0, UsageError, "L222"),
        (lambda f, y: nn.functional.cross_entropy(f, y.long()[:, 0, None, None]), UsageError, "L222"),
        (lambda f, y: (y**2).mean(), LossTypeError, "L320"),
    ],
)
def test_losses_that_cannot_be_trained_with(function: object, kind: type[Exception], code: str) -> None:
    """A loss that does not reduce, fails on the batch, or ignores the prediction ends in a clear error."""
    with pytest.raises(kind) as caught:
        train(get_task("diabetes", steps=2), Function(function), 0)
    assert caught.value.diagnostic.code == code  # type: ignore[attr-defined]


def test_metrics_are_means_over_all_rows(task: Task) -> None:
    """Evaluating in chunks of any size gives the metric of the whole part."""
    model, state = init(task, 0)
    part = task.split(0).test

    whole = float(task.metric.measure(model(part.x).detach(), part.y))

    for chunk in (1, 7, 4096):
        assert evaluate(task, model, state, part, chunk=chunk) == pytest.approx(whole, rel=1e-5)


def test_the_curve_starts_untrained_and_ends_last(task: Task) -> None:
    """The curve has 21 points, from the untrained model to the last step; the early metric is that after a tenth."""
    told: list[tuple[int, int]] = []

    result = train(task, task.baseline_loss(), 0, progress=lambda done, steps: told.append((done, steps)))

    assert told == [(k, 40) for k in range(1, 41)]
    assert [p.step for p in result.curve] == list(range(0, 41, 2))
    assert math.isnan(result.curve[0].loss) and all(math.isfinite(p.loss) for p in result.curve[1:])
    assert result.curve[-1].val == result.val and result.curve[2].val == result.early
    assert result.curve[0].val > result.val


@pytest.mark.parametrize(("name", "least", "most"), [("diabetes", 0.40, 0.60), ("digits", 0.005, 0.05)])
def test_baselines_learn(name: str, least: float, most: float) -> None:
    """Three full runs of the baseline reach the quality the data allow: below `most`, and not suspiciously good."""
    task = get_task(name)

    errors = [train(task, task.baseline_loss(), seed).test for seed in range(3)]

    assert least < statistics.fmean(errors) < most


def test_a_comparison_is_paired(task: Task) -> None:
    """The table's numbers are those of single runs, and the gain is taken seed by seed."""
    half = Recorder(task, scale=0.5)

    table = compare(task, {"half": half, task.baseline: task.baseline_loss()}, [0, 1, 2])

    assert [row.name for row in table.rows] == [task.baseline, "half", f"{task.baseline} (given)"]
    base, other, twin = table.rows
    single = [train(task, Recorder(task, scale=0.5), seed).test for seed in (0, 1, 2)]
    assert other.test == Spread(statistics.fmean(single), statistics.stdev(single), 3)
    differences = [b.test - r for b, r in zip(base.runs, single, strict=True)]
    assert other.gain is not None and base.gain is None
    assert other.gain.mean == pytest.approx(statistics.fmean(differences))
    assert twin.gain == Spread(0.0, 0.0, 3)


def test_a_comparison_keeps_diverged_runs() -> None:
    """A loss that diverges keeps its place in the table, is counted, and the JSON form stays plain JSON."""
    task = get_task("diabetes", steps=10)
    told: list[tuple[str, int, int, int]] = []

    table = compare(
        task,
        {"bad": Function(lambda f, y: (f * math.nan).mean())},
        [0, 1],
        progress=lambda *now: told.append(now),
    )

    assert table.rows[1].diverged == 2 and table.rows[0].diverged == 0
    plain = json.loads(json.dumps(table.as_json(), allow_nan=False))
    assert [f["seed"] for f in plain["rows"][1]["failures"]] == [0, 1]
    assert told[-1] == ("bad", 1, 10, 10) and len(told) == 2 * 10 + 2


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_comparisons_need_seeds(seeds: list[int]) -> None:
    """No seeds, or one twice (which would fake a deviation), are refused."""
    with pytest.raises(UsageError):
        compare(get_task("diabetes", steps=1), {}, seeds)


def test_spread_of_values() -> None:
    """Mean and sample deviation; one value has none; a value that is not finite spoils both, and says so."""
    assert Spread.of([1.0, 2.0, 4.0]) == Spread(7 / 3, statistics.stdev([1, 2, 4]), 3)
    assert str(Spread.of([0.5])) == "0.5000" and str(Spread.of([1.0, 3.0])) == "2.0000 ± 1.4142"
    assert str(Spread.of([1.0, math.inf])) == str(Spread.of([math.nan])) == "not finite"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_run(task: Task) -> None:
    """On a GPU the run starts from the same weights and batches and stays close to the CPU's, in float64."""
    go = partial(train, task, task.baseline_loss(), 0, dtype=torch.float64)

    here, there = go(), go(device="cuda")

    assert there.state.params["0.weight"].is_cuda
    assert there.test == pytest.approx(here.test, rel=1e-6)
