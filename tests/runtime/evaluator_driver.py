"""A program with an engine and jobs that take long, for the tests to end: `python -m ... ENGINE NOTE DO SECONDS`."""

from __future__ import annotations

import json
import signal
import sys

from lossc.runtime.search.evaluators import make_evaluator
from tests.runtime.evaluator_jobs import spec


def main() -> None:
    """Two jobs at once; their outcomes are printed."""
    engine, note, do, seconds = sys.argv[1:]
    signal.signal(signal.SIGINT, lambda *_: None)
    with make_evaluator(engine, spec(), workers=2) as here:
        for key in "ab":
            here.submit(key, {"do": do, "seconds": float(seconds), "note": note})
        found: dict[str, object] = {}
        while len(found) < 2:
            found.update(here.completed())
    print(json.dumps(found))


if __name__ == "__main__":
    main()
