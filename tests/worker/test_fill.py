"""Every byte is read once, by whichever thread."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from critictui.checkpoint.find import resolve_target
from critictui.checkpoint.weights import open_weights
from critictui.worker import fill
from critictui.worker.fill import Fill, fill_tensors

pytestmark = pytest.mark.torch


def write(folder: Path) -> dict[str, torch.Tensor]:
    """Two files of a few hundred KB, with tensors of many sizes."""
    from safetensors.torch import save_file

    folder.mkdir()
    torch.manual_seed(0)
    (folder / "config.json").write_text('{"model_type": "qwen2", "hidden_size": 8}')
    parts = [{f"p{part}.t{i}": torch.randn(7 + 31 * i, 40) for i in range(12)} for part in range(2)]
    parts[1]["score.weight"] = torch.randn(1, 8)
    for number, part in enumerate(parts):
        save_file(part, folder / f"model-{number}.safetensors")
    index = {name: f"model-{number}.safetensors" for number, part in enumerate(parts) for name in part}
    import json

    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return parts[0] | parts[1]


@pytest.mark.parametrize("threads", [1, 2, 5, 8])
@pytest.mark.parametrize("slow", [False, True])
def test_every_byte_is_read_once_and_a_slow_lane_is_helped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, *, slow: bool
) -> None:
    expected = write(tmp_path / "critic")
    monkeypatch.setattr(fill, "CHUNK", 1 << 12)
    read: list[tuple[str, int, int]] = []
    by: dict[str, int] = {}
    lock = threading.Lock()
    original = fill._Reader._read

    def noted(self: fill._Reader, run: fill._Run) -> None:
        name = threading.current_thread().name
        if slow and name.endswith("_0"):
            time.sleep(0.02)
        with lock:
            read.append((run.fill.stored.name, run.begin, run.count))
            by[name] = by.get(name, 0) + 1
        original(self, run)

    monkeypatch.setattr(fill._Reader, "_read", noted)
    shares: list[float] = []
    with open_weights(resolve_target(tmp_path / "critic")) as weights:
        fills = [Fill(stored, torch.empty(stored.shape)) for stored in weights.tensors.values()]
        fill_tensors(weights, fills, shares.append, threads=threads)
    for done in fills:
        assert torch.equal(done.target, expected[done.stored.name])
    for name, tensor in expected.items():
        spans = sorted((begin, count) for found, begin, count in read if found == name)
        assert np.array_equal(np.cumsum([0, *(count for _, count in spans)])[:-1], [begin for begin, _ in spans])
        assert sum(count for _, count in spans) == tensor.numel()
    assert shares[-1] == 1.0
    if slow and threads > 1:
        assert by["load_0"] < len(read) / threads  # the others did its work
