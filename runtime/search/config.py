"""Settings of a search, all of them, with presets where the thesis and its public code disagree."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lossc.runtime.meta.config import checked, of_preset


class SearchConfig(BaseModel):
    """How losses are searched for (thesis, algorithm 1; public code in public-2022 and public-2023).

    method         evomal (GP with coefficients learned), gp-lfl (without), random (the control at equal budget), aged
                   (regularised evolution)
    population, generations   of algorithm 1; the budget of every method is their product, in losses
    crossover, mutation, elitism   rates; what is left reproduces. Elites are kept as they are
    tournament     losses that compete to be a parent; `parsimony` breaks ties by size (1: not, 2: always the smaller)
    functions      names of operators, or "thesis" or "public" for the whole of Table 3.1
    seeds          formulas that begin in the population
    priors         generate nothing pointless; `soft_length` thins out long trees
    redraw         draw again what was seen before, so often
    order          "first": filters, learning, filters again; "thesis": learning, then filters
    equivalence    losses of one gradient are trained once: "signed", "norms" (eq. 3.13), or "off"
    reject_steps, reject_rate, reject_least   of the rejection protocol
    audit          share of early rejects that go on all the same, to know how often that is wrong
    meta_steps, inner_steps, meta_lr, query, output   of learning the coefficients (`MetaConfig`)
    fitness_steps  training steps of a fitness (S_testing)
    rerank, rerank_seeds, rerank_steps   the best so many are judged again with other seeds and more steps
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str = "quick"
    method: Literal["evomal", "gp-lfl", "random", "aged"] = "evomal"
    population: int = Field(default=25, ge=2, le=100_000)
    generations: int = Field(default=50, ge=1, le=1_000_000)
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
    reject_steps: int = Field(default=1000, ge=0)
    reject_rate: float = Field(default=0.01, gt=0)
    reject_least: float = 0.0
    reject_rows: int = Field(default=100, ge=1)
    audit: float = Field(default=0.0, ge=0, le=1)
    meta_steps: int = Field(default=250, ge=0)
    inner_steps: int = Field(default=1, ge=1)
    meta_lr: float = Field(default=1e-3, gt=0)
    query: Literal["same", "train", "valid"] = "same"
    output: Literal["identity", "softplus", "smooth-leaky-relu"] = "softplus"
    fitness_steps: int = Field(default=500, ge=1)
    rerank: int = Field(default=5, ge=0)
    rerank_seeds: int = Field(default=2, ge=1)
    rerank_steps: int = Field(default=1000, ge=1)
    window: int = Field(default=8, ge=1)
    seed: int = Field(default=0, ge=0, le=2**31 - 1)

    @property
    def budget(self) -> int:
        """Losses in all."""
        return self.population * self.generations


PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "population": 20, "generations": 10, "reject_steps": 300, "meta_steps": 100, "fitness_steps": 200,
        "max_nodes": 30, "rerank_steps": 500,
    },
    "robust": {
        "method": "aged", "population": 25, "generations": 40, "parsimony": 1.4, "max_nodes": 30, "audit": 0.05,
        "fitness_steps": 500, "rerank": 10, "rerank_seeds": 5,
    },
    "thesis": {
        "priors": False, "redraw": 0, "order": "thesis", "equivalence": "norms", "audit": 0.0, "rerank": 0,
        "max_nodes": 900,
    },
    "public-2022": {
        "priors": False, "redraw": 0, "order": "thesis", "equivalence": "norms", "functions": "public",
        "output": "identity", "elitism": 0.0, "reject_least": 0.6, "rerank": 0, "max_nodes": 900,
    },
    "public-2023": {
        "priors": False, "redraw": 0, "order": "thesis", "equivalence": "off", "functions": "public",
        "output": "identity", "elitism": 0.0, "query": "valid", "rerank": 0, "max_nodes": 900,
    },
}  # fmt: skip
"""`quick` takes minutes on two cores; `robust` is what the measurements speak for; the others reproduce."""


def make_search_config(preset: str = "quick", **changes: Any) -> SearchConfig:
    """The settings of a preset, with changes. UsageError (L255) for an unknown preset or a value that cannot be."""
    return checked(SearchConfig, of_preset(PRESETS, preset, changes))
