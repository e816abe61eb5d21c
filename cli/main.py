"""The entry point `lossc`, and the boundary where every failure becomes one clear message and an exit code.

    0    good
    1    the loss is at fault
    2    the call is at fault
    70   lossc is at fault (LOSSC_DEBUG=1 shows the traceback)
    130  interrupted
    141  the reader of the output went away

Nothing heavy is imported before the boundary stands.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lossc.cli.context import Session

GOOD, LOSS_AT_FAULT, CALL_AT_FAULT, INTERNAL, INTERRUPTED, NO_READER = 0, 1, 2, 70, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line with `argv` (by default the process's arguments) and return the exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _interrupted(args)
    except SystemExit as done:  # the shell's completion ends like this
        return done.code if isinstance(done.code, int) else GOOD
    except BrokenPipeError:
        _silence(sys.stdout)
        return NO_READER
    except OSError as problem:
        _silence(sys.stdout)
        return _stop(f"error: cannot write to standard output: {problem.strerror or problem}", CALL_AT_FAULT)


def _run(args: list[str]) -> int:
    try:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # no text, however odd, fails for want of a character
                stream.reconfigure(errors="backslashreplace")
        from lossc.cli.app import run

        return run(args)
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception as bug:
        if os.environ.get("LOSSC_DEBUG"):
            import traceback

            traceback.print_exc()
            return INTERNAL
        return _report_bug(bug, args)


def _interrupted(args: list[str]) -> int:
    """Quiet; with --json one object, as always."""
    from lossc.cli.context import wants_json

    if wants_json(args):
        from lossc.compiler.errors import LosscError

        _session(args).fail(LosscError("L901", "interrupted").diagnostic, INTERRUPTED)
    return INTERRUPTED


def _session(args: list[str]) -> Session:
    from lossc.cli.context import Session, wants_json

    return Session(next((a for a in args if not a.startswith("-")), ""), json=wants_json(args))


def _report_bug(bug: Exception, args: list[str]) -> int:
    from lossc import __version__
    from lossc.compiler.errors import LosscError

    what = " ".join(str(bug).split())[:200]
    error = LosscError(
        "L900",
        f"lossc {__version__} failed with {type(bug).__name__}" + (f": {what}" if what else ""),
        hint="this is a bug in lossc, please report it; LOSSC_DEBUG=1 in the environment shows the traceback",
    )
    _session(args).fail(error.diagnostic, INTERNAL)
    return INTERNAL


def _stop(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code


def _silence(stream: object) -> None:
    """Point the stream at nothing, so that the interpreter's last flush of it cannot fail again."""
    try:
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, stream.fileno())  # type: ignore[attr-defined]
        os.close(sink)
    except (OSError, ValueError, AttributeError):
        pass


if __name__ == "__main__":
    sys.exit(main())
