"""Offline loss learning: Adam, presets, guards, CMA-ES, several tasks, and runs that resume."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import lossc
from lossc.cli.main import main
from lossc.compiler.errors import LosscError, UsageError
from lossc.runtime import runs
from lossc.runtime.meta.config import PRESETS, make_config
from lossc.runtime.meta.engines import meta_gradient
from lossc.runtime.meta.guarded import guarded_meta_gradient
from lossc.runtime.meta.network import LossNetwork
from lossc.runtime.meta.optimize import MetaState, Problem, adam, init, measure, optimize, step
from lossc.runtime.meta.sampling import Sampler, draw_batch, nll_of_probabilities
from lossc.runtime.meta.symbolic import Symbolic
from lossc.runtime.meta.taylor import taylor
from lossc.runtime.tasks import SGD, Task, get_task, get_tasks
from tests.cli.support import environment
from tests.runtime.meta_support import episode, loss_of

LOSS = "sqrt(abs(y - f))"


@pytest.fixture(scope="module")
def diabetes() -> Task:
    """The default task."""
    return get_task("diabetes")


def test_adam_is_that_of_torch() -> None:
    """Fifty steps on a changing gradient give torch's own Adam, to rounding."""
    phi = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    leaf = phi.clone().requires_grad_()
    theirs = torch.optim.Adam([leaf], lr=0.01)
    state = MetaState(0, phi, torch.zeros(3).double(), torch.zeros(3).double())
    for i in range(50):
        grad = torch.sin(torch.arange(3).double() * i) * 10.0 ** (i % 5 - 2)
        leaf.grad = grad.clone()
        theirs.step()
        state = adam(state, grad, 0.01)
    torch.testing.assert_close(state.phi, leaf.detach(), rtol=1e-12, atol=1e-14)
    assert state.step == 50


def test_learning_lowers_the_meta_loss(diabetes: Task) -> None:
    """On episodes that learning never saw, the learned loss does better after its steps than the one before."""
    found = optimize(lossc.parse("(y - f)^2"), diabetes, meta_steps=150, meta_lr=0.02, inner_steps=3)

    assert found.after < 0.98 * found.before
    assert not found.failure and len(found.history) == 150
    assert found.loss is not None and "softplus" in str(found.loss)
    assert isinstance(found.network, LossNetwork)


def test_one_meta_step_is_algorithm_3(diabetes: Task) -> None:
    """A fresh θ_0, a batch, one inner step, the meta-loss on the same batch, Adam: by hand with torch alone."""
    config = make_config("thesis", dtype="float64", seed=4)
    problem = Problem((diabetes,), Symbolic(lossc.parse(LOSS), output="softplus"), config)
    state = init(problem)
    here = problem.samplers[0].episode(0)

    new, record = step(problem, state)

    assert here.query is here.inner[-1] and here.steps == 1
    oracle = meta_gradient(here, problem.family, state.phi, "unroll")
    expected = state.phi - 1e-3 * torch.sign(oracle.grad)  # Adam's first step
    torch.testing.assert_close(new.phi, expected, rtol=0, atol=1e-6)
    assert record.value == pytest.approx(oracle.value, rel=1e-12)


def test_everything_random_is_a_function_of_the_seed(diabetes: Task) -> None:
    """Equal seeds give equal numbers, other seeds others; torch's global stream is neither read nor moved."""
    before = torch.random.get_rng_state()
    found = [optimize(lossc.parse(LOSS), diabetes, meta_steps=5, seed=s).phi for s in (1, 1, 2)]

    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    assert torch.equal(before, torch.random.get_rng_state())


def test_presets_differ_where_the_thesis_and_its_code_do(diabetes: Task) -> None:
    """The query batch, the output activation and the meta-loss are those of the named source."""
    digits = get_task("digits")
    for name in PRESETS:
        config = make_config(name)
        here = Sampler(digits, config).episode(0)
        assert (here.query is here.inner[-1]) == (name != "public-2023")
        assert (here.meta_loss is nll_of_probabilities) == (name == "public-2022")
    assert make_config("thesis").output == "softplus" and make_config("public-2023").output == "identity"
    p = torch.tensor([[0.2, 0.8]]).log()
    assert float(nll_of_probabilities(p, torch.tensor([1]))) == pytest.approx(-0.8)
    kept = optimize(lossc.parse(LOSS), diabetes, preset="public-2022", meta_steps=10, fitness_steps=5)
    assert sum(r.validation is not None for r in kept.history) == 10


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"preset": "paper"}, "L255"),
        ({"meta_steps": 0}, "L255"),
        ({"meta_lr": math.nan}, "L255"),
        ({"nonsense": 1}, "L255"),
        ({"engine": "jvp1", "inner_steps": 2}, "L253"),
        ({"engine": "warp"}, "L253"),
    ],
)
def test_settings_that_cannot_be(diabetes: Task, settings: dict[str, object], code: str) -> None:
    """Each is an error of the call with its code, not a traceback from a library."""
    with pytest.raises(UsageError) as caught:
        optimize(lossc.parse(LOSS), diabetes, **settings)  # type: ignore[arg-type]
    assert caught.value.diagnostic.code == code


def test_losses_that_cannot_be_learned(diabetes: Task) -> None:
    """A loss without f, one of classes on a regression task, and no task at all."""
    for loss, code in ((lossc.parse("y^2"), "L320"), (loss_of("brier"), "L222")):
        with pytest.raises(LosscError) as caught:
            optimize(loss, diabetes)
        assert caught.value.diagnostic.code == code
    with pytest.raises(UsageError):
        optimize(lossc.parse(LOSS), [])


def test_several_tasks_and_a_family(diabetes: Task) -> None:
    """The tasks of a set each give an episode; their meta-gradients add up."""
    tasks = list(get_tasks("sine", 3, seed=1))
    config = make_config(dtype="float64")
    problem = Problem(tuple(tasks), Symbolic(lossc.parse("(y - f)^2")), config)

    _, record = step(problem, init(problem))

    phi = init(problem).phi
    grads = [meta_gradient(s.episode(0), problem.family, phi).grad for s in problem.samplers]
    assert record.norm == pytest.approx(float(sum(grads, torch.zeros_like(grads[0])).norm()), rel=1e-9)
    assert len({s.episode(0).inner[0][1].sum().item() for s in problem.samplers}) == 3


def test_batches_are_without_repetition_and_of_their_part(diabetes: Task) -> None:
    """A batch holds distinct rows of the part; a part that is smaller than a batch is the batch."""
    part = diabetes.split(0).train

    x, _ = draw_batch(part, 32, 7, "a")
    again, _ = draw_batch(part, 32, 7, "a")
    whole, _ = draw_batch(part, 10**6, 7, "a")

    assert len({tuple(r.tolist()) for r in x}) == 32 and torch.equal(x, again)
    assert whole is part.x
    rows = {tuple(r.tolist()) for r in part.x}
    assert all(tuple(r.tolist()) in rows for r in x)


def test_an_exploding_unroll_is_seen_and_shortened() -> None:
    """Twenty steps through a root with a tiny ε: float64 first, then a shorter horizon; each is recorded."""
    loss = Symbolic(lossc.parse("sqrt(abs(y - f) + 1e-7)*10 + log(abs(y - f) + 1e-7)"))
    here = episode(
        lambda: torch.nn.Sequential(torch.nn.Linear(5, 30), torch.nn.ReLU(), torch.nn.Linear(30, 1)),
        20, SGD(0.05, momentum=0.9), dtype=torch.float32, rows=40,
    )  # fmt: skip

    found, events = guarded_meta_gradient(here, loss, loss.initial(0), 3)

    assert found is not None and found.finite
    assert [e.action for e in events][:2] == ["float64", "truncate 10"]
    assert all(e.step == 3 and e.why for e in events)


def test_a_step_without_a_finite_gradient_is_left_out(diabetes: Task) -> None:
    """A loss that is nowhere finite ends the run after some skipped steps, with what it has; φ stays finite."""
    found = optimize(lossc.parse("log(-1 - (y - f)^2)"), diabetes, meta_steps=200)

    assert "no finite meta-gradient" in found.failure
    assert len(found.history) < 50 and found.events
    assert bool(torch.isfinite(found.phi).all())


def test_learning_goes_on_from_a_network(diabetes: Task) -> None:
    """A network's φ is where learning starts."""
    network = lossc.parse(LOSS).to_network(seed=5)

    found = optimize(network, diabetes, meta_steps=1, meta_lr=1e-9)

    torch.testing.assert_close(found.phi, network.phi.detach(), rtol=0, atol=1e-8)


def test_cma_finds_a_better_loss_and_ignores_numpys_stream(diabetes: Task) -> None:
    """CMA-ES on a cubic: the best fitness falls; the same numbers for the same seed, whatever NumPy's stream is."""
    import numpy as np

    settings = {"meta_optimizer": "cma", "meta_steps": 3, "population": 6, "fitness_steps": 20, "sigma": 0.5}
    np.random.seed(1)
    one = optimize(taylor("taylor3"), diabetes, **settings)  # type: ignore[arg-type]
    np.random.seed(2)
    state = np.random.get_state()[1][0]
    two = optimize(taylor("taylor3"), diabetes, **settings)  # type: ignore[arg-type]

    assert torch.equal(one.phi, two.phi) and np.random.get_state()[1][0] == state
    assert one.history[-1].validation is not None
    assert one.after == min(r.value for r in one.history) <= one.before


def test_measuring_uses_the_same_unseen_episodes(diabetes: Task) -> None:
    """Two measurements of one φ are equal, and the episodes are none that learning draws."""
    problem = Problem((diabetes,), Symbolic(lossc.parse(LOSS)), make_config())
    phi = problem.family.initial(0)

    assert measure(problem, phi) == measure(problem, phi)


# -- run folders ------------------------------------------------------------------------------------------------------


def test_a_run_that_stops_and_resumes_ends_the_same(
    diabetes: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between checkpoints and gone on with: φ and progress equal those of an unbroken run, to the bit."""

    class Stop(Exception):
        pass

    def stop(record: object, state: MetaState) -> None:
        if state.step == 17:
            raise Stop

    monkeypatch.setattr(runs, "EVERY_SECONDS", 0.02)
    whole = optimize(lossc.parse(LOSS), diabetes, meta_steps=30, run=tmp_path / "a")
    with pytest.raises(Stop):
        optimize(lossc.parse(LOSS), diabetes, meta_steps=30, run=tmp_path / "b", progress=stop)
    found = optimize(lossc.parse(LOSS), diabetes, meta_steps=30, run=tmp_path / "b", resume=True)

    assert torch.equal(whole.phi, found.phi)
    assert (tmp_path / "a" / runs.PROGRESS).read_text() == (tmp_path / "b" / runs.PROGRESS).read_text()
    assert [r.as_json() for r in whole.history] == [r.as_json() for r in found.history]


def test_cma_resumes_by_telling_again(diabetes: Task, tmp_path: Path) -> None:
    """A CMA-ES run that stops after two generations ends as the unbroken one."""
    settings = {"meta_optimizer": "cma", "population": 5, "fitness_steps": 10, "meta_steps": 4}

    class Stop(Exception):
        pass

    def stop(record: object, state: MetaState) -> None:
        if state.step == 2:
            raise Stop

    whole = optimize(taylor("taylor2"), diabetes, **settings)  # type: ignore[arg-type]
    with pytest.raises(Stop):
        optimize(taylor("taylor2"), diabetes, run=tmp_path / "b", progress=stop, **settings)  # type: ignore[arg-type]
    found = optimize(taylor("taylor2"), diabetes, run=tmp_path / "b", resume=True, **settings)  # type: ignore[arg-type]

    assert torch.equal(whole.phi, found.phi) and whole.after == found.after


def test_folders_that_cannot_be(diabetes: Task, tmp_path: Path) -> None:
    """Not empty, no run, another run, a process at work, a file in the way: each has its code; nothing is lost."""
    loss = lossc.parse(LOSS)
    optimize(loss, diabetes, meta_steps=2, run=tmp_path / "a")
    kept = (tmp_path / "a" / runs.PROGRESS).read_text()
    (tmp_path / "file").write_text("x")

    def code(**more: object) -> str:
        with pytest.raises(UsageError) as caught:
            optimize(loss, diabetes, **{"meta_steps": 2, **more})  # type: ignore[arg-type]
        return caught.value.diagnostic.code

    assert code(run=tmp_path / "a") == "L234"
    assert code(run=tmp_path / "new", resume=True) == "L256"
    assert code(run=tmp_path / "a", resume=True, meta_lr=0.1) == "L256"
    assert code(run=tmp_path / "file" / "in") == "L233"
    other = replace(diabetes, data=replace(diabetes.data, targets=diabetes.data.targets + 1))
    with pytest.raises(UsageError) as changed:
        optimize(loss, other, meta_steps=2, run=tmp_path / "a", resume=True)
    assert changed.value.diagnostic.code == "L256" and "task" in str(changed.value)
    config = runs.read_config(tmp_path / "a")
    with runs.RunFolder(tmp_path / "a", config, resume=True):
        assert code(run=tmp_path / "a", resume=True) == "L257"
    assert (tmp_path / "a" / runs.PROGRESS).read_text() == kept


def test_torn_and_forged_files(tmp_path: Path) -> None:
    """A torn last line is dropped; a checkpoint that is no archive, or holds a pickle, is refused and not executed."""
    import numpy as np

    with runs.RunFolder(tmp_path / "a", {"x": 1}) as folder:
        folder.note({"step": 0, "value": 1.0})
        folder.note({"step": 1, "value": 2.0})
        folder.save({"t": torch.tensor([1.5])}, {"step": 2, "bad": math.inf})
    with (tmp_path / "a" / runs.PROGRESS).open("a") as file:
        file.write('{"step": 2, "val')
    with runs.RunFolder(tmp_path / "a", {"x": 1}, resume=True) as folder:
        assert folder.lines() == [{"step": 0, "value": 1.0}, {"step": 1, "value": 2.0}]
        assert folder.state is not None and folder.state[1] == {"step": 2, "bad": math.inf}
        assert torch.equal(folder.state[0]["t"], torch.tensor([1.5]))
    for forged in ("not an archive", None):
        target = tmp_path / "a" / runs.CHECKPOINT
        if forged is None:
            np.savez(target, t=np.array([object()], dtype=object), allow_pickle=True)
        else:
            target.write_text(forged)
        with pytest.raises(UsageError) as caught:
            runs.RunFolder(tmp_path / "a", {"x": 1}, resume=True)
        assert caught.value.diagnostic.code == "L256"


def test_killed_and_resumed_from_the_command_line(tmp_path: Path) -> None:
    """kill -9 in the middle of `lossc optimize --run`, then --resume: the files of an unbroken run, to the byte."""

    def command(run: str, *more: str) -> list[str]:
        return [
            sys.executable, "-m", "lossc", "optimize", LOSS, "--steps", "500", "--no-evaluate", "--run",
            str(tmp_path / run), *more,
        ]  # fmt: skip

    env = environment()
    assert main(command("whole")[3:]) == 0
    broken = subprocess.Popen(command("broken"), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    progress = tmp_path / "broken" / runs.PROGRESS
    began = time.monotonic()
    while time.monotonic() - began < 60 and (not progress.is_file() or progress.stat().st_size < 20_000):
        time.sleep(0.02)
    os.kill(broken.pid, signal.SIGKILL)
    broken.wait()
    assert not (tmp_path / "broken" / "learned.loss").exists()

    subprocess.run(command("broken", "--resume"), env=env, check=True, capture_output=True)

    for name in ("learned.loss", runs.PROGRESS):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "broken" / name).read_bytes()
    assert all(json.loads(line)["step"] == i for i, line in enumerate(progress.read_text().splitlines()))


def test_disabled_checks_and_a_fixed_start(diabetes: Task) -> None:
    """`reset=False` keeps one θ_0 for the whole run; `check_every=0` compares nothing with float64."""
    config = make_config(reset=False, check_every=0)
    sampler = Sampler(diabetes, config)

    a, b = sampler.episode(0), sampler.episode(5)
    other = Sampler(diabetes, replace_config(config))

    assert all(torch.equal(a.params[k], b.params[k]) for k in a.params)
    assert not all(torch.equal(a.params[k], v) for k, v in other.episode(5).params.items())
    assert all(r.error is None for r in optimize(lossc.parse(LOSS), diabetes, meta_steps=3, check_every=0).history)


def replace_config(config: object) -> object:
    """The settings with θ_0 drawn anew."""
    return config.model_copy(update={"reset": True})  # type: ignore[attr-defined]


def own_task(build: Callable[[], nn.Module], *, classes: int = 0) -> Task:
    """A task over random rows with a model of a user's own."""
    stream = torch.Generator().manual_seed(0)
    x = torch.randn(120, 6, generator=stream, dtype=torch.float64)
    y = torch.randint(3, (120,), generator=stream) if classes else x @ torch.randn(6, generator=stream).double()

    def factory(stream: torch.Generator, dtype: torch.dtype = torch.float32) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(stream.initial_seed() % 2**31)
            return build().to(dtype)

    base = get_task("digits" if classes else "diabetes", batch_size=16)
    return replace(
        base, name="own", model="own", data=replace(base.data, inputs=x, targets=y, classes=classes), build=factory
    )


class Sequence3(nn.Module):
    """Six numbers as a sequence of three pairs, through a recurrent layer or attention."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.inner: nn.Module = nn.LSTM(2, 4, batch_first=True) if kind == "lstm" else nn.MultiheadAttention(
            2, 1, batch_first=True
        )  # fmt: skip
        self.kind, self.out = kind, nn.Linear(4 if kind == "lstm" else 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, 6] -> [n, 1]."""
        steps = x.view(len(x), 3, 2)
        found = self.inner(steps)[0] if self.kind == "lstm" else self.inner(steps, steps, steps)[0]
        return self.out(found[:, -1])


@pytest.mark.parametrize("kind", ["lstm", "attention"])
@pytest.mark.parametrize("inner_steps", [1, 2])
def test_models_that_torch_treats_specially(kind: str, inner_steps: int) -> None:
    """An LSTM has no forward mode, fast attention no second derivative: both are learned on all the same."""
    found = optimize(lossc.parse("(y - f)^2"), own_task(lambda: Sequence3(kind)), meta_steps=2, inner_steps=inner_steps)

    assert not found.failure and not found.events
    assert all(math.isfinite(r.norm) and r.norm > 0 for r in found.history)


class Wrong(nn.Module):
    """A model whose outputs do not suit the task."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.out = kind, nn.Linear(6, 2 if kind == "two" else 1)

    def forward(self, x: torch.Tensor) -> object:
        """Not [n, 1]."""
        found = self.out(x if self.kind != "width" else x[:, :5])
        return {"tuple": (found,), "flat": found[:, 0]}.get(self.kind, found)


@pytest.mark.parametrize("kind", ["two", "tuple", "flat", "width"])
def test_models_that_do_not_suit_the_task(kind: str) -> None:
    """Wrong shapes, tuples and errors inside are said to be the model's, before anything is learned by broadcasting."""
    with pytest.raises(UsageError, match="the model of own") as caught:
        optimize(lossc.parse("(y - f)^2"), own_task(lambda: Wrong(kind)), meta_steps=1)
    assert caught.value.diagnostic.code == "L222"


def test_noise_inside_a_model_is_a_function_of_the_seed() -> None:
    """A random leaky ReLU draws the same in every run, whatever torch's stream is."""
    task = own_task(lambda: nn.Sequential(nn.Linear(6, 5), nn.RReLU(), nn.Linear(5, 1)))
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        found.append(optimize(lossc.parse("(y - f)^2"), task, meta_steps=3).phi)
    assert torch.equal(*found)


def test_nothing_learned_is_said(diabetes: Task) -> None:
    """A run without one finite gradient has failed, however short."""
    found = optimize(lossc.parse("log(-1 - (y - f)^2)"), diabetes, meta_steps=3)
    assert found.failure == "no meta-step had a finite gradient"


def test_float32_is_compared_at_the_same_horizon(diabetes: Task) -> None:
    """The float64 check of a truncated gradient is truncated too."""
    found = optimize(lossc.parse("(y - f)^2"), diabetes, meta_steps=1, inner_steps=6, truncate=2)
    assert found.history[0].error is not None and found.history[0].error < 1e-4


def test_implicit_gradient_of_a_concave_loss_is_not_zero(diabetes: Task) -> None:
    """Where the inner loss curves the wrong way there is no minimum: the gradient falls back to a step of descent."""
    found = optimize(lossc.parse("sqrt(abs(y - f))"), diabetes, meta_steps=1, inner_steps=3, engine="implicit")
    assert found.history[0].norm > 0


@pytest.mark.parametrize("damage", ["cut", "empty", "shape", "step", "config", "lines", "events"])
def test_damaged_runs_are_refused(diabetes: Task, tmp_path: Path, damage: str) -> None:
    """A run folder that was cut off or edited is L256, whatever is wrong in it."""
    import numpy as np

    folder, loss = tmp_path / "a", lossc.parse(LOSS)
    optimize(loss, diabetes, meta_steps=3, run=folder)
    point, lines = folder / runs.CHECKPOINT, folder / runs.PROGRESS
    with np.load(point) as saved:
        arrays = {k: saved[k] for k in saved.files}
    facts = json.loads(bytes(arrays[runs.FACTS]).decode())
    if damage in ("cut", "empty"):
        point.write_bytes(point.read_bytes()[:200] if damage == "cut" else b"")
    elif damage == "shape":
        np.savez(point, **{**arrays, "mean": np.zeros((2, 2))})
    elif damage == "step":
        facts["step"] = "x"
        np.savez(point, **{**arrays, runs.FACTS: np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)})
    elif damage == "config":
        (folder / runs.CONFIG).write_text('{"config": null}')
    elif damage == "lines":
        lines.write_text(lines.read_text().splitlines(keepends=True)[0])
    else:
        lines.write_text(lines.read_text().replace('"engine"', '"events": 3, "engine"', 1))

    with pytest.raises(UsageError) as caught:
        optimize(loss, diabetes, meta_steps=3, run=folder, resume=True)
    assert caught.value.diagnostic.code == "L256"


def test_killed_before_it_began(diabetes: Task, tmp_path: Path) -> None:
    """A folder that holds a lock and a half-written file alone is as good as new, resumed or not."""
    for resume in (True, False):
        folder = tmp_path / str(resume)
        folder.mkdir()
        (folder / runs.LOCK).touch()
        (folder / (runs.CONFIG + ".new")).write_text("{")
        assert len(optimize(lossc.parse(LOSS), diabetes, meta_steps=1, run=folder, resume=resume).history) == 1
