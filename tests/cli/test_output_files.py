"""Output files: written whole or not at all, never over another file, whatever happens on the way."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lossc.cli import output
from lossc.compiler.errors import UsageError
from tests.cli.support import environment


def leftovers(folder: Path) -> list[str]:
    """Temporary files that were not cleaned up."""
    return [p.name for p in folder.iterdir() if p.name.endswith(".tmp")]


def code_of(path: str, *, force: bool = False) -> str:
    """The code of the UsageError that writing to `path` raises."""
    with pytest.raises(UsageError) as caught:
        output.write(path, "text", force=force)
    return caught.value.diagnostic.code


def test_new_file_is_exact_utf8(tmp_path: Path) -> None:
    """What is written is what is read back, byte for byte, and nothing else stays in the folder."""
    target = tmp_path / "a.txt"
    output.write(str(target), "φ\r\n²\n")
    assert target.read_bytes() == "φ\r\n²\n".encode()
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    """A new file has the permissions that any program's file would have."""
    old = os.umask(umask)
    try:
        output.write(str(tmp_path / "a"), "x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


def test_existing_file_is_refused_and_kept(tmp_path: Path) -> None:
    """Without force an existing file stays as it is."""
    target = tmp_path / "a"
    target.write_text("mine")
    assert code_of(str(target)) == "L234"
    assert target.read_text() == "mine"
    assert not leftovers(tmp_path)


def test_force_replaces_and_keeps_permissions(tmp_path: Path) -> None:
    """With force the content is replaced in one step; a private file stays private."""
    target = tmp_path / "a"
    target.write_text("old")
    target.chmod(0o600)
    output.write(str(target), "new", force=True)
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_force_through_a_link_keeps_the_link(tmp_path: Path) -> None:
    """A symbolic link is followed: its target is replaced, the link stays a link."""
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    output.write(str(tmp_path / "link"), "new", force=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_dangling_link_gets_its_target(tmp_path: Path) -> None:
    """A link to nothing: the file that it points at is made."""
    (tmp_path / "link").symlink_to("real")
    output.write(str(tmp_path / "link"), "new")
    assert (tmp_path / "real").read_text() == "new"


def test_a_device_is_written_to_never_replaced() -> None:
    """`-o /dev/null --force` must not turn the device into a file."""
    output.write("/dev/null", "x", force=True)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    """A named pipe gets the text; it is not replaced by a file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    output.write(str(pipe), "text")
    reader.join(10)
    assert got == ["text"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "folder",
        "folder/",
        "missing/a.py",
        "file/a.py",
        "file/b/a.py",
        "a\0b",
        "x" * 300,
        "loop",
        "/proc/version_x",
        "new/",
    ],
)
def test_unwritable_paths_are_usage_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Every path that cannot be a file, also for root, is a UsageError (L233) and leaves nothing behind."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("a file")
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(os.listdir(tmp_path))
    assert code_of(path, force=True) == "L233"
    assert sorted(os.listdir(tmp_path)) == before


def test_full_disk_leaves_nothing() -> None:
    """A device that is full is a UsageError with the reason."""
    with pytest.raises(UsageError) as caught:
        output.write("/dev/full", "x" * 100_000)
    assert caught.value.diagnostic.code == "L233"
    assert "no space" in caught.value.diagnostic.message


@pytest.mark.parametrize("step", ["fsync", "link", "replace"])
def test_failure_at_any_step_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """If flushing or renaming fails, the old content stays and the temporary file goes."""
    target = tmp_path / "a"
    if step == "replace":
        target.write_text("old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    if step == "link":  # a file system without hard links is no failure by itself
        monkeypatch.setattr(os, "replace", fail)
    assert code_of(str(target), force=step == "replace") == "L233"
    assert (target.read_text() if target.exists() else None) == ("old" if step == "replace" else None)
    assert not leftovers(tmp_path)


def test_without_hard_links_it_still_works_and_still_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without hard links a new file is made by renaming, and an old one is not replaced."""

    def no_links(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    output.write(str(tmp_path / "a"), "new")
    assert (tmp_path / "a").read_text() == "new"
    assert code_of(str(tmp_path / "a")) == "L234"


def test_interrupt_while_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C between writing and renaming cleans up."""

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        output.write(str(tmp_path / "a"), "x")
    assert os.listdir(tmp_path) == []


KILLED = """
import os, sys, time
from lossc.cli import output
os.fsync = lambda _: (print("writing", flush=True), time.sleep(60))
output.write(sys.argv[1], "half a file", force=True)
"""


def test_kill_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    """SIGKILL in the middle: the target has its old content, whole."""
    target = tmp_path / "a"
    target.write_text("old")
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(target)], stdout=subprocess.PIPE, env=environment(), text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "writing\n"
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    assert target.read_text() == "old"


def test_two_at_once_one_wins_whole(tmp_path: Path) -> None:
    """Eight writers of one new file: exactly one succeeds, the others are told, and the content is the winner's."""
    target = tmp_path / "a"
    start = threading.Barrier(8)
    won: list[str] = []
    told: list[str] = []

    def write(text: str) -> None:
        start.wait()
        try:
            output.write(str(target), text)
            won.append(text)
        except UsageError as problem:
            told.append(problem.diagnostic.code)

    writers = [threading.Thread(target=write, args=(str(i) * 10_000,)) for i in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    assert len(won) == 1
    assert told == ["L234"] * 7
    assert target.read_text() == won[0]
    assert not leftovers(tmp_path)


def test_readers_never_see_half(tmp_path: Path) -> None:
    """While a file is replaced again and again, a reader sees one whole version or another."""
    target = tmp_path / "a"
    versions = {c * 200_000 for c in "abc"}
    output.write(str(target), "a" * 200_000)
    stop = time.monotonic() + 1.0
    seen: set[str] = set()

    def replace() -> None:
        while time.monotonic() < stop:
            for text in sorted(versions):
                output.write(str(target), text, force=True)

    writer = threading.Thread(target=replace)
    writer.start()
    while time.monotonic() < stop:
        seen.add(target.read_text())
    writer.join(30)
    assert seen <= versions


def test_check_writable_agrees_with_write(tmp_path: Path) -> None:
    """The early check says what writing would say, and makes nothing."""
    (tmp_path / "old").write_text("x")
    output.check_writable(str(tmp_path / "new"))
    output.check_writable(output.STDOUT)
    output.check_writable(str(tmp_path / "old"), force=True)
    for path, code in ((tmp_path / "old", "L234"), (tmp_path, "L233"), (tmp_path / "no" / "a", "L233")):
        with pytest.raises(UsageError) as caught:
            output.check_writable(str(path))
        assert caught.value.diagnostic.code == code
    assert os.listdir(tmp_path) == ["old"]
