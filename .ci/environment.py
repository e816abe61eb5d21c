"""Make or renew the virtual environment that the Makefile works in: `python .ci/environment.py .venv STAMP`.

Run again it does nothing; of two at once the second waits for the first; stopped halfway it starts anew: the stamp is
written last, in one step, and holds a digest of what the environment was made from.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("pyproject.toml", "constraints.txt")


def digest() -> str:
    """What the environment depends on, in short: this Python and the texts of the sources."""
    parts = [sys.version.encode(), *((ROOT / name).read_bytes() for name in SOURCES)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def install(python: Path) -> None:
    """Install lossc for development, and the pinned build backend before it: nothing is built with other versions."""
    quiet = [] if sys.stdout.isatty() else ["-qq"]
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", *quiet, "-c", "constraints.txt"]
    subprocess.run([*pip, "setuptools"], cwd=ROOT, check=True)
    subprocess.run([*pip, "--no-build-isolation", "-e", ".[dev]"], cwd=ROOT, check=True)


def make(folder: Path) -> None:
    """Make the environment in `folder`, anew if what is there was made by another Python or does not run."""
    python = folder / "bin" / "python"
    tell = "import sys; print(sys.version)"
    try:
        old = subprocess.run([str(python), "-c", tell], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        old = ""
    if old != sys.version.strip():
        venv.create(folder, clear=True, with_pip=True, symlinks=True, prompt="lossc")
    install(python)


def main(folder: Path, stamp: Path) -> int:
    """Bring the environment up to date under a lock; returns the exit status."""
    with open(ROOT / "pyproject.toml", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = digest()
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
            stamp.touch()
            return 0
        began = time.monotonic()
        version = sys.version.split()[0]
        print(f"Setting up {folder} with Python {version} (once; it can take some minutes) ...", flush=True)
        stamp.unlink(missing_ok=True)
        try:
            make(folder)
        except subprocess.CalledProcessError as problem:
            command = " ".join(map(str, problem.cmd))
            print(f"error: this command failed, see above; then run make again:\n  {command}", file=sys.stderr)
            if "ensurepip" in command:
                print("hint: on Debian and Ubuntu, install the package python3-venv", file=sys.stderr)
            return 1
        fresh = stamp.with_name(f"{stamp.name}.{os.getpid()}")
        fresh.write_text(wanted, encoding="utf-8")
        fresh.replace(stamp)
        print(f"... ready after {time.monotonic() - began:.0f} s.", flush=True)
        return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
