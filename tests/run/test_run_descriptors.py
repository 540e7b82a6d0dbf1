from __future__ import annotations

import os
import resource

import pytest

from critictui.config import Config
from critictui.run.reader import RunReader


@pytest.mark.fault("F23")
def test_a_run_of_many_old_files_is_read_with_few_descriptors(tmp_path, wire):
    for k in range(60):
        path = tmp_path / f"events.out.tfevents.{1_700_000_000 + k}.host.1.0"
        path.write_bytes(wire.steps("a", [2 * k, 2 * k + 1], 1e9 + 100 * k))
        os.utime(path, (1e9, 1e9))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 12, hard))
    try:
        snapshot = RunReader(tmp_path, Config()).read_all()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert {source.state for source in snapshot.sources} == {"quiet"}
    assert snapshot.series["a"].step.tolist() == list(range(120))
