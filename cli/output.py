"""Writing result files: all of it or nothing, never over another file unless told to.

The text goes to a temporary file in the same folder, is flushed to the disk, and then takes its name in one step. So a
reader, a crash, a full disk or a second `lossc` at the same time never sees half a file.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from lossc.cli.context import Outcome
from lossc.compiler.errors import UsageError

STDOUT = "-"


def check_writable(path: str, *, force: bool = False) -> None:
    """Complain about an output path before the work is done, not after. Raises UsageError (L233, L234)."""
    if path != STDOUT:
        _mode(path, force)


def write(path: str, text: str, *, force: bool = False) -> None:
    """Write `text` as UTF-8 to `path`, atomically: `write_bytes` of it."""
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"), force=force)


def write_bytes(path: str, data: bytes, *, force: bool = False) -> None:
    """Write `data` to `path`, atomically.

    A new file gets the permissions that the umask says; with `force`, an old file is replaced, its permissions are kept
    and a link is followed. Devices and pipes are written to directly. Raises UsageError: L233 if it cannot be written,
    L234 if it is there already.
    """
    mode = _mode(path, force)
    try:
        if mode is None or stat.S_ISREG(mode):
            _place(os.path.realpath(path), data, mode)
        else:
            with open(path, "wb") as device:
                device.write(data)
    except FileExistsError:
        raise _exists(path) from None
    except BrokenPipeError:
        raise
    except OSError as problem:
        raise _unwritable(path, problem.strerror or str(problem)) from None


def _mode(path: str, force: bool) -> int | None:
    """The mode of the file that would be replaced, None if there is none. Raises UsageError if it cannot be written."""
    if not path or "\0" in path:
        raise _unwritable(path, "that is not a file name")
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        mode = None
    except OSError as problem:
        raise _unwritable(path, problem.strerror or str(problem)) from None
    if mode is None:
        folder = os.path.dirname(os.path.realpath(path))
        if path.endswith("/") or not os.path.isdir(folder):
            raise _unwritable(path, f"there is no folder {folder!r}")
    elif stat.S_ISDIR(mode):
        raise _unwritable(path, "it is a folder")
    elif stat.S_ISREG(mode) and not force:
        raise _exists(path)
    return mode


def _place(target: str, data: bytes, mode: int | None) -> None:
    """Write a temporary file beside the target and give it the target's name. Raises OSError, leaving no file."""
    temporary = os.path.join(os.path.dirname(target), f".lossc-{secrets.token_hex(8)}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            if mode is not None:
                with suppress(OSError):
                    os.chmod(temporary, stat.S_IMODE(mode))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if mode is None:
            _name_new(temporary, target)
        else:
            os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _name_new(temporary: str, target: str) -> None:
    """Rename, but never over a file that appeared meanwhile (FileExistsError)."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(target) from None
        os.replace(temporary, target)
    else:
        os.unlink(temporary)


def _exists(path: str) -> UsageError:
    return UsageError("L234", f"{path!r} exists already", hint="--force replaces it; or choose another name")


def _unwritable(path: str, why: str) -> UsageError:
    return UsageError("L233", f"cannot write {path!r}: {why[:1].lower()}{why[1:]}")


def deliver(text: str, data: Mapping[str, Any], output: str | None, *, force: bool, note: str = "") -> Outcome:
    """The outcome of a command whose result is a text: printed, or written to `output` (then `note` is printed).

    In JSON the text is the field `text`, or the file's name the field `output`.
    """
    if output is None or output == STDOUT:
        return Outcome({**data, "text": text}, text)
    write(output, text, force=force)
    return Outcome({**data, "output": output}, note=note or f"wrote {output}")
