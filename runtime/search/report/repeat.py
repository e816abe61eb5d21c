"""How to do a search again: the command, with what differs from its preset, and a file for what has no option."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from lossc.runtime.search.config import PRESETS, SearchConfig, make_search_config
from lossc.runtime.search.folder import Run

FILE = "search.toml"
_OPTIONS = {
    "method": "--method", "population": "--population", "generations": "--generations", "trainings": "--trainings",
    "patience": "--patience", "schedule": "--schedule", "functions": "--ops", "seeds": "--seed-losses",
    "max_nodes": "--max-nodes", "fitness_steps": "--fitness-steps", "meta_steps": "--meta-steps", "seed": "--seed",
}  # fmt: skip
"""Settings that are options of `lossc search`; the others are for the file of --config."""
_TASK_OPTIONS = ("model", "size", "data", "split", "target_scale", "batch_size", "lr", "momentum")


def changes(config: SearchConfig) -> dict[str, Any]:
    """The settings that differ from those of the preset."""
    usual = make_search_config(config.preset) if config.preset in PRESETS else SearchConfig()
    return {k: v for k, v in config if k != "preset" and v != getattr(usual, k)}


def command(run: Run) -> tuple[str, str]:
    """The command that does the search again, and what the file has in it that it names ("" if it needs none)."""
    words = ["lossc", "search", "--task", run.spec.name if run.spec is not None else "TASK"]
    words += ["--preset", run.config.preset]
    rest: dict[str, Any] = {}
    for name, value in changes(run.config).items():
        if name == "control":
            words.append("--control" if value else "--no-control")
        elif name in _OPTIONS and _fits(value):
            words += [_OPTIONS[name], ",".join(value) if isinstance(value, tuple) else str(value)]
        else:
            rest[name] = value
    for name, value in (run.spec.as_json() if run.spec is not None else {}).items():
        if name in _TASK_OPTIONS:
            words += ["--" + name.replace("_", "-"), str(value)]
    if rest:
        words += ["--config", FILE]
    return shlex.join(words), toml(rest)


def _fits(value: Any) -> bool:
    """Whether a value can be written as an option: lists are written with commas."""
    return not isinstance(value, tuple) or (bool(value) and not any("," in v for v in value))


def toml(settings: Mapping[str, Any]) -> str:
    """Settings as lines of TOML."""
    return "".join(f"{k} = {json.dumps(v, ensure_ascii=False)}\n" for k, v in settings.items())


def resume(run: Run) -> str:
    """The command that goes on with it."""
    return shlex.join(["lossc", "resume", str(run.path)])
