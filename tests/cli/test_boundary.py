"""The boundary: exit codes, streams, JSON, pipes, interrupts and bugs, mostly through real processes."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lossc import __version__
from lossc.cli import app
from lossc.cli.main import main
from tests.cli.support import Ran, environment, process

Run = Callable[..., Ran]


def test_version_and_help(lossc: Run) -> None:
    """`--version` is the package's; no arguments show the help; the help lists every command."""
    assert lossc("--version").out == f"lossc {__version__}\n"
    helped = lossc("--help")
    assert lossc().out == helped.out
    assert (helped.code, helped.err) == (0, "")
    assert all(f"  {name} " in helped.out for name in app.COMMANDS)


def test_python_m_lossc_is_lossc(tmp_path: Path) -> None:
    """`python -m lossc` is the command line, exit codes included."""
    assert process(["--version"], cwd=tmp_path).out == f"lossc {__version__}\n"
    assert process(["show", "y +"], cwd=tmp_path).code == 1


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["show", "(y - f)^2"], 0),
        (["show", "y +"], 1),
        (["show", "log(y"], 1),
        (["show", "lgo(y)"], 1),
        (["show", "9**9**9**9"], 1),
        (["show", "(" * 5000 + "y" + ")" * 5000], 1),
        (["show", "1e999999999*y"], 1),
        (["show", "y\x00f"], 1),
        (["show", "y\x1b[31mf"], 1),
        (["show", "__import__('os')"], 1),
        (["show", "y" * 1000], 1),
        (["show", ""], 1),
        (["show", "\udcff"], 1),
        (["show"], 2),
        (["show", "a", "b"], 2),
        (["show", "y", "--format", "yaml"], 2),
        (["show", "y", "--no-such-option"], 2),
        (["shwo", "y"], 2),
        (["--no-such-option"], 2),
        (["grad", "(y - f)^2", "--wrt", "gamma"], 2),
        (["grad", "(y - f)^2", "--order", "x"], 2),
        (["grad", "(y - f)^2", "--order", "3"], 2),
        (["simplify", "y", "--timeout", "-1"], 2),
        (["simplify", "y", "--timeout", "nan"], 2),
        (["explain", "L999"], 2),
        (["show", "pseudo_hubber"], 2),
        (["show", "nothing.loss"], 2),
    ],
)
def test_exit_codes(lossc: Run, args: list[str], code: int) -> None:
    """0 good, 1 the loss is at fault, 2 the call is at fault; errors go to standard error, never as tracebacks, and
    with --json the same code comes with one JSON object on standard output and nothing else."""
    plain, record = lossc(*args), lossc(*args, "--json")
    assert (plain.code, record.code) == (code, code if args != ["--no-such-option"] else 2)
    assert "Traceback" not in plain.err + plain.out
    assert (plain.out == "") == (code != 0)
    assert ("error[L" in plain.err) == (code != 0)
    assert "\x1b" not in plain.err
    assert record.err == ""
    assert record.json["ok"] == (code == 0)
    if code:
        assert record.json["exit_code"] == code
        assert record.json["error"]["severity"] == "error"
        assert f"error[{record.json['error']['code']}]" in plain.err


@pytest.mark.parametrize(
    "args",
    [
        ["square((where(2 < 1/3, f, y)*(0/y))^exp(1/3*1/3))/(0*sqrt(sign(eps*0)))"],
        ["lgamma((eps/sign(sum_c(C)))^(((1e-7 - C)^(pi/f))^softmax(eps)))", "--y", "binary", "--f", "prob"],
    ],
)
def test_formulas_that_once_were_bugs(lossc: Run, args: list[str]) -> None:
    """Random calls found these: a sum whose terms all cancel, inside a second derivative."""
    assert lossc("grad", *args, "--order", "2", "-q").code == 0


def test_hostile_text_is_quick(tmp_path: Path) -> None:
    """A megabyte on standard input ends in a clear error, as fast as anything else."""
    began = time.monotonic()
    ran = process(["show", "-"], cwd=tmp_path, stdin=b"y+" * 500_000)
    assert (ran.code, ran.out) == (1, "") or ran.code == 2
    assert "limit" in ran.err
    assert time.monotonic() - began < 10  # one second where nothing else runs; here other tests do


def test_errors_show_the_place(lossc: Run) -> None:
    """A syntax error has the caret under its place, the expectation and the way to more."""
    ran = lossc("show", "(y - f)^2 + lgo(f)")
    assert " 1 | (y - f)^2 + lgo(f)\n" in ran.err
    assert "\n   |             ^^^" in ran.err
    assert "log" in ran.err


def test_unknown_command_suggests(lossc: Run) -> None:
    """A misspelt command, and a loss where a command belongs, are met with what was meant."""
    assert "lossc simplify" in lossc("simplfy", "y").err
    assert "a loss comes after a command" in lossc("(y - f)^2").err


@pytest.mark.parametrize("text", ["(y - f)^2", "loss a(y: real, f: real):\n    (y - f)^2\n", None])
def test_standard_input(tmp_path: Path, text: str | None) -> None:
    """`-` reads a formula, a definition or JSON from standard input."""
    if text is None:
        text = process(["show", "(y - f)^2", "--format", "json"], cwd=tmp_path).out
    ran = process(["show", "-", "--format", "text"], cwd=tmp_path, stdin=text.encode())
    assert (ran.code, ran.out, ran.err) == (0, "(y - f)^2\n", "")


def test_empty_standard_input_is_the_calls_fault(tmp_path: Path) -> None:
    """Nothing on standard input is a clear error; so is a closed one."""
    assert process(["show", "-"], cwd=tmp_path).code == 2
    closed = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m lossc show - <&-"],
        cwd=tmp_path, env=environment(), capture_output=True, check=False,
    )  # fmt: skip
    assert closed.returncode == 2
    assert b"error[L230]" in closed.stderr


NO_READER = """
import os, sys
from lossc.cli.main import main
reader, writer = os.pipe()
os.dup2(writer, 1)
os.close(reader)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("args", [["explain"], ["explain", "--json"], ["--help"], ["show", "mse"]])
def test_the_reader_may_go_away(tmp_path: Path, args: list[str]) -> None:
    """`lossc explain | head -1`: when no one reads any more, it ends with 141 (128 + SIGPIPE) and not a word."""
    ran = subprocess.run(
        [sys.executable, "-c", NO_READER, *args], cwd=tmp_path, env=environment(), capture_output=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (141, b"")


@pytest.mark.parametrize("extra", [[], ["--json"]])
def test_a_full_disk_behind_standard_output(tmp_path: Path, extra: list[str]) -> None:
    """`> /dev/full` is the call's fault, said on standard error."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "lossc", "show", "mse", *extra],
            cwd=tmp_path, env=environment(), stdout=full, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert b"no space left" in done.stderr.lower()
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("extra", [[], ["--json"]])
def test_interrupt_is_quiet(extra: list[str], tmp_path: Path) -> None:
    """Ctrl-C while it waits for standard input: exit code 130, not a word; with --json one object."""
    with subprocess.Popen(
        [sys.executable, "-m", "lossc", "show", "-", *extra],
        cwd=tmp_path, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job starts with it ignored
    ) as child:  # fmt: skip
        time.sleep(1.5)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
    assert (child.returncode, err) == (130, b"")
    if extra:
        told = json.loads(out)
        assert (told["ok"], told["error"]["code"], told["exit_code"]) == (False, "L901", 130)
    else:
        assert out == b""


def test_a_bug_is_a_short_message(lossc: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected exception is one message and exit code 70; LOSSC_DEBUG=1 shows the traceback."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr("lossc.cli.commands.show.read_loss", broken)
    ran, record = lossc("show", "mse"), lossc("show", "mse", "--json")
    assert (ran.code, ran.out, record.code) == (70, "", 70)
    assert "error[L900]" in ran.err
    assert "ZeroDivisionError: on purpose" in ran.err
    assert "LOSSC_DEBUG=1" in ran.err
    assert "Traceback" not in ran.err
    assert (record.json["error"]["code"], record.json["exit_code"], record.json["command"]) == ("L900", 70, "show")
    monkeypatch.setenv("LOSSC_DEBUG", "1")
    assert "Traceback" in lossc("show", "mse").err


def in_terminal(args: list[str], cwd: Path, **env: str) -> str:
    """What a terminal of 60 columns shows."""
    parent, child = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "lossc", *args],
        cwd=cwd, env=environment(TERM="xterm-256color", COLUMNS="60", **env), stdin=child, stdout=child, stderr=child,
    ) as running:  # fmt: skip
        os.close(child)
        shown = b""
        try:
            while chunk := os.read(parent, 65536):
                shown += chunk
        except OSError:
            pass
        running.wait(30)
    os.close(parent)
    return shown.decode().replace("\r\n", "\n")


def test_quiet_in_a_pipe_coloured_on_a_terminal(tmp_path: Path) -> None:
    """In a pipe: a line a loss, tab-separated, no colour. On a terminal: wrapped to its width, bold heads. NO_COLOR is
    respected."""
    piped = process(["list", "huber"], cwd=tmp_path)
    assert piped.err == ""
    assert piped.out.splitlines()[0] == "name\tformula\troles\tsource"
    assert all(line.count("\t") == 3 for line in piped.out.splitlines())
    assert "\x1b" not in piped.out
    shown = in_terminal(["list", "huber"], tmp_path)
    assert "\x1b[1m" in shown
    assert "\t" not in shown
    plain = in_terminal(["list", "huber"], tmp_path, NO_COLOR="1")
    assert "\x1b[3" not in plain  # no colour; bold is no colour
    assert max(map(len, plain.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines())) <= 60
    error = in_terminal(["show", "y +"], tmp_path)
    assert "\x1b[1;31merror[L006]\x1b[0m:" in error


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    """A file name with an escape sequence is shown without it."""
    (tmp_path / "a\x1b[31m.loss").write_text("y +")
    ran = process(["show", "a\x1b[31m.loss"], cwd=tmp_path)
    assert ran.code == 1
    assert "\x1b" not in ran.err


def test_ascii_terminals_get_escapes_not_tracebacks(tmp_path: Path) -> None:
    """With an ASCII standard output, what it cannot show is escaped."""
    ran = process(["show", "a × b"], cwd=tmp_path, env=environment(PYTHONIOENCODING="ascii"))
    assert ran.code == 1
    assert "Traceback" not in ran.err
    assert "\\xd7" in ran.err


def test_json_envelope(lossc: Run) -> None:
    """One object: ok, command, result or error, warnings."""
    good, bad = lossc("show", "mse", "--json").json, lossc("show", "y +", "--json").json
    assert set(good) == {"ok", "command", "result", "warnings"}
    assert set(bad) == {"ok", "command", "error", "exit_code", "warnings"}
    assert good["command"] == bad["command"] == "show"
    assert bad["error"]["location"] == {"source": "<formula>", "line": 1, "column": 3} or bad["error"]["span"]


def test_completion_names_commands_and_losses(tmp_path: Path) -> None:
    """The shell's completion offers the commands, and named losses for LOSS."""
    script = process(
        ["--show-completion", "bash"], cwd=tmp_path, env=environment(_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    )
    assert "_LOSSC_COMPLETE" in script.out or "complete" in script.out
    words = {"COMP_WORDS": "lossc ", "COMP_CWORD": "1", "_LOSSC_COMPLETE": "complete_bash"}
    commands = process([], cwd=tmp_path, env=environment(**words)).out.split()
    assert set(commands) >= set(app.COMMANDS)
    words = {"COMP_WORDS": "lossc show pseudo", "COMP_CWORD": "2", "_LOSSC_COMPLETE": "complete_bash"}
    assert "pseudo_huber" in process([], cwd=tmp_path, env=environment(**words)).out.split()


IMPORTED = """
import sys
from lossc.cli.main import main
main(sys.argv[1:])
print([m for m in ("torch", "sympy", "numpy", "sklearn", "deap", "rich") if m in sys.modules], file=sys.stderr)
"""


def test_nothing_heavy_is_imported_for_light_work(tmp_path: Path) -> None:
    """Help and the commands that need no tensors import neither torch nor SymPy nor NumPy nor scikit-learn, and rich
    only for tables on a terminal."""
    for args in (["--help"], ["--version"], ["show", "mse"], ["list"], ["grad", "mse"], ["compile", "(y - f)^2"],
                 ["simplify", "(y - f)^2", "--no-sympy"], ["explain", "L001"]):  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", IMPORTED, *args],
            cwd=tmp_path, env=environment(), capture_output=True, check=True,
        )  # fmt: skip
        assert done.stderr.decode().strip() == "[]", args


def test_main_returns_codes_and_does_not_exit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`main` can be called by a program: it returns the code."""
    monkeypatch.chdir(tmp_path)
    assert main(["show", "y - f", "-o", "a.txt"]) == 0
    assert main(["show", "y - f", "-o", "a.txt"]) == 2
    assert main(["show", "y - f", "-o", "a.txt", "--force"]) == 0
