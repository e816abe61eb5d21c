"""A process that is settled for meta-learning."""

from __future__ import annotations

import platform
import subprocess
import sys

SCRIPT = """
import resource, torch
from lossc.runtime.hygiene import settle

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(16, 1024, 1024).mul_(2)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before, kept = faults(), settle(1)
faults()
print(before, faults(), kept, torch.get_num_threads())
"""


def test_freed_memory_is_kept_and_one_thread_is_left() -> None:
    """20 temporaries of 64 MiB are taken from the system once, not 20 times; elsewhere than on glibc nothing fails."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    before, after, kept, threads = done.stdout.split()

    assert threads == "1"
    assert kept == str(platform.libc_ver()[0] == "glibc")
    if kept == "True":
        assert int(after) <= max(50, int(before) // 10)
