"""What makes a process that learns losses faster without changing a number: one thread, and memory that stays.

A meta-step is hundreds of short operations on small batches, and a few products of matrices of some megabytes. Two
things cost more there than the arithmetic:

- threads: on products of this size two threads give 1.6 times the speed of one, two processes 1.8 times; and where the
  cores are shared with other work, threads that wait for each other are slower than one alone;
- pages: glibc returns large blocks to the system as they are freed, and takes them again a moment later. Every page is
  then cleared and mapped anew, which for a temporary of 4 MB takes as long as multiplying it.
"""

from __future__ import annotations

import ctypes
import platform

import torch

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
"""Numbers of parameters of `mallopt`, from <malloc.h>."""
_KEEP = 2**31 - 1
_GROW = 64 * 2**20


def settle(threads: int = 1) -> bool:
    """Make this process one for meta-learning: so many threads, and freed memory is kept; True if it can be kept.

    For programs, not for libraries: both settings are the whole process's. The memory that is kept is at most what the
    process had in use at its peak and 64 MiB more. Anywhere but on glibc only the threads are set.
    """
    torch.set_num_threads(threads)
    return _keep_memory()


def _keep_memory() -> bool:
    if platform.libc_ver()[0] != "glibc":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    mallopt.argtypes, mallopt.restype = [ctypes.c_int, ctypes.c_int], ctypes.c_int
    done = [mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, _KEEP), mallopt(_TOP_PAD, _GROW)]
    return all(done)
