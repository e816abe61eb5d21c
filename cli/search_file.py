"""The file of `lossc search --config`: TOML with any of the settings; options on the command line go before it.

task = "diabetes"            # or a table: [task] with name, model, size, data, lr, ...
preset = "quick"
workers = 2
population = 25              # any field of SearchConfig (docs/search.md)
seeds = ["mse", "abs(y - f)"]
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lossc.compiler.errors import UsageError

_OPTIONS = {
    "preset": str, "engine": str, "workers": int, "address": str, "deadline": float, "memory": float, "run": str,
    "tensorboard": str,
}  # fmt: skip
_NAMES = {"run": "run_folder"}


def read_search_file(path: str, asked: SimpleNamespace) -> None:
    """Put the file's settings where the command line says nothing; fields of `SearchConfig` go to `asked.settings`.

    Raises UsageError: L230 if the file cannot be read, L255 if it is no TOML or has a setting that there is not.
    """
    from lossc.runtime.search.config import SearchConfig

    given = _read(path)
    task = given.pop("task", None)
    if isinstance(task, str):
        task = {"name": task}
    if task is not None:
        _take_task(path, task, asked)
    for name, kind in _OPTIONS.items():
        if name in given:
            _set(asked, _NAMES.get(name, name), _of_kind(path, name, given.pop(name), kind))
    for name in given:
        if name not in SearchConfig.model_fields:
            known = [*SearchConfig.model_fields, *_OPTIONS, "task"]
            raise _unknown(path, name, known)
    asked.settings = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}


def _read(path: str) -> dict[str, Any]:
    try:
        data = Path(path).read_bytes()
    except OSError as problem:
        why = (problem.strerror or str(problem)).lower()
        raise UsageError("L230", f"cannot read {path}: {why}") from None
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as problem:
        raise UsageError("L255", f"{path} is no TOML: {problem}") from None


def _take_task(path: str, task: Any, asked: SimpleNamespace) -> None:
    kinds = {
        "name": str, "model": str, "size": str, "data": str, "split": str, "target_scale": str, "batch_size": int,
        "lr": float, "momentum": float,
    }  # fmt: skip
    if not isinstance(task, dict):
        raise UsageError("L255", f"`task` in {path} is neither a name nor a table")
    for name, value in task.items():
        if name not in kinds:
            raise _unknown(path, f"task.{name}", [f"task.{k}" for k in kinds])
        _set(asked, "task_name" if name == "name" else name, _of_kind(path, f"task.{name}", value, kinds[name]))


def _set(asked: SimpleNamespace, name: str, value: Any) -> None:
    if getattr(asked, name) is None:
        setattr(asked, name, value)


def _of_kind(path: str, name: str, value: Any, kind: type) -> Any:
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise UsageError(
            "L255", f"`{name}` in {path} is {str(value)[:40]!r}", expected=f"a value of type {kind.__name__}"
        )
    return value


def _unknown(path: str, name: str, known: list[str]) -> UsageError:
    close = difflib.get_close_matches(name, known, n=1)
    return UsageError(
        "L255", f"there is no setting `{name[:40]}` (in {path})",
        hint=f"did you mean `{close[0]}`?" if close else "docs/search.md lists them",
    )  # fmt: skip
