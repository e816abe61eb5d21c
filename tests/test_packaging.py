"""What pyproject.toml, constraints.txt and the Makefile promise, compared with the disk."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]


def test_every_sub_package_is_listed() -> None:
    """The wheel holds what pyproject names and nothing else, so a forgotten sub-package would be missing in silence."""
    on_disk = {"lossc"}
    for package, folder in SETUPTOOLS["package-dir"].items():
        if package != "lossc":
            for init in (ROOT / folder).rglob("__init__.py"):
                on_disk.add(".".join((package, *init.parent.relative_to(ROOT / folder).parts)))

    assert sorted(SETUPTOOLS["packages"]) == sorted(on_disk)


def test_every_folder_with_modules_is_a_package() -> None:
    """A folder of modules without `__init__.py` would be importable here and missing in the wheel."""
    for folder in ("grammar", "compiler", "runtime", "cli"):
        for module in (ROOT / folder).rglob("*.py"):
            assert (module.parent / "__init__.py").is_file(), f"{module.parent.relative_to(ROOT)} has no __init__.py"


def test_data_files_are_shipped() -> None:
    """Every file in a package that is no module matches a pattern of package-data."""
    patterns = SETUPTOOLS["package-data"]
    folders = {package: ROOT / folder for package, folder in SETUPTOOLS["package-dir"].items()}
    for top, folder in folders.items():
        for file in folder.rglob("*"):
            inside = file.relative_to(folder).parts[:-1]
            if not file.is_file() or file.suffix in (".py", ".pyc") or "egg-info" in str(file):
                continue
            package = ".".join((top, *inside))
            assert any(file.match(p) for p in patterns.get(package, [])), f"{file.relative_to(ROOT)} is not shipped"


def test_the_links_beside_the_face_lead_to_the_parts() -> None:
    """Type-checkers and pytest find the parts through four links in src/lossc."""
    for name in ("grammar", "compiler", "runtime", "cli"):
        assert (ROOT / "src" / "lossc" / name).resolve() == ROOT / name


def test_the_version_is_written_once() -> None:
    """Packaging reads the version where the program reads it."""
    lossc = importlib.import_module("lossc")
    version = importlib.import_module("lossc._version").__version__

    assert SETUPTOOLS["dynamic"]["version"] == {"attr": "lossc._version.__version__"}
    assert "version" not in PYPROJECT["project"] and PYPROJECT["project"]["dynamic"] == ["version"]
    assert lossc.__version__ == version
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_entry_point_is_there() -> None:
    """`lossc` on the command line is a function that can be called without arguments."""
    module, name = PYPROJECT["project"]["scripts"]["lossc"].split(":")

    assert callable(getattr(importlib.import_module(module), name))


def test_the_face_hands_on_what_it_names() -> None:
    """Every name of `lossc.__all__` can be had, and is found by `dir`."""
    lossc = importlib.import_module("lossc")

    for name in lossc.__all__:
        assert getattr(lossc, name) is not None
    assert set(lossc.__all__) <= set(dir(lossc))
    with pytest.raises(AttributeError):
        _ = lossc.no_such_name


def _name(requirement: str) -> str:
    """The normalised project name of a requirement line."""
    return re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9._-]+", requirement).group()).lower()  # type: ignore[union-attr]


def test_every_dependency_is_pinned() -> None:
    """constraints.txt pins each requirement of pyproject, exactly, and says nothing of where to fetch it."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", pin) for pin in pins)

    project = PYPROJECT["project"]
    wanted = [*project["dependencies"], *PYPROJECT["build-system"]["requires"]]
    wanted += [r for extra in project["optional-dependencies"].values() for r in extra]
    names = [_name(pin) for pin in pins]
    assert len(names) == len(set(names))
    assert {_name(r) for r in wanted} - {"lossc"} <= set(names)
    assert "torch==2.13.0" in pins


def test_the_makefile_documents_its_targets() -> None:
    """`make help` lists every target that a user may call."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.search(r"^\.PHONY: (.*)$", text, re.M).group(1).split())  # type: ignore[union-attr]

    shown = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert {"demo", "test", "lint", "types", "bench", "wheel-test", "clean", "help"} <= phony
    assert {line.split()[0] for line in shown.splitlines() if line.startswith("  ")} == phony


def test_an_old_python_is_refused_clearly(tmp_path: Path) -> None:
    """A Python that is too old, or none, ends in one clear sentence that names the way out."""
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo "Python 3.9.18" && exit 0\nexit 1\n')
    old.chmod(0o755)
    for python, said in ((str(old), "3.11 or newer, and"), (str(tmp_path / "none"), "there is no")):
        command = ["make", "setup", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

        assert done.returncode != 0 and said in done.stderr and "PYTHON=" in done.stderr
        assert not (tmp_path / "venv").exists()


def test_the_environment_is_made_once(tmp_path: Path) -> None:
    """With a stamp that holds the digest of the sources, making the environment again installs nothing."""
    script = ROOT / ".ci" / "environment.py"
    spec = importlib.util.spec_from_file_location("environment", script)
    assert spec is not None and spec.loader is not None
    environment = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(environment)
    stamp = tmp_path / "stamp"
    stamp.write_text(environment.digest(), encoding="utf-8")

    command = [sys.executable, str(script), str(tmp_path / "venv"), str(stamp)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout == "" and not (tmp_path / "venv").exists()
