"""SymPy in a process of its own that can be killed: `python -m lossc.compiler.passes.sympy_worker`.

Both ends of the pipe are here. `Worker` is the near end: it starts the process when first asked, sends a formula as one
line of JSON, and yields SymPy's proposals as they come, one line each, so that a method that hangs only loses the ones
after it. At the deadline the process is killed with SIGKILL: integer arithmetic in C answers to no other signal
(`Float('1e999999999')`, reference/numerics.md, finding 9). The far end limits its own memory and processor time, gives
each method a soft limit, and ends when its input does, so it never outlives its parent for long.

SymPy's results depend on the order of hashes, so the process runs with PYTHONHASHSEED=0 and an emptied cache.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossc.compiler.errors import LosscError
from lossc.compiler.ir import ARG, COEF, PARAM, Expr, postorder
from lossc.compiler.loss import Loss
from lossc.compiler.serialize import from_json, to_mapping

MEMORY_LIMIT = 2 << 30
"""Bytes of address space that the process may have."""
METHOD_SHARE = 0.3
"""Share of the time limit that one method may take."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one SymPy method made of the formula: an expression, or None and the reason why there is none."""

    method: str
    expr: Expr | None
    problem: str = ""


class WorkerProblem(Exception):
    """The worker could not be used, or was stopped; `str()` says why, as a note for the report."""


# -- the near end ----------------------------------------------------------------------------------------------------


class Worker:
    """The near end: one SymPy process, started when first needed and again after it had to be killed. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = os.getpid()
        self._buffer = b""

    def proposals(self, loss: Loss, deadline: float) -> Iterator[Proposal]:
        """SymPy's proposals for the body of `loss`, under its roles, until the monotonic time `deadline`.

        Raises WorkerProblem if the process cannot be started, dies, or is still at work at the deadline (it is killed).
        """
        if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise WorkerProblem("SymPy was busy with another formula")
        try:
            yield from self._ask(loss, deadline)
        except BaseException:  # GeneratorExit and KeyboardInterrupt too: the pipe may hold half an answer
            self._kill()
            raise
        finally:
            self._lock.release()

    def _ask(self, loss: Loss, deadline: float) -> Iterator[Proposal]:
        seconds = round(max(0.05, deadline - time.monotonic()), 3)
        request = {"loss": _mapping(loss, loss.body), "seconds": seconds}
        process = self._started()
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        except OSError:
            raise WorkerProblem("the SymPy process ended unexpectedly") from None
        for line in self._lines(process, deadline):
            answer = json.loads(line)
            if "done" in answer:
                return
            found = from_json(answer["loss"]).body if "loss" in answer else None
            yield Proposal(answer["method"], found, answer.get("problem", ""))

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._kill()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "lossc.compiler.passes.sympy_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                start_new_session=True,  # Ctrl-C in the terminal is for us to handle
            )
        except (OSError, ValueError) as problem:
            raise WorkerProblem(f"the SymPy process could not be started ({problem})") from None
        return self._process

    def _lines(self, process: subprocess.Popen[bytes], deadline: float) -> Iterator[bytes]:
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                while b"\n" in self._buffer:
                    line, self._buffer = self._buffer.split(b"\n", 1)
                    yield line
                left = deadline - time.monotonic()
                if left <= 0 or not selector.select(left):
                    raise WorkerProblem("SymPy did not finish in time")
                piece = os.read(process.stdout.fileno(), 1 << 16)
                if not piece:
                    raise WorkerProblem("the SymPy process ended unexpectedly")
                self._buffer += piece

    def _kill(self) -> None:
        process, self._process, self._buffer = self._process, None, b""
        if process is None:
            return
        if os.getpid() == self._pid:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def close(self) -> None:
        """Kill the process, if there is one. The worker may be used again."""
        self._kill()

    def after_fork(self) -> None:
        """In a forked child: forget the parent's process without touching it."""
        self._lock = threading.Lock()
        process, self._process, self._buffer = self._process, None, b""
        if process is not None:
            process.returncode = 0  # not ours to wait for
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        os.close(pipe.fileno())
        self._pid = os.getpid()


def _mapping(loss: Loss, body: Expr) -> dict[str, Any]:
    """What the worker needs to know of a loss: the formula and the roles, in the JSON form."""
    return to_mapping(Loss(body, y=loss.y, f=loss.f, params=loss.params))


def _environment() -> dict[str, str]:
    """The child finds the same `lossc`, wherever it was imported from, and hashes alike in every run."""
    import lossc

    home = str(Path(lossc.__file__).parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    paths = [home, *([inherited] if inherited else [])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "0"}


WORKER = Worker()
"""The one worker of this process."""
atexit.register(WORKER.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=WORKER.after_fork)


# -- the far end -----------------------------------------------------------------------------------------------------


class _Slow(Exception):
    """A method used up its soft limit."""


def methods(sympy: Any, symbols: list[Any]) -> dict[str, Callable[[Any], Any]]:
    """SymPy's methods in the order in which they are asked: quick and tame ones first.

    Nothing with `force` (it assumes what is not so) and no `nsimplify` (it guesses constants).
    """
    collect = {f"collect {s}": (lambda e, s=s: sympy.collect(sympy.expand(e), s)) for s in symbols}
    return {
        "evaluate": lambda e: e.doit(),
        "factor_terms": sympy.factor_terms,
        "powsimp": sympy.powsimp,
        "together": lambda e: sympy.together(e, deep=True),
        "factor": lambda e: sympy.factor(e, deep=True),
        "cancel": sympy.cancel,
        "expand": sympy.expand,
        **collect,
        "radsimp": sympy.radsimp,
        "logcombine": sympy.logcombine,
        "expand_log": sympy.expand_log,
        "trigsimp": sympy.trigsimp,
        "sqrtdenest": sympy.sqrtdenest,
        "simplify": sympy.simplify,
        "simplify_expanded": lambda e: sympy.simplify(sympy.expand(e)),
    }


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
    import queue

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
    for name, method in methods(sympy, symbols).items():
        _say({"method": name, **_propose(loss, bridge, method, start, seconds * METHOD_SHARE)})
    _say({"done": True})


def _propose(loss: Loss, bridge: Any, method: Callable[[Any], Any], start: Any, seconds: float) -> dict[str, Any]:
    """One method's proposal as an answer. Whatever goes wrong inside SymPy is a reason, not a crash."""

    def stop(*_: object) -> None:
        raise _Slow

    signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        return {"loss": _mapping(loss, bridge.from_sympy(method(start)))}
    except _Slow:
        return {"problem": f"took more than {seconds:.1f} s"}
    except MemoryError:
        return {"problem": "needs too much memory"}
    except RecursionError:
        return {"problem": "goes too deep for SymPy"}
    except Exception as problem:
        text = " ".join(str(problem).split())[:120]
        return {"problem": text if type(problem).__name__ == "BridgeRefusal" else f"{type(problem).__name__}: {text}"}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
