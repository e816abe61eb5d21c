"""Jobs for the tests of the engines: functions that a worker can import, and that need no torch."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lossc.compiler.errors import UsageError
from lossc.runtime.search.evaluators import Job, Outcome, Run


def spec(make: str = "make", **settings: Any) -> dict[str, Any]:
    """A spec of one of the functions below."""
    return {"make": f"{__name__}:{make}", "with": settings, "torch": False}


def make(settings: Mapping[str, Any]) -> Run:
    """Jobs name what they do, and say what comes out."""

    def run(job: Job) -> Outcome:
        do = job.get("do", "answer")
        if do != "answer":
            _DEEDS[do](job)
        return {"status": "ok", "value": job.get("value"), "told": settings.get("told"), "pid": os.getpid()}

    return run


def _sleep(job: Job) -> None:
    _note(job)
    time.sleep(job["seconds"])


def _hold(job: Job) -> None:
    """Sleep without letting any other thread of the process run."""
    _note(job)
    ctypes.PyDLL(None).sleep(ctypes.c_uint(int(job["seconds"])))


def _die(job: Job) -> None:
    _note(job)
    os.kill(os.getpid(), signal.SIGKILL)


def _fork_and_die(job: Job) -> None:
    """At the first attempt, and leave a process behind."""
    first = not Path(job["note"]).exists()
    _note(job)
    if first and os.fork() == 0:
        _note(job)
        time.sleep(60)
        os._exit(0)
    if first:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)


def _slow_once(job: Job) -> None:
    """Too long, but at the first attempt only."""
    first = not Path(job["note"]).exists()
    _note(job)
    if first:
        time.sleep(job["seconds"])


def _hog(job: Job) -> None:
    _note(job)
    block = bytearray(int(job["gib"] * 2**30))
    block[::4096] = b"x" * len(block[::4096])
    time.sleep(job["seconds"])


def _keep(job: Job) -> None:
    """Leave memory behind."""
    _KEPT.append(bytearray(b"x") * int(job["gib"] * 2**30))


_KEPT: list[bytearray] = []


def _talk(job: Job) -> None:
    """Everything that would disturb a protocol on the standard streams."""
    print('{"status": "wrong"}', flush=True)
    sys.stdout.write("half a line")
    sys.stdout.flush()
    os.write(1, b'\n{"ready": true}\n')
    os.system("cat; echo from a shell")  # it reads to the end of standard input
    assert sys.stdin.read() == ""


def _raise(job: Job) -> None:
    raise KeyError("no such\n thing \ud800")


_DEEDS = {
    "sleep": _sleep, "hold": _hold, "die": _die, "slow once": _slow_once, "hog": _hog, "keep": _keep,
    "fork and die": _fork_and_die,
    "talk": _talk, "raise": _raise,
}  # fmt: skip


def _note(job: Job) -> None:
    """A line with the process id in the file that the job names."""
    if job.get("note"):
        with Path(job["note"]).open("a", encoding="utf-8") as file:
            file.write(f"{os.getpid()}\n")


def make_threads(settings: Mapping[str, Any]) -> Run:
    """Says how many threads there are."""
    import torch

    found = {"torch": torch.get_num_threads(), **{k: v for k, v in os.environ.items() if k.endswith("_NUM_THREADS")}}
    return lambda job: found


def make_complaint(settings: Mapping[str, Any]) -> Run:
    """Cannot be made, and says so as lossc does."""
    raise UsageError("L226", "the files of `adult` are not there", expected="adult.data", hint="get them")


def make_bug(settings: Mapping[str, Any]) -> Run:
    """Cannot be made, as of a mistake."""
    raise ZeroDivisionError("by nothing")


def make_death(settings: Mapping[str, Any]) -> Run:
    """Ends the process with a last word."""
    print("these are my last words", flush=True)
    os.abort()


def make_hog(settings: Mapping[str, Any]) -> Run:
    """Takes memory before its first job."""
    block = bytearray(int(settings["gib"] * 2**30))
    block[::4096] = b"x" * len(block[::4096])
    time.sleep(5)
    raise AssertionError("not stopped")
