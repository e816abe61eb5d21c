"""A loss for every target: emitted or refused with the reason, and the self-test of each file, run in its library.

    >>> for one in exported(loss):
    ...     print(one.target.name, one.status, one.said)

A self-test is a process of its own with a time limit: a library that crashes, hangs or is not there is a line of the
report, not an end of the program.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lossc.compiler.errors import LosscError
from lossc.compiler.loss import Loss
from lossc.compiler.targets import Target, all_targets
from lossc.compiler.targets.identifiers import words_of

REFUSED, EMITTED, PASSED, FAILED, SKIPPED, BROKEN = "refused", "emitted", "passed", "failed", "not run", "broken"
LIMIT = 120.0
"""Seconds that a self-test may take (TensorFlow takes many to be imported)."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What became of a loss in a target.

    status   "refused": the target cannot express the loss; "broken": the target itself failed (a bug of it); "emitted":
             there is a file, and it was not tested; then "passed", "failed" or "not run", as the self-test went
    said     why it was refused or not run, or what the self-test printed
    """

    target: Target
    file: str
    content: bytes
    status: str
    said: str = ""

    def data(self) -> dict[str, Any]:
        """As plain data."""
        size = len(self.content)
        return {"target": self.target.name, "file": self.file, "bytes": size, "status": self.status, "said": self.said}


def file_name(loss: Loss, target: Target) -> str:
    """How the file of a loss is called among those of other targets: `pseudo_huber_jax.py`."""
    return f"{'_'.join(words_of(loss.name))}_{target.name.replace('-', '_')}{target.suffix}"


def exported(loss: Loss, options: Mapping[str, Any] | None = None) -> Iterator[Exported]:
    """The loss in every target, in their order. `options` go to the targets that take them."""
    for target in all_targets().values():
        name = file_name(loss, target)
        given = {k: v for k, v in (options or {}).items() if k in target.takes}
        try:
            made = target.emitter()(loss, **given)
        except LosscError as problem:
            said = problem.diagnostic
            hint = f"; {said.hint}" if said.hint else ""
            yield Exported(target, "", b"", REFUSED, f"{said.code}: {said.message}{hint}")
        except Exception as problem:
            yield Exported(target, "", b"", BROKEN, f"{type(problem).__name__}: {problem}")
        else:
            yield Exported(target, name, made if isinstance(made, bytes) else made.encode("utf-8"), EMITTED)


def tested(one: Exported, path: Path, limit: float = LIMIT) -> Exported:
    """The same with the outcome of the self-test of the file at `path`."""
    if one.status != EMITTED or not one.target.check:
        return one if one.status != EMITTED else replace(one, status=SKIPPED, said="it has no self-test")
    missing = _missing(one.target)
    if missing:
        return replace(one, status=SKIPPED, said=missing)
    with tempfile.TemporaryDirectory() as folder:
        for command in _commands(one.target, path, folder):
            status, said = _ran(command, folder, limit)
            if status != PASSED:
                return replace(one, status=status, said=said)
    return replace(one, status=PASSED, said=said)


def _missing(target: Target) -> str:
    """What is not installed, if something is needed."""
    module, distribution = target.library
    if module and find_spec(module) is None:
        return f"{distribution} is not installed"
    if "{cc}" in target.check and not _compiler():
        return "there is no C compiler (the variable CC names one)"
    if target.check and target.check[0][0] != "{" and shutil.which(target.check[0]) is None:
        return f"{target.check[0]} is not installed"
    return ""


def _compiler() -> str:
    """The C compiler: the one that CC names, else cc or gcc."""
    found = (shutil.which(c) for c in (os.environ.get("CC", ""), "cc", "gcc", "clang") if c)
    return next((c for c in found if c), "")


def _commands(target: Target, path: Path, folder: str) -> list[list[str]]:
    words = {
        "{python}": sys.executable,
        "{file}": str(path.resolve()),
        "{cc}": _compiler(),
        "{out}": str(Path(folder, "selftest")),
        "{checker}": f"lossc.runtime.{target.name}_check",
    }
    commands: list[list[str]] = [[]]
    for word in target.check:
        if word == "&&":
            commands.append([])
        else:
            commands[-1].append(words.get(word, word))
    return commands


def _ran(command: list[str], folder: str, limit: float) -> tuple[str, str]:
    """What a command came to, and its last line."""
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return FAILED, f"stopped after {limit:g} s"
    except OSError as problem:
        return SKIPPED, f"cannot run {command[0]}: {problem.strerror or problem}"
    text = (done.stdout if done.returncode == 0 else done.stderr or done.stdout).decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    return (PASSED, last) if done.returncode == 0 else (FAILED, last or f"exit code {done.returncode}")
