"""Settings of the whole suite: one thread for torch, and hypothesis profiles.

`HYPOTHESIS_PROFILE=ci` draws the same examples in every run and does not shrink a failure (which can take minutes and
gigabytes); the default draws new ones, and prints how to repeat a failure.
Neither has a deadline: time is the business of benchmarks.
"""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import HealthCheck, Phase, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, and for the programs that tests start
os.environ.setdefault("MKL_NUM_THREADS", "1")

settings.register_profile("default", deadline=None, print_blob=True)
settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> None:
    """Torch uses one thread, also if something imported it before the variables above were set."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
