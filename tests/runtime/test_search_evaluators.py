"""The engines of a search keep one contract, whatever happens to their workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from lossc.compiler.errors import UsageError
from lossc.runtime.search.evaluators import Dask, Evaluator, Processes, Serial, make_evaluator
from lossc.runtime.search.evaluators import dask as dask_engine
from lossc.runtime.search.evaluators.base import build
from lossc.runtime.search.evaluators.remote import work
from tests.runtime.evaluator_jobs import spec

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0
"""Seconds after which a test has failed: far more than anything here takes."""
LIMITS: dict[str, Any] = {"deadline": 2.0, "memory": 0.25}


def until(done: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """What `done` says, as soon as it is true."""
    end = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)
    return found


def outcomes(engine: Evaluator, jobs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """All outcomes, in the order in which they came."""
    for key, job in jobs.items():
        engine.submit(key, job)
    return rest(engine, len(jobs))


def rest(engine: Evaluator, count: int) -> dict[str, dict[str, Any]]:
    """So many outcomes that are still to come."""
    found: dict[str, dict[str, Any]] = {}
    end = time.monotonic() + PATIENCE
    while len(found) < count:
        assert time.monotonic() < end, f"{len(found)} of {count} came back"
        for key, outcome in engine.completed():
            assert key not in found
            found[key] = outcome
    return found


def pids(note: Path) -> list[int]:
    """The processes in which a job was begun, one an attempt."""
    return [int(line) for line in note.read_text().split()] if note.exists() else []


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture(scope="module")
def cluster() -> Iterator[Dask]:
    """A Dask cluster of two workers on this machine."""
    with Dask(spec(told="it"), workers=2) as here:
        yield here


@pytest.fixture(scope="module", params=["serial", "processes", "dask"])
def engine(request: pytest.FixtureRequest) -> Iterator[Evaluator]:
    """An engine of each kind, with two workers, shared by the tests that do not limit it."""
    if request.param == "serial":
        yield Serial(build(spec(told="it")))
    elif request.param == "processes":
        with Processes(spec(told="it"), 2) as here:
            yield here
    else:
        yield request.getfixturevalue("cluster")


def connected(cluster: Dask, made: dict[str, Any], **limits: Any) -> Dask:
    """Another engine on the same cluster, as a user connects to one by its address."""
    return Dask(made, address=cluster.cluster.scheduler_address, **limits)


@pytest.fixture(scope="module", params=["processes", "dask"])
def limited(request: pytest.FixtureRequest) -> Iterator[Evaluator]:
    """An engine with a deadline of two seconds and a limit of a quarter GiB."""
    if request.param == "processes":
        with Processes(spec(), 2, **LIMITS) as here:
            yield here
    else:
        with connected(request.getfixturevalue("cluster"), spec(), **LIMITS) as here:
            yield here


@pytest.fixture(params=["processes", "dask"])
def starting(request: pytest.FixtureRequest) -> Callable[..., Evaluator]:
    """Starts an engine of each kind."""
    if request.param == "processes":
        return lambda made, **limits: Processes(made, 1, **limits)
    here = request.getfixturevalue("cluster")
    return lambda made, **limits: connected(here, made, **limits)


@pytest.mark.parametrize("stage", ["filter", "train"])
def test_every_key_gets_its_outcome(engine: Evaluator, stage: str) -> None:
    """Each of 60 jobs comes back once, under its key, with what its own job had and what the spec had."""
    found = outcomes(engine, {f"{stage}-{i}": {"stage": stage, "value": [i, 0.1 * i, None, "ü"]} for i in range(60)})

    for i in range(60):
        outcome = found[f"{stage}-{i}"]
        assert outcome["value"] == [i, 0.1 * i, None, "ü"]
        assert (outcome["status"], outcome["told"]) == ("ok", "it")
    assert engine.running == 0 and list(engine.completed()) == []


def test_numbers_come_back_as_they_were(engine: Evaluator) -> None:
    """Floats keep every bit, infinities and NaN included."""
    values = [0.1 + 0.2, 5e-324, 1.7976931348623157e308, float("inf"), -0.0]

    (found,) = outcomes(engine, {"a": {"value": [*values, float("nan")]}}).values()

    assert [v.hex() for v in found["value"][:-1]] == [v.hex() for v in values]
    assert found["value"][-1] != found["value"][-1]


def test_outcomes_come_in_any_order(engine: Evaluator) -> None:
    """With two workers a short job overtakes a long one; all come back."""
    jobs = {str(i): {"do": "sleep", "seconds": s} for i, s in enumerate([0.5, 0.01, 0.2, 0.02, 0.1, 0.01])}

    found = outcomes(engine, jobs)

    assert set(found) == set(jobs)
    assert (list(found) == list(jobs)) == isinstance(engine, Serial)


def test_what_a_job_prints_and_reads_disturbs_nothing(engine: Evaluator, capfd: pytest.CaptureFixture[str]) -> None:
    """Lines that look like outcomes, on every way to standard output, are not taken for outcomes."""
    if isinstance(engine, Serial):
        pytest.skip("in this process there is no protocol to disturb")
    jobs = {str(i): {"do": "talk" if i % 2 else "answer", "value": i} for i in range(6)}

    found = outcomes(engine, jobs)

    assert {k: o["value"] for k, o in found.items()} == {k: j["value"] for k, j in jobs.items()}
    assert capfd.readouterr().out == ""


def test_what_a_job_raises_is_its_outcome(engine: Evaluator) -> None:
    """An exception is a failure of the job that every engine reports alike; the worker lives on."""
    (found,) = outcomes(engine, {"a": {"do": "raise"}}).values()

    assert found.pop("seconds") >= 0
    assert found == {"status": "failed", "why": "KeyError: 'no such\\n thing \\ud800'"}


def test_waiting_ends_after_a_second(engine: Evaluator) -> None:
    """`completed` gives the caller a turn about once a second, and says meanwhile what runs."""
    if isinstance(engine, Serial):
        pytest.skip("the caller does the work")
    engine.submit("a", {"do": "sleep", "seconds": 2.4})
    began = time.monotonic()

    assert list(engine.completed()) == []
    assert 0.5 < time.monotonic() - began < 2.2
    assert engine.running == 1 and engine.capacity == 2
    assert set(rest(engine, 1)) == {"a"}


def test_a_killed_worker_is_replaced(limited: Evaluator, tmp_path: Path) -> None:
    """SIGKILL in the middle of a job: it is done again by another process, and so are the jobs after it."""
    note = tmp_path / "note"
    limited.submit("a", {"do": "sleep", "seconds": 0.7, "note": str(note), "value": 1})
    until(lambda: pids(note))

    os.kill(pids(note)[0], signal.SIGKILL)
    found = rest(limited, 1)["a"]

    assert found["value"] == 1 and found["pid"] == pids(note)[1] != pids(note)[0]
    assert len(outcomes(limited, {str(i): {"do": "sleep", "seconds": 0.2} for i in range(6)})) == 6


def test_limits_end_jobs_and_not_the_search(limited: Evaluator, tmp_path: Path) -> None:
    """Death three times, too late twice, too large once: each is an outcome with its reason; other jobs are done."""
    jobs: dict[str, dict[str, Any]] = {
        "poison": {"do": "die"},
        "hang": {"do": "sleep", "seconds": 100},
        "once": {"do": "slow once", "seconds": 100, "value": 1},
        "hog": {"do": "hog", "gib": 0.3, "seconds": 100},
        "good": {"do": "answer", "value": 2},
    }
    for key, job in jobs.items():
        job["note"] = str(tmp_path / key)

    found = outcomes(limited, jobs)

    attempts = {k: len(pids(tmp_path / k)) for k in jobs}
    assert attempts == {"poison": 3, "hang": 2, "once": 2, "hog": 1, "good": 0}
    assert found["once"]["value"] == 1 and found["good"]["value"] == 2
    for key, why in (
        ("poison", "its worker died 3 times"),
        ("hang", "no outcome in 2 s"),
        ("hog", "needed more than 0.25 GiB"),
    ):
        seconds = found[key].pop("seconds")
        assert found[key] == {"status": "failed", "why": why, "infrastructure": True}
        assert (seconds >= 4.0) if key == "hang" else (0.0 <= seconds < 2.5)
    assert all(gone(p) for k in jobs for p in pids(tmp_path / k) if k != "once")


def test_a_dead_worker_is_noticed_behind_its_own_children(tmp_path: Path) -> None:
    """A process that the job forked holds the pipes of a dead worker open; the job is done again."""
    note = tmp_path / "note"
    with Processes(spec(), 1) as here:
        found = outcomes(here, {"a": {"do": "fork and die", "note": str(note), "value": 1}})["a"]

    first, fork, second = pids(note)
    os.kill(fork, signal.SIGKILL)
    assert found["value"] == 1 and found["pid"] == second != first


def test_memory_that_a_job_leaves_is_not_held_against_the_next(limited: Evaluator) -> None:
    """After a job that leaves half of its allowance behind, the next one meets a new process."""
    found = [outcomes(limited, {"a": {"do": "keep", "gib": 0.15}})["a"] for _ in range(4)]

    assert [o["status"] for o in found] == ["ok"] * 4
    assert len({o["pid"] for o in found}) == 4


def test_a_complaint_of_make_is_raised(starting: Callable[..., Evaluator]) -> None:
    """What lossc says against the spec in a worker is raised here, once, with its code, expectation and hint."""
    with starting(spec("make_complaint")) as here:
        for key in "abc":
            here.submit(key, {})
        with pytest.raises(UsageError) as caught:
            rest(here, 1)

        assert caught.value.diagnostic.as_json() == {
            "severity": "error", "code": "L226", "message": "the files of `adult` are not there",
            "expected": "adult.data", "hint": "get them",
        }  # fmt: skip
        for _ in range(3):
            assert list(here.completed()) == []
        with pytest.raises(UsageError, match="`adult`"):
            here.submit("d", {})


@pytest.mark.parametrize(
    ("make", "said"),
    [("make_bug", "ZeroDivisionError: by nothing"), ("make_death", "these are my last words"), ("nosuch", "nosuch")],
)
def test_a_worker_that_cannot_start_says_why(starting: Callable[..., Evaluator], make: str, said: str) -> None:
    """A mistake in `make`, a process that ends in it, a function that is not there: L259 with the worker's words."""
    with starting(spec(make)) as here:
        here.submit("a", {})
        with pytest.raises(UsageError, match=said) as caught:
            rest(here, 1)

    assert caught.value.diagnostic.code == "L259"


def test_a_limit_below_the_needs_of_a_worker_is_said() -> None:
    """A worker that is too large before its first job is an error of the call, not an outcome of every job."""
    with Processes(spec("make_hog", gib=0.3), 1, memory=0.2) as here:
        here.submit("a", {})
        with pytest.raises(UsageError, match=r"more than 0\.2 GiB before its first job"):
            rest(here, 1)


def test_closing_in_the_middle_leaves_no_process(starting: Callable[..., Evaluator], tmp_path: Path) -> None:
    """`close` ends the job that is under way, at once, and twice is as good as once."""
    note = tmp_path / "note"
    here = starting(spec())
    here.submit("a", {"do": "hold", "seconds": 100, "note": str(note)})
    here.submit("b", {"do": "sleep", "seconds": 100, "note": str(note)})
    until(lambda: pids(note))
    began = time.monotonic()

    here.close()
    here.close()

    assert time.monotonic() - began < 5
    until(lambda: all(gone(p) for p in pids(note)), 5)
    assert list(here.completed()) == []


@pytest.fixture
def drive() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts drivers, each in a session of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.runtime.evaluator_driver", *arguments]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        started.append(subprocess.Popen(command, cwd=ROOT, text=True, start_new_session=True, **pipes))
        return started[-1]

    yield start
    for driver in started:
        driver.kill()
        driver.wait()
        assert driver.stdout is not None
        driver.stdout.close()


@pytest.mark.parametrize("name", ["processes", "dask"])
@pytest.mark.parametrize("do", ["sleep", "hold"])
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a job that holds the interpreter lock goes on")
def test_workers_end_with_their_parent(
    drive: Callable[..., subprocess.Popen[str]], name: str, do: str, tmp_path: Path
) -> None:
    """SIGKILL of the driver in the middle of jobs: within seconds none of its processes is left."""
    note = tmp_path / "note"
    driver = drive(name, str(note), do, "100")
    until(lambda: len(pids(note)) == 2)
    family = psutil.Process(driver.pid).children(recursive=True)
    assert {p.pid for p in family} >= set(pids(note))

    driver.kill()

    until(lambda: all(gone(p.pid) for p in family), 5)


@pytest.mark.parametrize("name", ["processes", "dask"])
def test_an_interrupt_is_the_drivers_business(
    drive: Callable[..., subprocess.Popen[str]], name: str, tmp_path: Path
) -> None:
    """Ctrl-C goes to all processes of a terminal; the jobs are finished all the same, at the first attempt."""
    note = tmp_path / "note"
    driver = drive(name, str(note), "sleep", "1")
    until(lambda: len(pids(note)) == 2)

    os.killpg(driver.pid, signal.SIGINT)
    out, _ = driver.communicate(timeout=PATIENCE)

    assert {k: o["status"] for k, o in json.loads(out).items()} == {"a": "ok", "b": "ok"}
    assert len(pids(note)) == 2


def test_a_worker_settles_for_torch() -> None:
    """Unless the spec says that it needs no torch: one thread, in torch and in the environment."""
    with Processes({**spec("make_threads"), "torch": True}, 1) as here:
        found = outcomes(here, {"a": {}})["a"]

    wanted = {"torch": 1, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    assert found == {**found, **wanted}


def test_a_worker_finds_modules_where_its_parent_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that only the parent's import path leads to."""
    (tmp_path / "only_here.py").write_text("def make(settings):\n    return lambda job: {'status': settings['x']}\n")
    monkeypatch.syspath_prepend(tmp_path)

    with Processes({"make": "only_here:make", "with": {"x": 7}, "torch": False}, 1) as here:
        assert outcomes(here, {"a": {}}) == {"a": {"status": 7}}


def test_late_and_lost_workers_of_a_cluster(tmp_path: Path) -> None:
    """A Dask worker that joins later gets jobs that waited before; one that leaves or is killed loses none."""
    note = tmp_path / "note"
    with Dask(spec(), workers=1) as here:
        assert here.capacity == 1
        for i in range(12):
            here.submit(str(i), {"do": "sleep", "seconds": 0.25, "note": str(note)})
        here.cluster.scale(2)
        found = rest(here, 12)
        assert len({o["pid"] for o in found.values()}) == 2
        assert here.capacity == 2

        for i in range(6):
            here.submit(str(i), {"do": "sleep", "seconds": 0.25})
        here.cluster.scale(1)
        assert {o["status"] for o in rest(here, 6).values()} == {"ok"}
        until(lambda: here.capacity == 1)

        note.unlink()
        here.submit("again", {"do": "sleep", "seconds": 1.0, "note": str(note)})
        child = until(lambda: pids(note))[0]
        psutil.Process(child).parent().kill()
        assert rest(here, 1)["again"]["pid"] == pids(note)[1] != child
        until(lambda: gone(child), 5)


def test_cheap_jobs_of_a_cluster_go_together(cluster: Dask, monkeypatch: pytest.MonkeyPatch) -> None:
    """40 filter jobs are sent in a few tasks, 40 others in 40; a few cheap ones are still spread over the workers."""
    sent: list[int] = []
    real = cluster._send
    monkeypatch.setattr(cluster, "_send", lambda jobs: (sent.append(len(jobs)), real(jobs)))

    for stage, count in (("filter", 40), ("train", 40), ("filter", 4)):
        sent.clear()
        for i in range(count):
            cluster._waiting.append((str(i), {"stage": stage}))
        assert len(rest(cluster, count)) == count
        assert sum(sent) == count
        assert len(sent) < 12 if count == 40 and stage == "filter" else len(sent) == count


def test_a_job_whose_dask_workers_die_is_given_up(cluster: Dask) -> None:
    """Whatever Dask gives up, since its workers died of it, is sent again, alone, and fails at the third time."""
    from distributed.scheduler import KilledWorker

    died = KilledWorker.__new__(KilledWorker)
    jobs: dict[str, Any] = {key: {"stage": "filter", "value": key} for key in "ab"}

    assert cluster._outcomes(dask_engine._Sent(jobs), died) == []
    assert [cluster._chunk(8) for _ in jobs] == [{"b": jobs["b"]}, {"a": jobs["a"]}]
    assert cluster._outcomes(dask_engine._Sent({"a": jobs["a"]}), died) == []
    assert outcomes(cluster, {}) == {} and rest(cluster, 1)["a"]["value"] == "a"
    ((key, outcome),) = cluster._outcomes(dask_engine._Sent({"a": jobs["a"]}), died)
    assert (key, outcome["why"], outcome["infrastructure"]) == ("a", "its worker died 3 times", True)


def test_jobs_that_a_leaving_worker_gives_back_are_sent_again(cluster: Dask) -> None:
    """A task that comes back without some of its outcomes: those jobs wait again, in their order."""
    jobs: dict[str, Any] = {key: {"stage": "filter", "value": key} for key in "abc"}
    told = json.dumps({"outcomes": {"b": {"status": "ok"}}})

    assert cluster._outcomes(dask_engine._Sent(jobs), told) == [("b", {"status": "ok"})]
    assert [key for key, _ in cluster._waiting] == ["a", "c"]
    assert {k: o["value"] for k, o in rest(cluster, 2).items()} == {"a": "a", "c": "c"}


def test_workers_that_cannot_run_jobs_are_said(cluster: Dask, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a Dask worker raises of itself, say without lossc, is L259 here."""
    monkeypatch.setattr(dask_engine, "work", os.getpgid)

    with connected(cluster, spec()) as here, pytest.raises(UsageError, match="same version") as caught:
        outcomes(here, {"a": {}, "b": {}})
    assert caught.value.diagnostic.code == "L259" and "TypeError" in caught.value.diagnostic.message


@pytest.mark.parametrize("ends", [signal.SIGKILL, signal.SIGTERM])
def test_a_scheduler_that_ends_is_said(ends: signal.Signals, tmp_path: Path) -> None:
    """Scheduler and worker are started by hand; without the scheduler the search is told how to go on."""
    file, note = tmp_path / "scheduler.json", tmp_path / "note"
    dask = [sys.executable, "-m", "dask"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": ROOT}
    listen = ["--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0"]
    scheduler = subprocess.Popen([*dask, "scheduler", *listen, "--scheduler-file", str(file)], **quiet)
    worker = subprocess.Popen(
        [*dask, "worker", "--scheduler-file", str(file), "--nthreads", "2", "--death-timeout", "30"], **quiet
    )
    try:
        until(file.exists)
        with Dask(spec(), address=json.loads(until(file.read_text))["address"]) as here:
            assert len(outcomes(here, {str(i): {"do": "sleep", "seconds": 0.1} for i in range(8)})) == 8
            until(lambda: here.capacity == 2)
            for i in range(2):
                here.submit(str(i), {"do": "sleep", "seconds": 60, "note": str(note)})
            until(lambda: len(pids(note)) == 2)
            scheduler.send_signal(ends)
            with pytest.raises(UsageError, match="lossc resume FOLDER") as caught:
                rest(here, 1)
            assert caught.value.diagnostic.code == "L259"
        until(lambda: all(gone(p) for p in pids(note)), 15)
    finally:
        for process in (worker, scheduler):
            process.terminate()
            process.wait(20)


def test_an_address_where_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """L259, after less than ten seconds, whatever is wrong with the address."""
    assert dask_engine.CONNECT < 10
    monkeypatch.setattr(dask_engine, "CONNECT", 0.5)

    for address in ("tcp://127.0.0.1:9", "nosuch://127.0.0.1:9", "tcp://", "tcp://host.invalid:8786", "127.0.0.1:x"):
        with pytest.raises(UsageError) as caught:
            Dask(spec(), address=address)
        assert caught.value.diagnostic.code == "L259" and address in str(caught.value)


def test_workers_of_another_version_are_refused() -> None:
    """A worker with another lossc might find other outcomes."""
    told = json.loads(work("{}", json.dumps({"version": "0.0.0", "jobs": {"a": {}}})))

    assert told["error"]["code"] == "L259" and "0.0.0" in told["error"]["message"]


def test_dask_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package: L258, and the command that installs it."""
    monkeypatch.setitem(sys.modules, "distributed", None)

    with pytest.raises(UsageError, match=r"pip install 'lossc\[dask\]'") as caught:
        make_evaluator("dask", spec(), workers=1)
    assert caught.value.diagnostic.code == "L258"


def test_engines_by_name() -> None:
    """serial and processes are made by name; other names, no workers and an address too many are L255."""
    for name, kind in (("serial", Serial), ("processes", Processes)):
        with make_evaluator(name, spec(told=1), workers=1) as here:
            assert isinstance(here, kind)
            assert outcomes(here, {"a": {"value": 3}})["a"]["value"] == 3
    for arguments in ({"engine": "ray"}, {"engine": "serial", "workers": 0}, {"engine": "processes", "address": "x"}):
        with pytest.raises(UsageError) as caught:
            make_evaluator(**{"workers": 1, **arguments}, spec=spec())  # type: ignore[arg-type]
        assert caught.value.diagnostic.code == "L255"
    with pytest.raises(UsageError, match="serial, processes, dask"):
        make_evaluator("ray", spec(), workers=1)


def test_the_package_is_light() -> None:
    """Importing the engines loads neither torch nor Dask: every worker does it."""
    code = (
        "import sys, lossc.runtime.search.evaluators.worker\nprint(*{'torch', 'distributed', 'dask'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)

    assert done.stdout.strip() == ""
