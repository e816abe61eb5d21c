"""Searches in folders: whatever happens to the process, the disk or the journal, nothing that was written is lost."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from lossc.compiler.errors import UsageError
from lossc.grammar import parse_file
from lossc.runtime import runs
from lossc.runtime.compiled import load_file
from lossc.runtime.search import journal as journals
from lossc.runtime.search import report
from lossc.runtime.search.callbacks import Callback
from lossc.runtime.search.folder import FAME, FRONT, INDEX, read_run
from lossc.runtime.search.found import front
from lossc.runtime.search.journal import JOURNAL, Journal, read_journal
from lossc.runtime.search.loop import Search
from lossc.runtime.search.session import SearchResult, Where, resume_search, search
from lossc.runtime.search.strategies import Individual
from tests.cli.support import environment
from tests.runtime.test_search import SMALL, SPEC, digest_of


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    """A search to its end, in a folder that no test changes."""
    return search(SPEC, run=tmp_path_factory.mktemp("runs") / "a", **SMALL)


@pytest.fixture
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """No report is drawn (tests/runtime/test_search_report.py does): it takes longer than what is tested here."""
    monkeypatch.setattr(report, "render_report", lambda run: "a page")


def copied(done: SearchResult, to: Path, keep: int | None = None) -> tuple[Path, list[bytes]]:
    """The folder of the search as it was when its journal had so many lines; all lines."""
    assert done.run is not None
    to.mkdir()
    shutil.copy(done.run / runs.CONFIG, to)
    lines = (done.run / JOURNAL).read_bytes().splitlines(keepends=True)
    (to / JOURNAL).write_bytes(b"".join(lines[:keep]))
    return to, lines


@pytest.mark.usefixtures("no_page")
@pytest.mark.parametrize("kept", [0, 1, 20, 60, -1])
def test_a_search_that_was_cut_off_ends_as_if_not(done: SearchResult, tmp_path: Path, kept: int) -> None:
    """After any number of lines, in the middle of one, also in the end game: the same losses, the same table."""
    folder, lines = copied(done, tmp_path / "b", kept)
    with (folder / JOURNAL).open("ab") as file:
        file.write(lines[kept][:-7])

    assert digest_of(resume_search(folder)) == digest_of(done)
    assert sorted((folder / JOURNAL).read_bytes().splitlines()) != []
    again = read_run(folder)
    assert again.over and again.search.committed == done.committed


def test_resuming_what_is_over_computes_nothing(done: SearchResult, tmp_path: Path) -> None:
    """The tables are written anew, and the journal stays as it is."""
    folder, _ = copied(done, tmp_path / "b")
    before = (folder / JOURNAL).read_bytes()

    assert digest_of(resume_search(folder)) == digest_of(done)
    assert (folder / JOURNAL).read_bytes() == before
    assert (folder / FAME).read_bytes() == (done.run or folder).joinpath(FAME).read_bytes()


def test_reading_a_run_replays_it(done: SearchResult, tmp_path: Path) -> None:
    """As far as its journal goes, computing and writing nothing."""
    assert done.run is not None
    whole = read_run(done.run)
    part = read_run(copied(done, tmp_path / "b", 30)[0])

    assert digest_of(replace(done, search=whole.search, control=whole.control, finals=whole.finals)) == digest_of(done)
    assert not part.over and 0 < part.search.committed < done.committed
    ours = [(i.ticket, i.value, i.parents) for i in part.search.population]
    assert ours == [(i.ticket, i.value, i.parents) for i in done.search.population[: len(ours)]]
    assert sorted(p.name for p in part.path.iterdir()) == sorted([runs.CONFIG, JOURNAL])


class Killer(Callback):
    """Kills a worker with SIGKILL once, in the middle of the search."""

    def __init__(self) -> None:
        self.killed = 0

    def on_commit(self, search: Search, individual: Individual) -> None:
        if search.committed >= 8 and not self.killed:
            ours = psutil.Process().children(recursive=True)
            workers = [p.pid for p in ours if "lossc.runtime.search.evaluators.worker" in p.cmdline()]
            self.killed = min(workers)
            os.kill(self.killed, signal.SIGKILL)


@pytest.mark.usefixtures("no_page")
@pytest.mark.parametrize("engine", ["processes", "dask"])
def test_engines_with_a_killed_worker_change_nothing(done: SearchResult, engine: str) -> None:
    """The same population, archive, finalists and table as in one process."""
    if engine == "dask":
        pytest.importorskip("distributed")
    killer = Killer()
    found = search(SPEC, where=Where(engine, 2), callbacks=[killer], **SMALL)

    assert killer.killed and digest_of(found) == digest_of(done)


@pytest.mark.usefixtures("no_page")
def test_kill_9_of_the_driver_three_times(done: SearchResult, tmp_path: Path) -> None:
    """Killed at three moments and resumed, with other numbers of workers: the same search in the end."""
    folder, _ = copied(done, tmp_path / "b", 0)
    command = [sys.executable, "-m", "lossc.cli.main", "resume", str(folder), "--quiet"]
    for lines, workers in ((4, "1"), (25, "2"), (70, "1")):
        child = subprocess.Popen([*command, "--workers", workers], env=environment(), cwd=tmp_path)
        deadline = time.monotonic() + 120
        while child.poll() is None and _lines(folder) < lines and time.monotonic() < deadline:
            time.sleep(0.01)
        child.kill()
        child.wait()
        assert lines <= _lines(folder)

    assert digest_of(resume_search(folder)) == digest_of(done)


def _lines(folder: Path) -> int:
    file = folder / JOURNAL
    return file.read_bytes().count(b"\n") if file.exists() else 0


def test_a_damaged_journal_is_an_error_and_stays(done: SearchResult, tmp_path: Path) -> None:
    """A line in the middle that cannot be read: its number is said, and nothing is changed."""
    folder, lines = copied(done, tmp_path / "b")
    for bad in (b'{"is": "birth"}\n', b"\x00\xff\n", b"[]\n", b"{\n", *map(_outcome, _WRONG), *map(_birth, _STRANGE)):
        data = b"".join([*lines[:10], bad, *lines[11:]])
        (folder / JOURNAL).write_bytes(data)
        for reader in (resume_search, read_run):
            with pytest.raises(UsageError) as caught:
                reader(folder)
            assert caught.value.diagnostic.code == "L256" and "line 11" in str(caught.value)
        assert (folder / JOURNAL).read_bytes() == data


_WRONG: list[dict[str, object]] = [
    {"phi": "abc"}, {"phi": None}, {"phi": [None]}, {"fitness": "abc"}, {"fitness": 10**400}, {"fitness": float("nan")},
    {"values": None}, {"status": None},
]  # fmt: skip
_STRANGE: list[dict[str, object]] = [{"parents": [999]}, {"parents": "ab"}, {"ticket": "x"}, {"key": 1}, {"loss": []}]


def _outcome(change: dict[str, object]) -> bytes:
    good = {"status": "ok", "why": "", "phi": [1.0], "values": [1.0], "fitness": 1.0, **change}
    line = {"is": "outcome", "of": "search", "ticket": 1, "stage": "train", "outcome": good}
    return json.dumps(line).encode() + b"\n"


def _birth(change: dict[str, object]) -> bytes:
    line = {"is": "birth", "of": "search", "ticket": 3, "key": "k", "operator": "random", "parents": [], "size": 1}
    return json.dumps({**line, "loss": {}, **change}).encode() + b"\n"


def test_a_lost_byte_is_no_torn_tail(done: SearchResult, tmp_path: Path) -> None:
    """A carriage return in the middle of a line ends none: what comes after it is not thrown away."""
    folder, _ = copied(done, tmp_path / "b")
    data = bytearray((folder / JOURNAL).read_bytes())
    data[data.index(b"operator")] = 13
    (folder / JOURNAL).write_bytes(data)
    with pytest.raises(UsageError) as caught:
        resume_search(folder)
    assert caught.value.diagnostic.code == "L256" and (folder / JOURNAL).read_bytes() == data


def test_one_process_at_a_time(done: SearchResult, tmp_path: Path) -> None:
    """A second one is refused, and `lossc runs` can tell."""
    folder, _ = copied(done, tmp_path / "b", 20)
    about = json.loads((folder / runs.CONFIG).read_text())["config"]
    with runs.RunFolder(folder, about, resume=True, lines=False):
        assert runs.is_locked(folder)
        with pytest.raises(UsageError) as caught:
            resume_search(folder)
    assert caught.value.diagnostic.code == "L257" and not runs.is_locked(folder)


@pytest.mark.usefixtures("no_page")
def test_other_versions_are_refused_unless_allowed(done: SearchResult, tmp_path: Path) -> None:
    """What has changed is said; with leave to go on it is in the journal, and need not be given again."""
    folder, _ = copied(done, tmp_path / "b", 20)
    record = json.loads((folder / runs.CONFIG).read_text())
    record["environment"]["torch"] = "1.8.0"
    (folder / runs.CONFIG).write_text(json.dumps(record))

    with pytest.raises(UsageError) as caught:
        resume_search(folder)
    assert caught.value.diagnostic.code == "L272" and "torch 1.8.0 -> " in str(caught.value)
    assert resume_search(folder, allow_changes=True).committed == done.committed
    assert read_journal(folder).environments[0]["changed"]["torch"][0] == "1.8.0"
    assert resume_search(folder).committed == done.committed


def test_other_settings_are_refused(done: SearchResult, tmp_path: Path) -> None:
    """A folder is gone on with by what it was begun with; one of another kind, or empty, is none."""
    folder, _ = copied(done, tmp_path / "b", 20)
    with pytest.raises(UsageError) as caught:
        search(SPEC, run=folder, resume=True, **{**SMALL, "seed": 3})
    assert caught.value.diagnostic.code == "L256"
    with pytest.raises(UsageError) as caught:
        search(SPEC, run=folder, **SMALL)
    assert caught.value.diagnostic.code == "L234"
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / runs.CONFIG).write_text('{"config": {"kind": "optimize"}}')
    for other in (tmp_path / "o", tmp_path / "nowhere"):
        with pytest.raises(UsageError) as caught:
            resume_search(other)
        assert caught.value.diagnostic.code == "L256"


@pytest.mark.usefixtures("no_page")
def test_a_full_disk_and_a_vanished_folder_are_said(
    done: SearchResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the journal and how to go on; what was written is there."""
    folder, _ = copied(done, tmp_path / "b", 20)
    before = (folder / JOURNAL).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(journals.os, "fsync", _full)
        with pytest.raises(UsageError) as caught:
            resume_search(folder)
    assert caught.value.diagnostic.code == "L233" and "no space" in str(caught.value)
    assert (folder / JOURNAL).read_bytes().startswith(before)
    assert digest_of(resume_search(folder)) == digest_of(done)

    class Vanish(Callback):
        def on_commit(self, search: Search, individual: Individual) -> None:
            shutil.rmtree(folder, ignore_errors=True)

    shutil.rmtree(folder)
    copied(done, folder, 20)
    with pytest.raises(UsageError) as caught:
        resume_search(folder, callbacks=[Vanish()])
    assert caught.value.diagnostic.code == "L233"


def _full(number: int) -> None:
    raise OSError(28, "No space left on device")


def test_tables_can_be_read_and_used(done: SearchResult) -> None:
    """front.csv is a front, hall_of_fame.json and best.loss hold losses, best.py stands alone, the index answers."""
    assert done.run is not None
    rows = (done.run / FRONT).read_text().splitlines()
    fame = json.loads((done.run / FAME).read_text())
    sizes = [len(i) for i in front(done.search)]
    assert rows[0].startswith("fitness,size") and len(rows) == 1 + len(sizes)
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == len(sizes)
    assert fame["committed"] == done.committed and fame["best"][0]["fitness"] == done.search.best[0].value
    log = list(csv.DictReader((done.run / "generations.csv").open()))
    assert [int(r["generation"]) for r in log] == [0, 1, 2]
    assert sum(int(r["bred"]) for r in log) == done.committed
    assert sum(int(r["trained"]) for r in log) == done.search.trainings
    assert float(log[-1]["best_so_far"]) == done.search.best[0].value
    (best,) = parse_file(done.run / "best.loss")
    assert best.body is done.best[0].loss.body and "diabetes" in best.doc
    assert load_file(str(done.run / "best.py"))() is not None
    base = sqlite3.connect(done.run / INDEX)
    counts = dict(base.execute("SELECT search, count(*) FROM losses GROUP BY search").fetchall())
    assert done.control is not None and counts == {"search": done.committed, "control": done.control.committed}
    ((value,),) = base.execute("SELECT min(fitness) FROM losses WHERE search = 'search'").fetchall()
    assert value == done.search.best[0].value


@pytest.mark.usefixtures("no_page")
def test_a_broken_index_is_made_anew(done: SearchResult, tmp_path: Path) -> None:
    """The journal is the truth."""
    folder, _ = copied(done, tmp_path / "b")
    (folder / INDEX).write_bytes(b"this is no data base" * 100)
    resume_search(folder)
    (count,) = sqlite3.connect(folder / INDEX).execute("SELECT count(*) FROM losses").fetchone()
    assert done.control is not None and count == done.committed + done.control.committed


def test_a_journal_cuts_off_its_torn_tail(tmp_path: Path) -> None:
    """What is appended begins on a line of its own."""
    line = {"is": "outcome", "of": "search", "ticket": 0, "stage": "filter",
            "outcome": {"status": "ok", "why": "", "signature": []}}  # fmt: skip
    (tmp_path / JOURNAL).write_text(json.dumps(line) + "\n" + '{"is": "outc')
    for _ in range(2):
        here = Journal(tmp_path, read_journal(tmp_path))
        here.add({**line, "ticket": 1})
        here.close()

    assert list(read_journal(tmp_path).outcomes["search"]) == [(0, "filter"), (1, "filter")]
    assert len((tmp_path / JOURNAL).read_text().splitlines()) == 3


def test_where_jobs_run() -> None:
    """Several workers mean processes, an address means Dask."""
    assert (Where().name, Where(workers=2).name, Where(address="tcp://a:1").name) == ("serial", "processes", "dask")
