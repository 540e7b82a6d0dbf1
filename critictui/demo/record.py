"""Makes a recording of a demo run: its event files go in, a file for `recordings/` comes out.

python -m critictui.demo.record RUN_DIR critictui/demo/recordings/healthy.json.gz
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from critictui.demo.recording import Recording, Session, save_recording
from critictui.demo.scenario import DemoError

_PREFIX = re.compile(r"^\x1b\[36m\(TaskRunner pid=\d+\)\x1b\[0m ", re.MULTILINE)


def recording_of(run: Path) -> Recording:
    """What the event files and the head of the log in a finished demo run hold. Raises DemoError without them."""
    files = sorted((run / "tensorboard").glob("events.out.tfevents.*"))
    if not files:
        raise DemoError(f"{run}: no event files under tensorboard/; give the directory of a finished demo")
    log = _PREFIX.sub("", (run / "train.log").read_text(encoding="utf-8"))
    head = log[: log.index("\nSize of train dataloader")]
    config: dict[str, Any] = ast.literal_eval(head.replace(str(run), "demo"))
    parts = [_read(file) for file in files]
    began = min(times[0] for _, times, _ in parts) - 1.0
    sessions = tuple(
        Session(
            first=steps[0] - 1,
            steps=tuple(steps),
            seconds=tuple(round(t - began, 2) for t in times),
            values=values,
        )
        for steps, times, values in parts
    )
    return Recording(config["trainer"]["experiment_name"], config["trainer"]["total_training_steps"], config, sessions)


def _read(file: Path) -> tuple[list[int], list[float], dict[str, list[float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(file), size_guidance={"scalars": 0})
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag != "timing_s/save_checkpoint"]  # not at every step
    points = {tag: events.Scalars(tag) for tag in tags}
    first = points[tags[0]]
    values = {tag: [float(str(np.float32(p.value))) for p in series] for tag, series in points.items()}
    return [p.step for p in first], [p.wall_time for p in first], values


if __name__ == "__main__":
    save_recording(recording_of(Path(sys.argv[1])), Path(sys.argv[2]))
