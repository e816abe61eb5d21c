"""Settings of a search, all of them, with presets where the thesis and its public code disagree."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lossc.runtime.meta.config import checked, of_preset


class SearchConfig(BaseModel):
    """How losses are searched for (thesis, algorithm 1; public code in public-2022 and public-2023).

    method   evomal (GP with coefficients learned), gp-lfl (without), glo (GP, then CMA-ES on the best), aged
        (regularised evolution with coefficients learned), random (the control)
    population, generations   a search ends after so many generations of so many members
    fill   a generation has as many losses that are trained or kept; what the filters reject, or was seen before, takes
        no place. Without it everything that is bred does, as in the thesis
    trainings   a search ends as soon as so many losses were trained (0: it does not)
    patience   a search ends after so many losses without a new best (0: it does not)
    schedule   of the GP methods: "generations"; "steady": bred from the last `population` members but `window` losses;
        "islands": populations that take turns
    islands, migrate_every   so many islands; the best of one goes to the next every so many generations
    window   losses that may be in flight in the steady state and in aged: 8 a worker and more; of islands, those that
        are bred before it is known whether a generation is full (they are of it too): half a worker and more
    crossover, mutation, elitism   rates; what is left reproduces. Elites are kept as they are
    tournament, parsimony   losses that compete to be a parent; ties broken by size (1: not, 2: always the smaller)
    functions   names of operators, or "thesis" or "public" for the whole of Table 3.1
    seeds   formulas or named losses that begin in the population
    low, high   height of new trees
    max_height, max_nodes   of any tree
    priors   generate nothing pointless
    soft_length   longer trees are thinned out (0: they are not)
    redraw   draw again what was seen before, so often
    order   "first": filters, learning, filters again; "thesis": learning, then filters
    equivalence   losses of one gradient are trained once: "signed", "norms" (eq. 3.13), or "off"
    curves   reject classification losses with their minimum in the middle, or that turn often (NLFS)
    reject_steps, reject_rate, reject_least, reject_rows   of the rejection protocol (eq. 3.11, 3.12): Adam's steps and
        rate on the predictions, the gain that is too little, the rows
    audit   share of early rejects that go on all the same, to know how often that is wrong
    meta_steps, inner_steps, meta_lr, query   of learning the coefficients (docs/learning.md)
    output   activation of the root: "softplus", "identity", "smooth-leaky-relu"
    inherit   learning starts from the parents' coefficients where the child shares their edges
    fitness_steps   training steps of a fitness (S_testing)
    rung   after this share of them, what is no better than an untrained model is given up (0: nothing is)
    fitness_seeds, race_margin   trainings of a fitness, paired with those of the best so far: a loss that stays behind
        it by more than this share is given no more of them
    folds   half of the validation part is for the fitness, the other half for judging the best again
    rerank, rerank_seeds, rerank_steps   the best so many are judged again with so many seeds and steps (0: as
        many as the task's own trainings, so that what diverges late is noticed)
    tune, tune_steps, tune_population, tune_sigma   glo: the best so many, and CMA-ES for each: generations, losses a
        generation, first width
    control   random search is run beside, with as many trainings
    test_seeds   trainings of the comparison on the test part
    seed   everything random is a function of it
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str = "quick"
    method: Literal["evomal", "gp-lfl", "glo", "aged", "random"] = "evomal"
    population: int = Field(default=25, ge=2, le=100_000)
    generations: int = Field(default=50, ge=1, le=1_000_000)
    fill: bool = True
    trainings: int = Field(default=0, ge=0)
    patience: int = Field(default=0, ge=0)
    schedule: Literal["generations", "steady", "islands"] = "generations"
    islands: int = Field(default=4, ge=1, le=1000)
    migrate_every: int = Field(default=5, ge=1)
    window: int = Field(default=16, ge=1)
    crossover: float = Field(default=0.7, ge=0, le=1)
    mutation: float = Field(default=0.25, ge=0, le=1)
    elitism: float = Field(default=0.05, ge=0, le=0.5)
    tournament: int = Field(default=4, ge=1)
    parsimony: float = Field(default=1.0, ge=1, le=2)
    functions: tuple[str, ...] | Literal["thesis", "public"] = "thesis"
    seeds: tuple[str, ...] = ()
    low: int = Field(default=2, ge=0, le=8)
    high: int = Field(default=4, ge=1, le=10)
    max_height: int = Field(default=10, ge=1, le=60)
    max_nodes: int = Field(default=60, ge=3, le=900)
    priors: bool = True
    soft_length: int = Field(default=0, ge=0)
    redraw: int = Field(default=20, ge=0, le=1000)
    order: Literal["first", "thesis"] = "first"
    equivalence: Literal["signed", "norms", "off"] = "signed"
    curves: bool = True
    reject_steps: int = Field(default=1000, ge=0)
    reject_rate: float = Field(default=0.01, gt=0)
    reject_least: float = 0.0
    reject_rows: int = Field(default=100, ge=1)
    audit: float = Field(default=0.05, ge=0, le=1)
    meta_steps: int = Field(default=250, ge=0)
    inner_steps: int = Field(default=1, ge=1)
    meta_lr: float = Field(default=1e-3, gt=0)
    query: Literal["same", "train", "valid"] = "same"
    output: Literal["identity", "softplus", "smooth-leaky-relu"] = "softplus"
    inherit: bool = True
    fitness_steps: int = Field(default=500, ge=1)
    rung: float = Field(default=0.25, ge=0, lt=1)
    fitness_seeds: int = Field(default=1, ge=1, le=100)
    race_margin: float = Field(default=0.1, ge=0)
    folds: bool = True
    rerank: int = Field(default=5, ge=0, le=1000)
    rerank_seeds: int = Field(default=2, ge=1, le=100)
    rerank_steps: int = Field(default=0, ge=0)
    tune: int = Field(default=3, ge=1, le=100)
    tune_steps: int = Field(default=10, ge=1)
    tune_population: int = Field(default=10, ge=4)
    tune_sigma: float = Field(default=0.3, gt=0)
    control: bool = True
    test_seeds: int = Field(default=5, ge=0, le=100)
    seed: int = Field(default=0, ge=0, le=2**31 - 1)

    @model_validator(mode="after")
    def _fits(self) -> SearchConfig:
        if self.low > self.high:
            raise ValueError(f"low is {self.low} and high is {self.high}")
        return self

    @property
    def budget(self) -> int:
        """Members of all generations."""
        return self.population * self.generations


_REPRODUCTION: dict[str, Any] = {
    "fill": False, "priors": False, "redraw": 0, "order": "thesis", "curves": False, "audit": 0.0, "inherit": False,
    "rung": 0.0, "folds": False, "rerank": 0, "max_nodes": 900,
}  # fmt: skip
"""What the thesis and its code do not have."""

PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "population": 20,
        "generations": 10,
        "reject_steps": 300,
        "meta_steps": 100,
        "fitness_steps": 200,
        "max_nodes": 30,
    },
    "robust": {
        "method": "aged",
        "population": 25,
        "generations": 40,
        "parsimony": 1.4,
        "max_nodes": 30,
        "fitness_steps": 500,
        "fitness_seeds": 3,
        "rerank": 10,
        "rerank_seeds": 5,
    },
    "thesis": {**_REPRODUCTION, "equivalence": "norms"},
    "public-2022": {
        **_REPRODUCTION,
        "equivalence": "norms",
        "functions": "public",
        "output": "identity",
        "elitism": 0.0,
        "reject_least": 0.6,
    },
    "public-2023": {
        **_REPRODUCTION,
        "equivalence": "off",
        "functions": "public",
        "output": "identity",
        "elitism": 0.0,
        "query": "valid",
    },
}
"""`quick` takes minutes on two cores; `robust` is what the measurements speak for; the others reproduce."""


def make_search_config(preset: str = "quick", **changes: Any) -> SearchConfig:
    """The settings of a preset, with changes. UsageError (L255) for an unknown preset or a value that cannot be."""
    return checked(SearchConfig, of_preset(PRESETS, preset, changes))


def settings_table() -> str:
    """All settings with their defaults, as a table for the documentation: the text of `SearchConfig` itself."""
    lines = ["| setting | default | |", "|---|---|---|"]
    for names, meaning in _documented():
        values = ", ".join(_shown(SearchConfig.model_fields[name].default) for name in names)
        lines.append(f"| {', '.join(f'`{n}`' for n in names)} | {values} | {meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(lines)


def _documented() -> list[tuple[list[str], str]]:
    """Names and meanings, as the docstring of `SearchConfig` has them."""
    out: list[tuple[list[str], str]] = []
    for line in (SearchConfig.__doc__ or "").splitlines()[2:]:
        names, _, meaning = line.strip().partition("   ")
        listed = [n.strip() for n in names.split(",")]
        if all(n in SearchConfig.model_fields for n in listed):
            out.append((listed, meaning.strip()))
        elif line.strip():
            out[-1] = (out[-1][0], f"{out[-1][1]} {line.strip()}")
    return out


def _shown(value: Any) -> str:
    return "none" if value == () else str(value).lower() if isinstance(value, bool) else str(value)
