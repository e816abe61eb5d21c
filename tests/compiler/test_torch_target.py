"""The emitted file as a file: standalone, deterministic, formatted, typed, harmless, and honest in its self-test."""

from __future__ import annotations

import ast
import builtins
import keyword
import re
import runpy
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings

from lossc._version import __version__
from lossc.compiler.errors import LossTypeError, UsageError
from lossc.compiler.ir import F, Y, coef, const, param
from lossc.compiler.loss import Loss, Parameter
from lossc.compiler.ops import call
from lossc.compiler.targets import TARGETS, emit
from lossc.compiler.targets.audit import audit
from lossc.compiler.targets.options import Options
from lossc.compiler.targets.torch_names import MODULE_NAMES, names_of
from lossc.grammar.library import named, names
from tests.compiler.torch_support import loss_of, module_of
from tests.strategies import losses

ROOT = Path(__file__).parents[2]
ACE = loss_of(call("abs", call("log", call("sqrt", Y * F) + call("eps"))), "ace", "onehot", "prob")
PSEUDO_HUBER = loss_of(
    param("delta") ** 2 * (call("sqrt", 1 + ((Y - F) / param("delta")) ** 2) - 1), "pseudo_huber", delta=1.0
)
BRANCHED = loss_of(
    call("where", call("gt", param("a"), 0), call("clamp", F, param("b"), 1) ** Y, 1 / param("a")),
    "branched", a=1, b=-1,
)  # fmt: skip
MANY = Loss(
    sum((param(f"a_rather_long_name_of_a_hyperparameter_{i}") * F**i for i in range(12)), Y),
    "a_name_that_is_much_longer_than_anybody_would_want_to_type_twice",
    params=tuple(Parameter(f"a_rather_long_name_of_a_hyperparameter_{i}", "real", Fraction(1, 3)) for i in range(12)),
)
SAMPLES = [ACE, PSEUDO_HUBER, BRANCHED, MANY]
RUFF, MYPY = (
    shutil.which("ruff", path=str(Path(sys.executable).parent)),
    shutil.which("mypy", path=str(Path(sys.executable).parent)),
)


def python(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Python, isolated: no environment, no site directory of ours, nothing but what is installed."""
    command = [sys.executable, "-I", *args]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, env={"OMP_NUM_THREADS": "1"})


@pytest.fixture(scope="module")
def emitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the samples and with every named loss, one file each."""
    folder = tmp_path_factory.mktemp("emitted")
    for loss in (*SAMPLES, *map(named, names())):
        (folder / f"{names_of(loss).function}.py").write_text(emit(loss), encoding="utf-8")
    return folder


# -- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(RUFF is None, reason="ruff is not installed")
def test_files_are_formatted_and_clean(emitted: Path) -> None:
    """`ruff format` would leave every emitted file as it is, and ruff's default rules find nothing."""
    command = [str(RUFF), "format", "--check", "--isolated", "--line-length=120", str(emitted)]
    assert subprocess.run(command, capture_output=True, text=True).stdout.count("already formatted") == 1
    rules = [str(RUFF), "check", "--isolated", "--line-length=120", "--select=E,F,W,I,UP,B", str(emitted)]
    assert subprocess.run(rules, capture_output=True, text=True).stdout.strip() == "All checks passed!"


@pytest.mark.skipif(MYPY is None, reason="mypy is not installed")
def test_files_are_typed(emitted: Path) -> None:
    """mypy --strict accepts emitted files of every form (`make types` has read those of torch)."""
    files = [str(emitted / f"{names_of(loss).function}.py") for loss in (*SAMPLES, named("focal"), named("huber"))]
    shared = [f"--config-file={ROOT / 'pyproject.toml'}", f"--cache-dir={ROOT / '.mypy_cache'}"]
    command = [str(MYPY), "--strict", *shared, *files]
    done = subprocess.run(command, cwd=emitted, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_self_tests_pass_in_a_fresh_interpreter_without_lossc(emitted: Path) -> None:
    """Every file runs where lossc cannot be imported, compares golden values with torch, and prints one `ok:` line."""
    runner = (
        "import runpy, sys, glob\n"
        "class Blocked:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.split('.')[0] in ('lossc', 'mpmath', 'lark'): raise ImportError(name)\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "for f in sorted(glob.glob('*.py')): runpy.run_path(f, run_name='__main__')\n"
    )
    done = python("-c", runner, cwd=emitted)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(list(emitted.glob("*.py")))
    assert all(re.fullmatch(r"ok: \w+Loss: \d values and gradients equal the reference to 1e-9", n) for n in lines)


def test_one_file_as_a_user_runs_it(tmp_path: Path) -> None:
    """`python ph.py` prints ok and exits with 0."""
    (tmp_path / "ph.py").write_text(emit(PSEUDO_HUBER))
    done = python("ph.py", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "ok: PseudoHuberLoss: 4 values and gradients equal the reference to 1e-9\n"


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [("v0 * v0", "v0 * v0 + 1e-7", "values"), ("v0 = y - f", "v0 = (y - f).detach() + 0 * f", "gradients"),
     ("torch.mean(loss)", "torch.sum(loss) / 2", "mean"), ("return torch.sum(loss)", "return torch.mean(loss)", "sum"),
     ("loss.to(input.dtype)", "loss.double()", "float32")],
)  # fmt: skip
def test_a_file_that_was_broken_fails_its_self_test(tmp_path: Path, old: str, new: str, what: str) -> None:
    """An edit that changes values, gradients, reductions or dtypes is found: exit code 1 and what differs."""
    source = emit(loss_of((Y - F) ** 2), options=Options(fused=False))
    assert source.count(old) == 1
    (tmp_path / "broken.py").write_text(source.replace(old, new, 1))
    with pytest.raises(SystemExit, match=f"self-test failed: .*{what}"):  # a text as the exit code: printed, and 1
        runpy.run_path(str(tmp_path / "broken.py"), run_name="__main__")


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [("return v1, v2", "return 1.0001 * v1, v2", "sum"), ("return v1, v2", "return v1, 1.0001 * v2", "gradients"),
     ("total * scale, slope", "total * scale * 1.0001, slope", "sum"),
     ("1.0 / (y.numel())", "0.5 / (y.numel())", "mean")],
)  # fmt: skip
def test_a_fused_file_that_was_broken_fails_its_self_test(tmp_path: Path, old: str, new: str, what: str) -> None:
    """The same where loss and gradient come from the fused kernel."""
    source = emit(loss_of((Y - F) ** 2), options=Options(fused=True))
    assert source.count(old) == 1
    (tmp_path / "broken.py").write_text(source.replace(old, new, 1))
    with pytest.raises(SystemExit, match=f"self-test failed: .*{what}"):
        runpy.run_path(str(tmp_path / "broken.py"), run_name="__main__")


def test_a_loss_defined_nowhere_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a point to compare at, the file still runs, and says that it compared nothing."""
    (tmp_path / "nowhere.py").write_text(emit(loss_of(call("log", -(F**2) - 1))))
    runpy.run_path(str(tmp_path / "nowhere.py"), run_name="__main__")
    assert "nothing to compare" in capsys.readouterr().out


def test_emission_is_deterministic() -> None:
    """The same bytes in this process and in others, whatever the order of hashes."""
    code = "import sys; from lossc.grammar.library import named; sys.stdout.write(named(sys.argv[1]).emit('torch'))"
    for name in ("focal", "evomal_a"):
        seen = {emit(named(name))}
        for seed in ("1", "2"):
            env = {"PYTHONPATH": str(ROOT / "src"), "PYTHONHASHSEED": seed}
            done = subprocess.run([sys.executable, "-c", code, name], env=env, capture_output=True, text=True)
            seen.add(done.stdout)
        assert len(seen) == 1


def test_only_torch_and_the_standard_library_are_imported(emitted: Path) -> None:
    """The imports of every file, by its syntax tree."""
    for file in emitted.glob("*.py"):
        found = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {a.name for a in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(str(node.module))
        assert found <= {"__future__", "math", "torch", "typing"}


def test_the_code_is_flat(emitted: Path) -> None:
    """Three-address code: no line of a kernel nests calls, so no formula is too deep to emit."""
    for file in emitted.glob("*.py"):
        functions = [n for n in ast.parse(file.read_text()).body if isinstance(n, ast.FunctionDef)]
        kernel = next(n for n in functions if n.name == "_value")
        for statement in kernel.body[1:-1]:
            calls = [n for n in ast.walk(statement) if isinstance(n, (ast.Call, ast.BinOp))]
            assert len(calls) <= 3, ast.unparse(statement)


def test_a_very_deep_formula_is_emitted_and_runs() -> None:
    """A chain of 300 operations: Python's parser stops at about 200 nested brackets, lines of code do not."""
    body = F
    for _ in range(300):
        body = call("sin", body + Y)
    value = module_of(Loss(body))(torch.zeros(2), torch.ones(2))
    expected = 0.0
    for _ in range(300):
        expected = torch.sin(torch.tensor(expected + 1.0)).item()
    assert value.tolist() == pytest.approx([expected, expected], rel=1e-4)


def test_equal_parts_are_computed_once() -> None:
    """The IR is a DAG, so the code has every sub-expression once."""
    body = call("exp", Y - F) * call("sin", Y - F) + call("exp", Y - F)
    plain = emit(Loss(body), selftest=False, options=Options(fused=False))
    assert plain.count("= y - f\n") == 1
    assert plain.count("torch.exp(") == 1
    both = emit(Loss(body), selftest=False, options=Options(fused=True)).partition("def _value_and_slope")[2]
    assert both.count("= y - f\n") == 1
    assert both.count("torch.exp(") + both.count(".exp_()") == 1


# -- header, names, constants -----------------------------------------------------------------------------------------


def test_the_header_says_where_the_file_comes_from() -> None:
    """Formula as written and as compiled, roles, hyper-parameters, document, source, rewrites, version and IR hash."""
    loss = Loss(
        -Y * (1 - F) ** param("lambda") * call("log", F), "focal", "onehot", "prob",
        (Parameter("lambda", "positive", Fraction(2)),), "Down-weights what is easy.", "Lin et al. (2017), eq. 4",
    )  # fmt: skip
    head = ast.get_docstring(ast.parse(emit(loss))) or ""
    assert head.startswith("Down-weights what is easy.")
    for said in (
        "-y*(1 - f)^lambda*log(f)", "-y*log(f)*(1 - f)^lambda", "onehot: one class of C", "f = softmax(z)",
        "lambda (here lambda_): greater than 0; default 2.0", "Lin et al. (2017), eq. 4", "V11 log(softmax(f))",
        "G4 ", f"{__version__}, canonical form {loss.canonicalize().body.digest.hex()}",
    ):  # fmt: skip
        assert said in head, said


HOSTILE = [
    '"""\nimport os\nos.system("x")\n"""', "'''", "\\", "a\x00b\x1b[31m", "\u202eevil\u2066", '"',
    "{input.__class__}", "\ud800", "%s {0} \\N{BULLET}", "x" * 3000, "\r\n\t",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_user_text_stays_text(text: str) -> None:
    """Names, documents and sources, whatever they hold, change nothing but the docstring and identifiers."""
    plain = Loss((Y - F) ** 2, "mse")
    nasty = Loss((Y - F) ** 2, "mse", doc=text, source=text)
    source = emit(nasty)
    source.encode("utf-8")
    assert all(len(line) <= 120 for line in source.splitlines())
    assert all(c.isprintable() or c == "\n" for c in source)
    ours, clean = ast.parse(source), ast.parse(emit(plain))
    assert [ast.dump(n) for n in ours.body[1:]] == [ast.dump(n) for n in clean.body[1:]]
    renamed = audit(
        emit(Loss((Y - F) ** 2 * param(text), text, params=(Parameter(text, "real", Fraction(1)),)))
        if text.isidentifier()
        else emit(Loss((Y - F) ** 2, text))
    )
    assert isinstance(renamed, ast.Module)


NAMES = [
    "lambda", "class", "None", "print", "sum", "self", "input", "target", "reduction", "y_", "z", "dim", "v0", "v12",
    "math", "torch", "nn", "Tensor", "Loss", "loss", "forward", "training", "type", "float", "_value", "_reduce",
    "__class__", "__init__", "num_classes", "tested_loss", "TestedLoss", "δ", "make", "values", "nothing", "total",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_hyperparameters_of_any_name_work(name: str) -> None:
    """A name that Python, torch or the file itself uses gets another identifier, and the loss is still right."""
    loss = loss_of(param(name) * (Y - F) ** 2, **{name: 3.0})
    identifier = names_of(loss).hyperparameters[name]
    assert identifier.isascii() and identifier.isidentifier() and not keyword.iskeyword(identifier)
    assert not hasattr(builtins, identifier) and not hasattr(torch.nn.Module(), identifier)
    module = module_of(loss, **{name: 2.0})
    assert module(torch.ones(2), torch.zeros(2)).tolist() == [2.0, 2.0]
    assert getattr(module, identifier) == 2.0


def test_names_that_meet_stay_apart() -> None:
    """Hyper-parameters whose safe names would be the same get different ones."""
    loss = loss_of(param("lambda") + 10 * param("lambda_") + 100 * param("δ") + 1000 * param("delta") + 0 * F,
                   **{"lambda": 1.0, "lambda_": 2.0, "δ": 3.0, "delta": 4.0})  # fmt: skip
    assert len(set(names_of(loss).hyperparameters.values())) == 4
    assert module_of(loss)(torch.zeros(1), torch.zeros(1)).item() == 4321.0


def test_the_reserved_names_are_those_of_torch() -> None:
    """The list of nn.Module's public attributes, kept so that the compiler needs no torch, is complete."""
    public = {n for n in dir(torch.nn.Module()) if not n.startswith("_")}
    assert public <= MODULE_NAMES


@pytest.mark.parametrize(
    ("name", "cls", "function"),
    [("mse", "MseLoss", "mse_loss"), ("pseudo_huber", "PseudoHuberLoss", "pseudo_huber_loss"),
     ("l1", "L1Loss", "l1_loss"), ("focal_loss", "FocalLoss", "focal_loss"), ("MyLoss", "MyLoss", "my_loss"),
     ("loss", "CustomLoss", "custom_loss"),
     ("class", "ClassLoss", "class_loss"), ("_", "CustomLoss", "custom_loss"), ("été", "EteLoss", "ete_loss")],
)  # fmt: skip
def test_names_of_the_class_and_the_function(name: str, cls: str, function: str) -> None:
    """CamelCase and snake_case with one "loss" at the end."""
    found = names_of(Loss((Y - F) ** 2, name))
    assert (found.cls, found.function) == (cls, function)


def test_constants_are_exact_literals_with_a_comment() -> None:
    """A constant sub-expression becomes the nearest float64, with a comment where the number alone says nothing."""
    body = call("exp", F) ** call("sqrt", call("pi")) + call("eps") + call("sin", F) ** const(Fraction(1, 3)) + F * 0.1
    code = emit(Loss(body), selftest=False)
    assert "1.772453850905516  # sqrt(pi)\n" in code
    assert "1e-07  # eps\n" in code
    assert "0.3333333333333333  # 1/3\n" in code
    assert "0.1 * f\n" in code


@pytest.mark.parametrize("number", ["1e-400", "1e309", "4e-325"])
def test_constants_beyond_float64_are_refused(number: str) -> None:
    """An epsilon that is 0 in float64 is an error, not a surprise (numerics.md, V33)."""
    with pytest.raises(LossTypeError, match=r"L340.*too (small|large)"):
        emit(Loss(F + const(number) * Y))
    with pytest.raises(LossTypeError, match="L340"):
        emit(loss_of(F + param("a") * Y, a=number))  # type: ignore[arg-type]


# -- the registry -----------------------------------------------------------------------------------------------------


def test_unknown_targets_are_refused_with_the_list() -> None:
    """UsageError L240 names the targets that there are; each of them works."""
    with pytest.raises(UsageError, match="L240") as caught:
        emit(ACE, "fortran")
    assert all(name in str(caught.value) for name in TARGETS)
    assert all(emit(PSEUDO_HUBER, target) for target in TARGETS)


def test_learnable_coefficients_are_refused() -> None:
    """φ has no number yet: L341."""
    with pytest.raises(LossTypeError, match="L341"):
        emit(Loss(coef(0) * (Y - F)))


def test_the_compiler_needs_no_torch() -> None:
    """Emitting imports neither torch nor numpy nor SymPy."""
    code = (
        "import sys, lossc; s = lossc.parse('abs(log(sqrt(y*f) + eps))', y='onehot', f='prob').emit('torch');"
        "print(sorted({'torch', 'numpy', 'sympy', 'deap'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True
    )
    assert done.stdout == "[]\n", done.stderr


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(losses(any_names=True, max_leaves=8))
def test_every_loss_becomes_code_that_the_audit_knows(loss: Loss) -> None:
    """Whatever the operators, names and documents: the file compiles, and holds nothing but what lossc may write."""
    try:
        source = emit(loss, selftest=False)
    except LossTypeError as refused:
        assert refused.diagnostic.code == "L340"
        return
    audit(source)
    assert all(len(line) <= 120 for line in source.splitlines())
