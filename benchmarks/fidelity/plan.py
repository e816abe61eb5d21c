"""What a form of the benchmark runs, and in which order."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from benchmarks.fidelity.cells import SETUPS, Setup
from lossc.runtime.data import AS_PUBLISHED, HONEST


@dataclass(frozen=True, slots=True)
class Job:
    """One run: all that determines it beside the code.

    learning   meta-steps of Adam before training (generations of CMA-ES for "taylorglo"); 0 for the baseline
    online_lr  the rate at which the loss moves during training (chapter 5)
    """

    setup: str
    method: str
    seed: int
    split: str
    steps: int
    learning: int = 0
    online_lr: float = 0.0
    size: str = "thesis"

    @property
    def cell(self) -> tuple[str, str, str]:
        """Setup, method and split: what the seeds of a figure share."""
        return self.setup, self.method, self.split

    def __str__(self) -> str:
        return f"{self.setup} {self.method}, {self.split}, seed {self.seed}"


@dataclass(frozen=True, slots=True)
class Form:
    """Settings of a whole benchmark.

    steps        training steps
    learning     meta-steps of chapter 3, and `learning_online` those of chapter 5 before training
    generations  of CMA-ES; 0: TaylorGLO takes no part
    seeds        how many, and `fewer` those of single setups (0: left out)
    later        setups that come as if their seeds were so much higher: the most telling ones first
    """

    name: str
    steps: int
    learning: int
    learning_online: int
    generations: int
    seeds: int
    fewer: Mapping[str, int] = field(default_factory=dict)
    later: Mapping[str, int] = field(default_factory=dict)
    online_lr: float = 1e-5
    size: str = "thesis"

    def learning_of(self, setup: Setup, method: str) -> int:
        """Meta-steps or generations of a method."""
        if method == "baseline":
            return 0
        if method == "taylorglo":
            return self.generations
        return self.learning if setup.chapter == 3 else self.learning_online


LATER = {
    "3/california": 1, "3/california-half": 2, "3/mnist-mlp": 3, "3/mnist-lenet5": 3, "5/california": 3,
    "5/california-standard": 3, "5/mnist-mlp": 3, "5/mnist-lenet5": 4,
}  # fmt: skip
BY_CMA = 100
"""TaylorGLO comes after everything else: it takes hours for each seed."""

FORMS = {
    "quick": Form(
        "quick", 500, 250, 500, 0, 2, later=LATER,
        fewer={
            **dict.fromkeys(("3/california", "3/california-half", "3/mnist-mlp", "3/mnist-lenet5"), 1),
            **dict.fromkeys(("5/crime", "5/crime-standard", "5/diabetes", "5/diabetes-standard"), 1),
            **dict.fromkeys(("5/california", "5/california-standard", "5/mnist-mlp", "5/mnist-lenet5"), 0),
        },
    ),
    "full": Form("full", 10_000, 250, 2500, 50, 5, later=LATER),
}  # fmt: skip
"""The full form has the thesis's settings: 250 meta-steps, 10,000 training steps, S_init = 2500, and 5 seeds."""


def jobs(form: Form, only: Collection[str] = (), seeds: int | None = None) -> list[Job]:
    """The runs of a form in their order; `only` names setups ("3/diabetes") or tasks ("mnist"), none for all."""
    found = [job for setup in SETUPS.values() if wanted(setup, only) for job in _jobs_of(form, setup)]
    if seeds is not None:
        found = [job for job in found if job.seed < seeds]
    return sorted(found, key=lambda job: _turn(form, job))


def wanted(setup: Setup, only: Collection[str]) -> bool:
    """Whether `only` names the setup, its task, its chapter, or nothing at all."""
    return not only or any(name in (setup.key, setup.task, str(setup.chapter)) for name in only)


def _jobs_of(form: Form, setup: Setup) -> Iterator[Job]:
    for seed in range(form.fewer.get(setup.key, form.seeds)):
        for split in (HONEST, AS_PUBLISHED) if setup.published else (HONEST,):
            for method in setup.methods:
                if method == "taylorglo" and not form.generations:
                    continue
                online = form.online_lr if method in ("adalfl", "meta-lr") else 0.0
                learning = form.learning_of(setup, method)
                yield Job(setup.key, method, seed, split, form.steps, learning, online, form.size)


def _turn(form: Form, job: Job) -> int:
    return job.seed + form.later.get(job.setup, 0) + (BY_CMA if job.method == "taylorglo" else 0)
