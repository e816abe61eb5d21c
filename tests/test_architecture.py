"""The rules of docs/architecture.md that a program can check: who imports whom, what is heavy, how large things are."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("compiler", "grammar", "runtime", "cli")

PRODUCT = sorted(
    [p for part in PARTS for p in (ROOT / part).rglob("*.py")] + list((ROOT / "src" / "lossc").glob("*.py"))
)
TOOLS = sorted([*(ROOT / "benchmarks").rglob("*.py"), *(ROOT / ".ci").rglob("*.py")])
TESTS = sorted((ROOT / "tests").rglob("*.py"))

MAY_IMPORT = {
    "compiler": {"lossc", "lossc._version", "lossc.compiler"},
    "grammar": {"lossc._version", "lossc.compiler", "lossc.grammar"},
    "runtime": {"lossc", "lossc._version", "lossc.compiler", "lossc.grammar", "lossc.runtime"},
    "cli": {"lossc", "lossc._version", "lossc.compiler", "lossc.grammar", "lossc.runtime", "lossc.cli"},
}
THE_CALL_UP = ("compiler/loss.py", "lossc.runtime.compiled")
"""The one place where the compiler reaches up, by name and when asked for: `Loss.to_torch`."""

RUNS_CODE = {"runtime/compiled.py"}
"""The only module that executes text: what our own printers made of a verified loss."""

MAX_FILE, MAX_FUNCTION, MAX_UNDOCUMENTED_METHOD = 500, 60, 10


def name_of(path: Path) -> str:
    """The path from the root, with forward slashes."""
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    """The parsed module."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def only_for_types(tree: ast.Module) -> set[ast.AST]:
    """The nodes under `if TYPE_CHECKING:`."""
    inside: set[ast.AST] = set()
    for here in ast.walk(tree):
        if isinstance(here, ast.If) and isinstance(here.test, ast.Name) and here.test.id == "TYPE_CHECKING":
            inside.update(n for statement in here.body for n in ast.walk(statement))
    return inside


def imports_of(path: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it, except for types only."""
    tree = tree_of(path)
    skip = only_for_types(tree)
    for here in ast.walk(tree):
        if here in skip:
            continue
        if isinstance(here, ast.Import):
            yield from (a.name for a in here.names)
        elif isinstance(here, ast.ImportFrom):
            assert here.level == 0, f"{name_of(path)}:{here.lineno} imports relatively"
            yield from (f"{here.module}.{a.name}" for a in here.names)


def within(module: str, packages: set[str]) -> bool:
    """Whether a dotted name lies in one of the packages; "lossc" stands for its own names only."""
    for package in packages:
        if package == "lossc":
            if module == "lossc" or (module.count(".") == 1 and module.split(".")[1] not in PARTS):
                return True
        elif module == package or module.startswith(package + "."):
            return True
    return False


@pytest.mark.parametrize("part", PARTS)
def test_imports_run_one_way(part: str) -> None:
    """cli -> runtime -> compiler <- grammar, and nothing the other way, not even inside a function."""
    for path in (ROOT / part).rglob("*.py"):
        for module in imports_of(path):
            if module.split(".")[0] == "lossc":
                assert within(module, MAY_IMPORT[part]), f"{name_of(path)} imports {module}"


def test_the_ir_stands_on_nothing() -> None:
    """ir.py, interval.py, errors.py and formats.py import nothing of ours: everything else stands on them."""
    for name in ("ir", "interval", "errors", "formats"):
        assert not [m for m in imports_of(ROOT / "compiler" / f"{name}.py") if m.startswith("lossc")]


@pytest.mark.parametrize("part", ["compiler", "grammar"])
def test_tensors_live_in_the_runtime(part: str) -> None:
    """The compiler and the grammar never import torch, at the top or lazily; types may be named."""
    for path in (ROOT / part).rglob("*.py"):
        assert not [m for m in imports_of(path) if m.split(".")[0] == "torch"], name_of(path)


def test_the_compiler_reaches_up_once() -> None:
    """No string of the compiler or the grammar names a module above it, but for the one call up."""
    found = set()
    for part, above in (("compiler", "grammar|runtime|cli"), ("grammar", "runtime|cli")):
        for path in (ROOT / part).rglob("*.py"):
            for here in ast.walk(tree_of(path)):
                text = here.value if isinstance(here, ast.Constant) and isinstance(here.value, str) else ""
                if re.fullmatch(rf"lossc\.({above})(\.\w+)*", text):
                    found.add((name_of(path), text))
    assert found == {THE_CALL_UP}


def run_python(code: str) -> str:
    """Standard output of a new interpreter that finds lossc in src."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


BLOCKED = """
import sys
for heavy in {heavy!r}:
    sys.modules[heavy] = None
"""
HEAVY = ["torch", "sympy", "numpy", "scipy", "sklearn", "deap", "pydantic"]


def modules_of(part: str) -> list[str]:
    """The dotted names of a part's modules."""
    paths = sorted((ROOT / part).rglob("*.py"))
    names = ["lossc." + ".".join(p.relative_to(ROOT).with_suffix("").parts) for p in paths]
    return [n.removesuffix(".__init__") for n in names]


def test_compiler_and_grammar_import_without_the_heavy() -> None:
    """Every module of the compiler and the grammar imports where torch, SymPy and NumPy do not exist."""
    names = modules_of("compiler") + modules_of("grammar")
    code = BLOCKED.format(heavy=HEAVY) + f"from importlib import import_module\nfor n in {names!r}: import_module(n)\n"

    run_python(code + "print('done')")


@pytest.mark.parametrize(
    ("statement", "most"),
    [
        ("import lossc", 0.1),
        ("import lossc.cli.main", 0.1),
        ("import lossc.compiler.loss", 0.5),
        ("import lossc.grammar", 0.8),
    ],
)
def test_imports_are_light(statement: str, most: float) -> None:
    """Importing the face, the command line and the language loads nothing heavy, and takes little processor time."""
    told = run_python(
        f"import sys, time\nt = time.process_time()\n{statement}\nt = time.process_time() - t\n"
        f"print(t, *[m for m in {HEAVY!r} if m in sys.modules])"
    )

    seconds, *loaded = told.split()
    assert loaded == []
    assert float(seconds) < most


def calls_of(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Every call, with the dotted name of what is called."""
    for here in ast.walk(tree):
        if isinstance(here, ast.Call):
            yield ast.unparse(here.func), here


FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load", "sympy.S"}
EVALUATES = {"sympify", "parse_expr", "parse_latex"}
"""What SymPy turns text into objects with: it evaluates the text as Python."""
FORBIDDEN_IMPORTS = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
READS_PICKLES = {"runtime/data/unpickle.py"}
"""The only module that reads a pickle, CIFAR's: it knows stand-ins for numpy's arrays and nothing else
(tests/runtime/test_data_hostile.py)."""


@pytest.mark.parametrize("path", PRODUCT, ids=name_of)
def test_no_text_is_executed(path: Path) -> None:
    """No eval, exec, pickle, sympify or shell: text of a user is parsed by our grammar and by nothing else."""
    tree = tree_of(path)
    wrong = {m for m in imports_of(path) if m.split(".")[0] in FORBIDDEN_IMPORTS}
    if name_of(path) in READS_PICKLES:
        wrong.discard("pickle")
    for name, call in calls_of(tree):
        if name in FORBIDDEN_CALLS and not (name_of(path) in RUNS_CODE and name in ("exec", "compile")):
            wrong.add(name)
        if any(k.arg == "shell" and ast.unparse(k.value) != "False" for k in call.keywords):
            wrong.add(f"{name}(shell=...)")
    for here in ast.walk(tree):
        if isinstance(here, ast.Attribute) and here.attr in EVALUATES:
            wrong.add(ast.unparse(here))
        if isinstance(here, ast.ImportFrom) and str(here.module).startswith("sympy"):
            wrong.update(a.name for a in here.names if a.name in EVALUATES | {"S"})
    assert not wrong


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def definitions(node: ast.AST, prefix: str = "", public: bool = True) -> Iterator[tuple[str, Definition, bool]]:
    """Every class and function with its dotted name, and whether it is public; what is inside a function is not."""
    for here in ast.iter_child_nodes(node):
        if isinstance(here, Definition):
            shown = public and not here.name.startswith("_")
            yield prefix + here.name, here, shown
            yield from definitions(here, f"{prefix}{here.name}.", shown and isinstance(here, ast.ClassDef))
        elif isinstance(here, (ast.If, ast.Try, ast.With)):
            yield from definitions(here, prefix, public)


def length(node: Definition) -> int:
    """Lines from `def` or `class` to the end."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


@pytest.mark.parametrize("path", PRODUCT + TOOLS, ids=name_of)
def test_files_and_functions_stay_readable(path: Path) -> None:
    """No file of 500 lines, no function of 60."""
    assert len(path.read_text(encoding="utf-8").splitlines()) < MAX_FILE
    long = {name: length(node) for name, node, _ in definitions(tree_of(path)) if not isinstance(node, ast.ClassDef)}
    assert not {name: lines for name, lines in long.items() if lines >= MAX_FUNCTION}


@pytest.mark.parametrize("path", PRODUCT + TOOLS, ids=name_of)
def test_public_things_are_documented(path: Path) -> None:
    """Modules, public classes and functions have a docstring; so have public methods of more than a few lines."""
    tree = tree_of(path)
    assert ast.get_docstring(tree) or not tree.body
    missing = [
        name
        for name, node, public in definitions(tree)
        if public and not ast.get_docstring(node) and ("." not in name or length(node) > MAX_UNDOCUMENTED_METHOD)
    ]
    assert not missing


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_tests_say_what_they_prove(path: Path) -> None:
    """Every test has a docstring that states the property."""
    tests = [(n, d) for n, d, _ in definitions(tree_of(path)) if n.split(".")[-1].startswith("test_")]
    assert not [name for name, node in tests if not ast.get_docstring(node) and not isinstance(node, ast.ClassDef)]


def tracked() -> list[Path]:
    """The text files of the repository, or of the folder if it is no checkout."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = listed.stdout.split("\0") if listed.returncode == 0 else [name_of(p) for p in PRODUCT + TOOLS + TESTS]
    paths = [ROOT / n for n in names if n]
    return [p for p in paths if p.is_file() and not p.is_symlink() and p.suffix not in (".png", ".gif", ".webp")]


MACHINE_PATH = re.compile(r"(?<![\w.~$}-])/(?:home|root|Users|work|opt|mnt|srv)/\w+")
INDEX_OPTION = re.compile(r"--(?:extra-)?index-url|--find-links|--trusted-host")
URL = re.compile(r"https?://([\w.-]+)")
KNOWN_HOSTS = {
    "arxiv.org", "doi.org", "docs.pytest.org", "github.com", "json-schema.org", "keepachangelog.com", "no-color.org",
    "pytorch.org", "semver.org", "www.w3.org",
}  # fmt: skip
"""Hosts that prose may point a reader to. Nothing here is ever fetched."""


def test_nothing_depends_on_one_machine() -> None:
    """No file names a folder of somebody's machine, a package index, or a host that is not a known public one."""
    wrong = []
    for path in tracked():
        if path == Path(__file__).resolve():
            continue
        text = path.read_text(encoding="utf-8")
        wrong += [(name_of(path), m.group()) for p in (MACHINE_PATH, INDEX_OPTION) for m in p.finditer(text)]
        wrong += [(name_of(path), host) for host in URL.findall(text) if host not in KNOWN_HOSTS]
    assert not wrong


def test_links_of_the_documents_lead_somewhere() -> None:
    """Every relative link of a Markdown file leads to a file of the repository."""
    wrong = []
    for path in tracked():
        if path.suffix == ".md":
            for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8")):
                target = (path.parent / link).resolve()
                if "://" not in link and not (target.is_relative_to(ROOT) and target.exists()):
                    wrong.append((name_of(path), link))
    assert not wrong
