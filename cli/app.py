"""The typer application: a group whose commands are imported when they are called, and the run of one command line."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from lossc.cli.context import Outcome, Session, wants_json
from lossc.cli.main import CALL_AT_FAULT, GOOD, INTERNAL, LOSS_AT_FAULT
from lossc.compiler.errors import Diagnostic, LosscError, UsageError

COMMANDS: dict[str, str] = {
    "compile": "Compile a loss to a standalone PyTorch file.",
    "export": "A loss for JAX, NumPy, Keras, ONNX, C, boosting and more.",
    "targets": "What a loss can be exported to, and what each target lacks.",
    "simplify": "Simplify a loss, and say how.",
    "identify": "Which named loss a loss is, or which are near.",
    "sparsify": "Let a loss need the target's prediction only, nearly.",
    "show": "Show a loss: its facts, or one form of it.",
    "grad": "The derivative of a loss, in closed form.",
    "analyze": "What a loss is, what it does, and where it breaks.",
    "plot": "Pictures of losses: value, gradient, families, surfaces.",
    "compare": "Losses side by side.",
    "rule": "What a loss teaches when training begins, and at its end.",
    "accuracy": "How exact a loss is in each dtype, against mpmath.",
    "train": "Train a model with a loss, beside the usual one.",
    "landscape": "Loss landscapes around trained models, and how flat.",
    "lr-sweep": "How much of a loss is a learning rate; a sweep over rates.",
    "representations": "How tight classes are before the last layer (t-SNE).",
    "curves": "Training curves with several losses.",
    "runtime": "How long losses take, by the number of classes.",
    "optimize": "Learn a loss's coefficients, by unrolled differentiation.",
    "adapt": "Train while the loss adapts online (AdaLFL).",
    "search": "Discover losses by genetic programming.",
    "resume": "Go on with a search that was interrupted or killed.",
    "runs": "List the searches in a folder.",
    "best": "The best losses of a search.",
    "report": "The report of a search, as a page.",
    "transfer": "Train with a found loss on another task.",
    "list": "List the named losses.",
    "explain": "Explain an error code.",
    "demo": "From three losses of the thesis to trained models.",
}
"""Every command and its line in `lossc --help`; the module `lossc.cli.commands.NAME` holds the rest."""

EPILOG = """\b
Examples:
  lossc compile "(y - f)^2" -o mse.py
  lossc simplify "log(exp(y)*exp(f)) + 0*y + (f - y) - f"
  lossc show pseudo_huber
  lossc train pseudo_huber --task diabetes --seeds 3

\b
Each command explains itself: lossc compile --help
Exit codes: 0 good, 1 the loss is at fault, 2 the call is at fault.
With --json, every command prints one object, whatever happens:
  {"ok": true, "command": ..., "result": {...}, "warnings": [...]}
  {"ok": false, "command": ..., "error": {...}, "exit_code": 1, "warnings": []}
"""

HELP = "The loss compiler: loss functions as programs. A loss is a formula in the target y and the prediction f."

_MINUS_FORMULA = re.compile(r"-(?!o)[^-].*[()*/^+,\s-].*", re.DOTALL)


class LazyGroup(TyperGroup):
    """The commands of `COMMANDS`; the module of one is imported when that one is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, or None."""
        return command(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the arguments name. Raises UsageError (L235) with the nearest one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise _no_command(args[0])
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def command(name: str) -> Any:
    """One command, from its module: `run` is the function, `EXAMPLES` go below its help."""
    module = import_module(f"lossc.cli.commands.{name.replace('-', '_')}")
    single = typer.Typer(rich_markup_mode=None, add_completion=False)
    epilog = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in module.EXAMPLES)
    single.command(name, epilog=epilog, short_help=COMMANDS[name])(module.run)
    return get_command(single)


def application() -> Any:
    """The whole command line, as an object of the library that typer stands on."""
    app = typer.Typer(cls=LazyGroup, rich_markup_mode=None, help=HELP, epilog=EPILOG, no_args_is_help=False)

    def version(value: bool) -> None:
        if value:
            from lossc import __version__

            typer.echo(f"lossc {__version__}")
            raise typer.Exit

    @app.callback(invoke_without_command=True)
    def lossc(
        ctx: typer.Context,
        _version: bool = typer.Option(
            False, "--version", callback=version, is_eager=True, help="Show the version and exit."
        ),
    ) -> None:
        if ctx.invoked_subcommand is None:
            typer.echo(ctx.get_help())

    return get_command(app)


def run(args: Sequence[str]) -> int:
    """Run one command line, print what it came to and return the exit code. Bugs come through as exceptions."""
    group = application()
    if os.environ.get("_LOSSC_COMPLETE"):
        group.main(list(args), prog_name="lossc")
    session = Session(next((a for a in args if a in COMMANDS), ""), json=wants_json(args))
    try:
        with group.make_context("lossc", formulas_kept(args), obj=session) as ctx:
            outcome = group.invoke(ctx)
        if isinstance(outcome, Outcome):
            session.succeed(outcome)
        return GOOD
    except typer.Exit as done:
        return int(done.exit_code)
    except LosscError as problem:
        code = exit_code(problem)
        session.fail(problem.diagnostic, code)
        return code
    except _CallError as problem:
        session.fail(_usage_diagnostic(problem), CALL_AT_FAULT)
        return CALL_AT_FAULT


def exit_code(problem: LosscError) -> int:
    """Whose fault it is: the call's, lossc's own, or the loss's."""
    if isinstance(problem, UsageError):
        return CALL_AT_FAULT
    return INTERNAL if problem.diagnostic.code.startswith("L9") else LOSS_AT_FAULT


def formulas_kept(args: Sequence[str]) -> list[str]:
    """The arguments, with formulas that begin with a minus (`-y*log(f)`) kept from being read as options.

    A leading space does it; it means nothing in a formula. After `--` nothing is an option anyway.
    """
    out = list(args)
    stop = out.index("--") if "--" in out else len(out)
    return [f" {a}" if i < stop and _MINUS_FORMULA.fullmatch(a) else a for i, a in enumerate(out)]


_CallError: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
"""What typer raises for options that it does not like, whichever library it stands on."""


def _usage_diagnostic(problem: Exception) -> Diagnostic:
    message = str(getattr(problem, "format_message", problem.__str__)()).strip().rstrip(".")
    message = message.replace("Value error, ", "")
    ctx = getattr(problem, "ctx", None)
    path = getattr(ctx, "command_path", "lossc")
    return Diagnostic("L235", message[:1].lower() + message[1:], hint=f"`{path} --help` shows examples")


def _no_command(name: str) -> UsageError:
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    if close:
        hint = f"did you mean `lossc {close[0]}`?"
    elif re.search(r"[()*/^+]", name):
        hint = "a loss comes after a command: lossc compile, lossc simplify, lossc show, ..."
    else:
        hint = "`lossc --help` lists the commands"
    return UsageError(
        "L235", f"there is no command `{name[:60]}`", expected="one of: " + ", ".join(COMMANDS), hint=hint
    )
