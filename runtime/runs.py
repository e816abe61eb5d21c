"""A run as a folder: what was asked, how far it is, and enough to go on after a kill with the same numbers.

    config.json       the settings as resolved, and the versions that ran
    progress.jsonl    a line a step, written as it happens
    checkpoint.npz    the state (arrays without pickle), replaced as a whole

A checkpoint is written beside the old one, synced and renamed, so that at every moment one whole state is there. Lines
of progress after the checkpoint that a run goes on from are dropped and written again. One process at a time: a lock
that the system releases with the process keeps a second one out.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from lossc._version import __version__
from lossc.compiler.errors import UsageError

CONFIG, PROGRESS, CHECKPOINT, LOCK = "config.json", "progress.jsonl", "checkpoint.npz", "lock"
FACTS = "__facts__"
EVERY_SECONDS = 10.0
"""At most this much work is lost to a kill."""


class RunFolder:
    """One run on disk, open for writing; a context manager.

    config    as plain data; a folder that is gone on with must have been made with the same
    resume    whether to go on with a run that is there; without it the folder must be new or empty
    lines     whether the run has lines of progress (a search has a journal of its own instead)

    Raises UsageError: L234 for a folder that is not empty, L256 for one without a run or with another one, L257 if
    another process works on it, L233 if it cannot be written.
    """

    def __init__(
        self, path: str | Path, config: Mapping[str, Any], *, resume: bool = False, lines: bool = True
    ) -> None:
        self.path, self._has_lines = Path(path), lines
        self._saved = time.monotonic()
        self._lock: IO[str] | None = None
        self._progress: IO[str] | None = None
        try:
            self._open(config, resume)
        except OSError as problem:
            self.close()
            raise _cannot_write(self.path, problem) from None
        except UsageError:
            self.close()
            raise

    def _open(self, config: Mapping[str, Any], resume: bool) -> None:
        names = {p.name for p in self.path.iterdir()} if self.path.exists() else set()
        begun = {n for n in names if n != LOCK and not n.endswith(".new")}
        if names and not begun:
            resume = False  # killed before it had begun: there is nothing to go on from, and nothing to lose
        elif begun and not resume:
            raise UsageError("L234", f"{self.path} is not empty", hint="go on with --resume, or name another folder")
        if resume and not (self.path / CONFIG).is_file():
            raise UsageError("L256", f"there is no run in {self.path}", hint="start one without --resume")
        self.path.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        if resume:
            self._check(config)
        else:
            self._write_config(config)
        self.state = self._load()
        if self._has_lines:
            self._cut_progress(int(self.state[1].get("step", 0)) if self.state else 0)
            self._progress = (self.path / PROGRESS).open("a", encoding="utf-8")

    def _take_lock(self) -> None:
        self._lock = (self.path / LOCK).open("w")
        try:
            import fcntl
        except ImportError:  # no such locks on this system: two processes are not kept apart
            return
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError("L257", f"another process works on {self.path}") from None

    def _write_config(self, config: Mapping[str, Any]) -> None:
        record = {"config": dict(config), "environment": environment()}
        _replace(self.path / CONFIG, (json.dumps(record, indent=2) + "\n").encode())

    def _check(self, config: Mapping[str, Any]) -> None:
        known = read_config(self.path)
        wanted = json.loads(json.dumps(dict(config)))
        if known != wanted:
            different = [k for k in {**known, **wanted} if known.get(k) != wanted.get(k)]
            raise UsageError("L256", f"{self.path} holds a run with other settings: {', '.join(map(str, different))}")

    # -- the state ----------------------------------------------------------------------------------------------------

    def save(self, arrays: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Replace the checkpoint. `facts` is plain data and holds `step`; floats in it are kept exactly."""
        packed = {k: v.detach().cpu().numpy() for k, v in arrays.items()}
        packed[FACTS] = np.frombuffer(json.dumps(_pack(dict(facts))).encode(), dtype=np.uint8)
        try:
            with _replacing(self.path / CHECKPOINT) as file:
                np.savez(file, **packed)  # type: ignore[arg-type]
            if self._progress is not None:
                self._progress.flush()
                os.fsync(self._progress.fileno())
        except OSError as problem:
            raise _cannot_write(self.path, problem) from None
        self._saved = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return time.monotonic() - self._saved > EVERY_SECONDS

    def note(self, record: Mapping[str, Any]) -> None:
        """Append a line of progress; it holds `step`."""
        assert self._progress is not None
        try:
            self._progress.write(json.dumps(record, allow_nan=False) + "\n")
            self._progress.flush()
        except OSError as problem:
            raise _cannot_write(self.path, problem) from None

    def lines(self) -> list[dict[str, Any]]:
        """The lines of progress so far."""
        return read_progress(self.path)

    def write(self, name: str, text: str) -> None:
        """Write a file of the run as a whole."""
        try:
            _replace(self.path / name, text.encode())
        except OSError as problem:
            raise _cannot_write(self.path, problem) from None

    def _load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        file = self.path / CHECKPOINT
        if not file.is_file():
            return None
        try:
            with np.load(file, allow_pickle=False) as found:
                arrays = {k: torch.from_numpy(np.array(found[k])) for k in found.files if k != FACTS}
                facts = _unpack(json.loads(bytes(found[FACTS]).decode()))
            facts["step"] + 0
        except Exception as problem:  # whatever a damaged archive makes of NumPy and zipfile
            raise UsageError("L256", f"{file} cannot be read: {problem or type(problem).__name__}") from None
        return arrays, facts

    def _cut_progress(self, step: int) -> None:
        """Drop what is after the state, and a torn last line."""
        file = self.path / PROGRESS
        if file.is_file():
            kept = [json.dumps(line) + "\n" for line in read_progress(self.path) if line["step"] < step]
            _replace(file, "".join(kept).encode())

    def close(self) -> None:
        """Let go of the folder."""
        for file in (self._progress, self._lock):
            if file is not None:
                with suppress(OSError):
                    file.close()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def is_locked(path: str | Path) -> bool:
    """Whether a process works on the run in a folder, as far as this system can tell."""
    try:
        import fcntl

        with (Path(path) / LOCK).open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError):
        return False
    return False


def environment() -> dict[str, Any]:
    """What the numbers of a run depend on beside its settings."""
    return {
        "lossc": __version__, "python": platform.python_version(), "torch": torch.__version__,
        "numpy": np.__version__, "machine": platform.machine(), "threads": torch.get_num_threads(),
    }  # fmt: skip


def read_environment(path: str | Path) -> dict[str, Any]:
    """What the run in a folder was started with; empty if it does not say."""
    try:
        return dict(json.loads((Path(path) / CONFIG).read_text(encoding="utf-8"))["environment"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def read_config(path: str | Path) -> dict[str, Any]:
    """The settings of the run in a folder. UsageError (L256) if there is none."""
    try:
        record = json.loads((Path(path) / CONFIG).read_text(encoding="utf-8"))
        found: dict[str, Any] = dict(record["config"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as problem:
        raise UsageError("L256", f"there is no run in {path}: {problem}") from None
    return found


def read_progress(path: str | Path) -> list[dict[str, Any]]:
    """The whole lines of progress; a torn last one is left out."""
    out: list[dict[str, Any]] = []
    file = Path(path) / PROGRESS
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []:
        try:
            record = json.loads(line)
            record["step"] + 0
        except (ValueError, KeyError, TypeError, RecursionError):
            break
        out.append(record)
    return out


def _pack(value: Any) -> Any:
    """Floats that JSON has no name for as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if isinstance(value, dict):
        return {k: _pack(v) for k, v in value.items()}
    return [_pack(v) for v in value] if isinstance(value, (list, tuple)) else value


def _unpack(value: Any) -> Any:
    if isinstance(value, dict):
        return float(value["float"]) if set(value) == {"float"} else {k: _unpack(v) for k, v in value.items()}
    return [_unpack(v) for v in value] if isinstance(value, list) else value


@contextmanager
def _replacing(file: Path) -> Iterator[IO[bytes]]:
    """Write a file as a whole: beside the old one, synced and renamed."""
    temporary = file.with_name(file.name + ".new")
    with temporary.open("wb") as out:
        yield out
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(file)


def _replace(file: Path, data: bytes) -> None:
    with _replacing(file) as out:
        out.write(data)


def _cannot_write(path: Path, problem: OSError) -> UsageError:
    return UsageError("L233", f"cannot write to {path}: {(problem.strerror or str(problem)).lower()}")
