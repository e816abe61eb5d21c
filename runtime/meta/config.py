"""Settings of meta-optimisation, all of them, with presets where the thesis and its public code disagree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lossc.compiler.errors import UsageError

Settings = TypeVar("Settings", bound=BaseModel)


class MetaConfig(BaseModel):
    """How φ is learned offline (thesis, algorithm 3, and algorithm 5 for the start of AdaLFL).

    meta_steps, meta_lr, meta_optimizer   the outer loop: Adam 1e-3 for 250 steps, or CMA-ES
    inner_steps     S_base, steps of the inner optimiser before φ is updated
    query           what the meta-loss is taken on: the batch of the last inner step ("same", algorithm 3), another
                    training batch ("train"), or one of the validation part ("valid", algorithm 5)
    meta_loss       the task's own ("task"), or -p of the target class ("nll-prob", the public code of 2022)
    engine, truncate, dtype   how the meta-gradient is computed
    reset           θ_0 drawn anew at every meta-step (line 5 of algorithm 3); else one θ_0 for the whole run
    check_every     meta-steps between comparisons with float64 (0: never)
    keep_best       every tenth of the run, train for `fitness_steps` on the validation part and keep the best φ
    population, sigma, fitness_steps   of CMA-ES: losses a generation, initial width, inner steps of one evaluation
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str = "thesis"
    meta_steps: int = Field(default=250, ge=1, le=10_000_000)
    meta_lr: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    meta_optimizer: Literal["adam", "cma"] = "adam"
    inner_steps: int = Field(default=1, ge=1, le=100_000)
    query: Literal["same", "train", "valid"] = "same"
    meta_loss: Literal["task", "nll-prob"] = "task"
    output: Literal["identity", "softplus", "smooth-leaky-relu"] = "softplus"
    engine: str = "auto"
    truncate: int = Field(default=0, ge=0)
    reset: bool = True
    dtype: Literal["float32", "float64"] = "float32"
    check_every: int = Field(default=50, ge=0)
    keep_best: bool = False
    population: int = Field(default=25, ge=4, le=10_000)
    sigma: float = Field(default=1.2, gt=0, allow_inf_nan=False)
    fitness_steps: int = Field(default=500, ge=1)
    seed: int = Field(default=0, ge=0, le=2**31 - 1)


PRESETS: dict[str, dict[str, Any]] = {
    "thesis": {"query": "same", "output": "softplus", "meta_loss": "task"},
    "public-2022": {"query": "same", "output": "identity", "meta_loss": "nll-prob", "keep_best": True},
    "public-2023": {"query": "valid", "output": "identity", "meta_loss": "task"},
}
"""What the thesis's text says, and what two states of its public code do (their order in time)."""


def make_config(preset: str = "thesis", **changes: Any) -> MetaConfig:
    """The settings of a preset, with changes. UsageError (L255) for an unknown preset or a value that cannot be."""
    return checked(MetaConfig, of_preset(PRESETS, preset, changes))


def of_preset(presets: Mapping[str, Mapping[str, Any]], preset: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a preset, with changes. UsageError (L255) for an unknown one."""
    if preset not in presets:
        raise UsageError("L255", f"there is no preset `{preset[:40]}`", expected="one of: " + ", ".join(presets))
    return {**presets[preset], "preset": preset, **changes}


def checked(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Settings of a kind. UsageError (L255), with the first complaint of pydantic, for a value that cannot be."""
    try:
        return kind(**values)
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(str(p) for p in first["loc"]) or "settings"
        wrong = f"`{where}`: {first['msg'].lower()}, got {str(first.get('input'))[:40]}"
        raise UsageError("L255", wrong) from None
