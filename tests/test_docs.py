"""What the documentation shows is what the program does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def console(name: str) -> str:
    """The console blocks of a page."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return "\n".join(re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL))


@pytest.mark.parametrize("page", ["README.md", "docs/learning.md"])
def test_learning_pages_show_the_learned_formula(page: str) -> None:
    """The formula that the pages show is what 250 meta-steps on diabetes learn today."""
    import lossc

    found = lossc.optimize(lossc.parse("sqrt(abs(y - f))"), lossc.get_task("diabetes"), meta_steps=250)

    shown = console(page)
    assert f"learned     {found.family.describe(found.phi)}\n" in shown
    assert f"meta-loss   {found.before:.4f} -> {found.after:.4f} (" in shown


def test_python_of_the_learning_page_runs() -> None:
    """The Python block of docs/learning.md, run as it stands (with fewer meta-steps)."""
    text = (ROOT / "docs/learning.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names: dict[str, object] = {}

    exec(compile(block.replace("meta_steps=250", "meta_steps=3"), "docs/learning.md", "exec"), names)  # noqa: S102

    assert names["module"] is not None and names["learned"] is not None
