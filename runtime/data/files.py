"""Where the files of a data set are, and reading them so that a bad one is a complaint and never a traceback.

The data folder is named by the caller, or by the environment variable LOSSC_DATA. lossc looks into it and nowhere else,
and downloads nothing.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from lossc.compiler.errors import LosscError, UsageError

VARIABLE = "LOSSC_DATA"
GZIP = ".gz"
Folder = str | os.PathLike[str] | None
"""A data folder as a caller gives it; None: the one that LOSSC_DATA names."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One way in which a data set lies in the data folder: `folder` in it, which holds all of `files`.

    `form` says which reader they are for. A file may also be there packed, with `.gz` behind its name.
    """

    form: str
    folder: str
    files: tuple[str, ...]

    def found(self, root: Path) -> list[Path] | None:
        """The paths of the files, or None if one is missing."""
        paths = [_one(root / self.folder / name) for name in self.files]
        return None if None in paths else cast(list[Path], paths)

    def __str__(self) -> str:
        return ("" if self.folder == "." else f"{self.folder}/ with ") + ", ".join(self.files)


def _one(path: Path) -> Path | None:
    return next((p for p in (path, path.with_name(path.name + GZIP)) if p.is_file()), None)


def located(name: str, data: Folder, layouts: Sequence[Layout], advice: str) -> tuple[str, list[Path]]:
    """The form and the paths of the first layout that is there; `advice` says where users get the files.

    Raises UsageError (L226), which says what was looked for and where.
    """
    chosen = os.environ.get(VARIABLE, "") if data is None else os.fspath(data)
    forms = {layout.form: layout for layout in reversed(layouts)}  # the first of each
    expected = "; or ".join(str(layout) for layout in reversed([*forms.values()]))
    hint = f"{advice}; name the folder that holds them with --data or {VARIABLE}; lossc downloads nothing"
    if not chosen:
        raise UsageError("L226", f"{name} needs its files, and no data folder is given", expected=expected, hint=hint)
    root = Path(chosen)
    if not root.is_dir():
        raise UsageError("L226", f"there is no data folder {chosen!r}", expected=expected, hint=hint)
    for layout in layouts:
        paths = layout.found(root)
        if paths is not None:
            return layout.form, paths
    raise UsageError("L226", f"the files of {name} are not in {chosen!r}", expected=expected, hint=hint)


def damaged(path: Path, why: str, expected: str = "") -> UsageError:
    """The complaint (L227) about a data file that is not what its name says."""
    return UsageError("L227", f"{str(path)!r} cannot be read: {why}", expected=expected)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever goes wrong in reading the file becomes a UsageError (L227); other readers raise what they like."""
    try:
        yield
    except LosscError:
        raise
    except Exception as problem:
        why = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        raise damaged(path, why) from problem


def opened(path: Path) -> IO[bytes]:
    """The file for reading, unpacked on the way if its name ends in .gz."""
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == GZIP else path.open("rb")


def whole(path: Path, most: int) -> bytes:
    """All bytes of a file, unpacked; UsageError (L227) if there are more than `most`."""
    with reading(path), opened(path) as file:
        content = file.read(most + 1)
        if len(content) > most:
            raise damaged(path, f"it holds more than {most:,} bytes")
        return content
