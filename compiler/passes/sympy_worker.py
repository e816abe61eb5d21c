"""The far end of the SymPy process: `python -m lossc.compiler.passes.sympy_worker`. Reads formulas, writes proposals.

Each line of the input is `{"loss": ..., "stage": "quick" | "thorough", "seconds": ...}`; the answers are lines
`{"method": ..., "loss": ...}` or `{"method": ..., "problem": reason}`, and `{"done": true}` at the end. The process
limits its own memory and processor time, gives each method a soft limit, and ends when its input does, so it never
outlives its parent for long. The cache of SymPy is emptied for every formula: nothing depends on what was asked before.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from lossc.compiler.errors import LosscError
from lossc.compiler.ir import ARG, COEF, PARAM, Expr, postorder
from lossc.compiler.loss import Loss
from lossc.compiler.serialize import from_json, to_mapping

MEMORY_LIMIT = 2 << 30
"""Bytes of address space that the process may have."""
METHOD_SHARE = 0.2
"""Share of the time limit that one method may take."""
QUICK, THOROUGH = "quick", "thorough"
"""Stages: methods that take milliseconds on most formulas, and the others."""


class _Slow(BaseException):
    """A method used up its soft limit. Not an `Exception`: SymPy catches those."""


def methods(sympy: Any, symbols: list[Any], stage: str) -> dict[str, Callable[[Any], Any]]:
    """SymPy's methods in the order in which they are asked.

    Nothing with `force` (it assumes what is not so) and no `nsimplify` (it guesses constants).
    """
    if stage == QUICK:
        return {
            "evaluate": lambda e: e.doit(),
            "factor_terms": sympy.factor_terms,
            "powsimp": sympy.powsimp,
            "together": lambda e: sympy.together(e, deep=True),
            "factor": lambda e: sympy.factor(e, deep=True),
            "cancel": sympy.cancel,
            "expand": sympy.expand,
            **{f"collect {s}": (lambda e, s=s: sympy.collect(sympy.expand(e), s)) for s in symbols},
            "radsimp": sympy.radsimp,
            "logcombine": sympy.logcombine,
            "expand_log": sympy.expand_log,
        }
    return {
        "trigsimp": sympy.trigsimp,
        "sqrtdenest": sympy.sqrtdenest,
        "simplify": sympy.simplify,
        "simplify_expanded": lambda e: _unless(sympy.expand(e), e.doit(), sympy.simplify),
    }


def _unless(changed: Any, same: Any, method: Callable[[Any], Any]) -> Any:
    """`method(changed)`, if there was a change."""
    return same if changed == same else method(changed)


def main() -> None:
    """Serve requests, one line each, until the input ends."""
    _limit_memory()
    lines = _watched_input()
    import sympy

    for line in lines:
        _answer(sympy, json.loads(line))


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_processor(seconds: float) -> None:
    """From now on at most so much processor time: an orphan caught in C code ends by itself."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        resource.setrlimit(resource.RLIMIT_CPU, (int(used + seconds) + 2, resource.RLIM_INFINITY))


def _watched_input() -> Iterator[bytes]:
    """The lines of stdin, read by a thread of their own: when the parent is gone, so are we, whatever we are doing."""
    lines: queue.Queue[bytes] = queue.Queue()

    def read() -> None:
        for line in sys.stdin.buffer:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield lines.get()


def _answer(sympy: Any, request: dict[str, Any]) -> None:
    """Say what each method makes of the formula, one line a method, and then that this was all."""
    from lossc.compiler.sympy_bridge import Bridge, BridgeRefusal

    seconds = float(request["seconds"])
    _limit_processor(seconds)
    sympy.core.cache.clear_cache()
    try:
        loss = from_json(request["loss"])
        leaves = [n for n in postorder(loss.body) if n.op in (ARG, PARAM, COEF)]
        bridge = Bridge([loss.body], {n: loss.role_of(n) for n in leaves if n.op != COEF})
        start = bridge.to_sympy(loss.body)
    except (BridgeRefusal, LosscError, RecursionError, MemoryError) as problem:
        text = problem.diagnostic.message if isinstance(problem, LosscError) else str(problem) or type(problem).__name__
        _say({"method": "to_sympy", "problem": text})
        _say({"done": True})
        return
    symbols = [bridge.symbol(n) for n in leaves if n.op == ARG]
    for name, method in methods(sympy, symbols, request["stage"]).items():
        limit = seconds * METHOD_SHARE
        try:
            answer = _propose(loss, bridge, method, start, limit)
        except _Slow:
            answer = {"problem": f"took more than {limit:.1f} s"}
        _say({"method": name, **answer})
    _say({"done": True})


def _propose(loss: Loss, bridge: Any, method: Callable[[Any], Any], start: Any, seconds: float) -> dict[str, Any]:
    """One method's proposal as an answer. Whatever goes wrong inside SymPy is a reason, not a crash."""

    def stop(*_: object) -> None:
        if running:
            raise _Slow

    running = True
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return {"loss": stripped(loss, bridge.from_sympy(method(start)))}
    except MemoryError:
        return {"problem": "needs too much memory"}
    except RecursionError:
        return {"problem": "goes too deep for SymPy"}
    except Exception as problem:
        text = " ".join(str(problem).split())[:120]
        return {"problem": text if type(problem).__name__ == "BridgeRefusal" else f"{type(problem).__name__}: {text}"}
    finally:
        running = False
        signal.setitimer(signal.ITIMER_REAL, 0)


def stripped(loss: Loss, body: Expr) -> dict[str, Any]:
    """What crosses the pipe of a loss: the formula and the roles, in the JSON form."""
    return to_mapping(Loss(body, y=loss.y, f=loss.f, params=loss.params))


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
