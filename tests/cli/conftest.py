"""The fixture `lossc`: the command line run in this process, in an empty folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lossc.cli.main import main
from tests.cli.support import Ran


@pytest.fixture
def lossc(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """`lossc("show", "mse")` runs the command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*args: str) -> Ran:
        capsys.readouterr()
        code = main(args)
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return call


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks of sixty steps, unless a call says how many."""
    from lossc.runtime import tasks

    whole = tasks.get_task

    def get_task(*args: Any, steps: int | None = None, **settings: Any) -> tasks.Task:
        return whole(*args, steps=steps or 60, **settings)

    monkeypatch.setattr(tasks, "get_task", get_task)
