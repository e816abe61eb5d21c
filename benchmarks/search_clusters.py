"""How busy a cluster is kept: the search's own loop against a simulated one, with task times of a real search.

Nothing is trained: an outcome is drawn from those that a journal has (by default, a quick search on Diabetes), with the
time that it took there, and comes back when a simulated worker has done it. What is measured is the share of the
workers' time that is worked, from the first job to the last, and how many losses a worker trains a second of it.

    python -m benchmarks.search_clusters                 # --journal runs/a for other times; --write for RESULTS.md
"""

from __future__ import annotations

import argparse
import heapq
import random
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.results import put_section
from lossc.runtime.data import derive
from lossc.runtime.search.candidate import OK
from lossc.runtime.search.config import SearchConfig, make_search_config
from lossc.runtime.search.drive import run_searches
from lossc.runtime.search.evaluators import Evaluator
from lossc.runtime.search.journal import SEARCH, read_journal
from lossc.runtime.search.loop import Search
from lossc.runtime.search.session import search

HAND_OVER = 0.004
"""Seconds that a worker waits between two jobs: the overhead of an engine, from above."""


@dataclass(frozen=True)
class Recorded:
    """Outcomes of a real search by stage, with their times."""

    stages: Mapping[str, list[dict[str, Any]]]

    @staticmethod
    def of(folder: Path) -> Recorded:
        """From a journal."""
        stages: dict[str, list[dict[str, Any]]] = {"filter": [], "train": []}
        for (_, stage), outcome in sorted(read_journal(folder).outcomes[SEARCH].items()):
            stages[stage].append(outcome)
        return Recorded(stages)

    def draw(self, key: str, stage: str) -> dict[str, Any]:
        """An outcome for a job: whether and how long as recorded, its gradient like no other."""
        rng = random.Random(derive(0, key))
        outcome = dict(rng.choice(self.stages[stage]))
        if stage == "filter" and outcome["status"] == OK:
            outcome["signature"] = [rng.gauss(0, 1) * 10.0 ** rng.randint(-6, 6) for _ in range(8)]
        if outcome.get("fitness") is not None:
            outcome["fitness"] += rng.random()
        return outcome


@dataclass(eq=False)
class Cluster(Evaluator):
    """Workers that only let time pass, and none of it really."""

    recorded: Recorded
    capacity: int
    now: float = 0.0
    worked: float = 0.0
    free: int = field(init=False)
    waiting: list[str] = field(default_factory=list)
    finishing: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.free = self.capacity

    @property
    def running(self) -> int:
        return len(self.finishing)

    def submit(self, key: str, job: Mapping[str, Any]) -> None:
        self.waiting.append(key)
        self._feed()

    def _feed(self) -> None:
        while self.free and self.waiting:
            key = self.waiting.pop(0)
            seconds = self._outcome(key)["seconds"]
            heapq.heappush(self.finishing, (self.now + HAND_OVER + seconds, key))
            self.worked += seconds
            self.free -= 1

    def _outcome(self, key: str) -> dict[str, Any]:
        return self.recorded.draw(key, key.rsplit("/", 1)[1])

    def completed(self) -> Iterator[tuple[str, dict[str, Any]]]:
        if self.finishing:
            self.now, key = heapq.heappop(self.finishing)
            self.free += 1
            self._feed()
            yield key, self._outcome(key)

    def close(self) -> None:
        self.waiting.clear()


def modes(workers: int, accepted: float) -> dict[str, dict[str, Any]]:
    """The schedules, sized for so many workers where they have a size."""
    lag = max(16, round(8 * workers / accepted))
    islands = max(2, -(-4 * workers // 25))
    return {
        "generations of 25": {"schedule": "generations"},
        "generations of 1,000": {"schedule": "generations", "population": 1000},
        f"steady state, lag {lag}": {"schedule": "steady", "window": lag},
        f"{islands} islands of 25": {"schedule": "islands", "islands": islands, "window": max(8, workers // 2)},
        f"aged, lag {lag}": {"method": "aged", "window": lag},
    }


def simulate(recorded: Recorded, config: SearchConfig, workers: int) -> tuple[float, float]:
    """The share of time worked, and trainings a second and worker."""
    cluster = Cluster(recorded, workers)
    state = Search(config, ("real", "real"))
    run_searches([state], cluster)
    unfinished = sum(max(0.0, done - cluster.now) for done, _ in cluster.finishing)
    return (cluster.worked - unfinished) / (workers * cluster.now), state.trainings / (workers * cluster.now)


def table(recorded: Recorded, sizes: list[int]) -> str:
    """A row a schedule, a column a size of cluster."""
    filters, trains = recorded.stages["filter"], recorded.stages["train"]
    accepted = sum(o["status"] == OK for o in filters) / len(filters)
    rows: dict[str, list[str]] = {}
    for workers in sizes:
        trainings = max(1250, 12 * workers)
        for name, changes in modes(workers, accepted).items():
            settings = {"population": 25, "generations": 1_000_000, "max_nodes": 20, "redraw": 5, **changes}
            config = make_search_config("quick", **settings, trainings=trainings, control=False, inherit=False)
            used, rate = simulate(recorded, config, workers)
            label = name if not name[:1].isdigit() and "lag" not in name else name.split(",")[0]
            label = "islands of 25" if "islands" in name else label
            rows.setdefault(label, []).append(f"{used:.0%} ({rate * workers:.0f}/s)")
            print(workers, name, f"{used:.1%}", flush=True)
    times = [statistics.quantiles([o["seconds"] for o in s], n=20) for s in (filters, trains)]
    head = [
        "Share of the workers' time that is worked (and trainings a second of the cluster). Task times of a quick "
        f"search on Diabetes: filter median {times[0][9]:.3f} s (95 %: {times[0][18]:.3f}), training median "
        f"{times[1][9]:.2f} s (95 %: {times[1][18]:.2f}); {accepted:.0%} of the losses are trained. 1,250 trainings, "
        "or 12 a worker.", "",
        "| schedule | " + " | ".join(f"{n} workers" for n in sizes) + " |", "|---" * (len(sizes) + 1) + "|",
    ]  # fmt: skip
    return "\n".join([*head, *(f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items())])


def main() -> None:
    """Record if need be, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--journal", type=Path, help="the folder of a search; by default one is run")
    parser.add_argument("--sizes", type=int, nargs="+", default=[8, 32, 256])
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    folder = args.journal or Path("out/clusters")
    if args.journal is None:
        search("diabetes", preset="quick", control=False, run=folder, resume=(folder / "config.json").exists())
    text = table(Recorded.of(folder), args.sizes)
    print(text)
    if args.write:
        command = "python -m benchmarks.search_clusters --write"
        put_section("search-clusters", "Search: simulated clusters", command, text)


if __name__ == "__main__":
    main()
