"""numpy is loaded without a thread for each core, and the environment is left as it was."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import os
from critictui.arrays import load_numpy
load_numpy()
import numpy as np
print(len(os.listdir("/proc/self/task")), os.environ.get("OPENBLAS_NUM_THREADS"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
@pytest.mark.parametrize("chosen", [None, "1"])
def test_one_thread_and_the_same_environment(chosen: str | None) -> None:
    env = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    if chosen is not None:
        env["OPENBLAS_NUM_THREADS"] = chosen
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.split() == ["1", str(chosen)]
