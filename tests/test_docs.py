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


def test_the_table_of_the_search_page_is_that_of_the_settings() -> None:
    """Every setting, its default and what it means; `preset` is an option."""
    from lossc.runtime.search.config import SearchConfig, settings_table

    table = settings_table()
    assert table in (ROOT / "docs/search.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(\w+)`", re.sub(r"\| [^|]* \|$", "|", table, flags=re.MULTILINE))) == set(
        SearchConfig.model_fields
    ) - {"preset"}


def test_python_of_the_search_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python block of docs/search.md, run as it stands, but for the size of the search."""
    text = (ROOT / "docs/search.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    small = (
        "population=4, generations=1, fitness_steps=5, meta_steps=2, rerank=1, rerank_steps=5, test_seeds=2, "
        'seeds=("mse",)'
    )
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}

    exec(compile(block.replace("workers=2", small), "docs/search.md", "exec"), names)  # noqa: S102
    assert names["found"] is not None and (tmp_path / "runs/c/journal.jsonl").exists()


def test_the_toml_of_the_search_page_is_read(tmp_path: Path) -> None:
    """Every setting of the example is one."""
    from types import SimpleNamespace

    from lossc.cli.search_file import read_search_file
    from lossc.runtime.search.config import make_search_config

    (block,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/search.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "s.toml").write_text(block)
    asked = SimpleNamespace(preset=None, workers=None, task_name=None, lr=None)
    read_search_file(str(tmp_path / "s.toml"), asked)
    config = make_search_config(asked.preset, **asked.settings)
    assert (config.method, asked.task_name, asked.lr, asked.workers) == ("aged", "california", 0.01, 2)
