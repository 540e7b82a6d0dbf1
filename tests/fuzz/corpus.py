"""Valid files of every kind, and ways to spoil them."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
from collections.abc import Iterator

from critictui.demo.tfrecord import scalar_record, version_record

_RAY = "\x1b[36m(TaskRunner pid=448)\x1b[0m "
_LOG = (
    f"{_RAY}Size of train dataloader: 155, Size of val dataloader: 1\n{_RAY}Total training steps: 310\n"
    f"{_RAY}step:1 - critic/d_acc:np.float64(0.5) - a:nan - b:tensor(0.3, device='cuda:0') - 评分:1e-05\n"
    "\rTraining Progress:  10%|█   | 3/30 [00:01<00:09, 2.9it/s]step:2 - critic/d_acc:0.7\r\n"
    "{'loss': '0.7', 'grad_norm': 1.5, 'epoch': 0.1}\n 10%|#| 1/9 [00:01<00:09, 1.0it/s]\n"
    "(A pid=2) step:2 - a:1 [repeated 4x across cluster]\nno newline at its end"
).encode()
_JSONL = (
    b'{"step":1,"data":{"critic/d_acc":0.5,"x":null}}\n{"_step":2,"a":{"b":NaN},"_timestamp":1.7e9}\n'
    b'{"step":3,"data":{"a":1}}{{"step":4,"data":{"a":2}}\n{"tag":"a","step":5,"value":"inf","wall_time":1e9}\n'
    b'{"Loss/D":{"num":8,"mean":0.25,"std":0.5},"Progress/kimg":{"num":1,"mean":4.0,"std":0}}\n'
    b'{"current_steps":9,"total_steps":10,"loss":0.1}\n'
)
_STATE = json.dumps(
    {"log_history": [{"step": 1, "loss": 0.5, "epoch": 0.1}], "max_steps": 10, "num_train_epochs": 2, "global_step": 1}
).encode()
_RESULT = json.dumps({
    "schema": 1, "step": 310, "checkpoint": "/c", "checkpoint_fingerprint": "f", "recipe": {"pooling": "mean"},
    "fixed_set": {"path": "/s", "sha256": "0", "prompts": 2, "pairs": 2}, "d_acc": 0.5, "d_acc_ci": [0.4, 0.6],
    "d_acc_soft": 0.5, "d_acc_ties_win": 0.5, "tie_rate": 0, "pairs": 2, "prompts": 2, "teacher_score_mean": 1,
    "student_score_mean": 0, "teacher_score_std": 1, "student_score_std": 1, "score_diff": 1, "score_range": None,
    "auc": 0.5, "length_bias": 0, "values": {"mean": 0}, "warnings": [], "tokens": 9, "seconds": {"total": 1},
    "device": "cpu", "dtype": "float32", "versions": {},
}).encode()  # fmt: skip
_ALARM = json.dumps({
    "time": 1.0, "key": "0:drift:m:5", "rule": "drift", "severity": "warning", "state": "firing", "metric": "m",
    "since_step": 3, "fired_step": 5, "resolved_step": None, "step": 6, "value": "nan", "threshold": 1, "message": "m",
    "advice": "a",
}).encode() + b'\n{"time":2,"key":"0:drift:m:5","severity":"warning","state":"snoozed","seconds":60}\n'  # fmt: skip
_TOML = (
    b"theme = 'x'\nrefresh = 2\npairs_per_step = 3\nascii = true\n[thresholds.drift]\nsigma = 6\n[aliases]\n"
    b"a = 'critic/d_acc'\n[profiles.mine]\nrecognised_by = ['x/*']\n"
    b"[launch]\nwhere = 'slurm'\n[launch.slurm]\ngpus = 1\n"
)
_YAML = (
    b"data:\n  train_batch_size: 8\n  train_files:\n  - a.parquet\nrollout: {n: 1}\n"
    b"critic:\n  model:\n    path: ${x.y}\n"
)
_PRINTED = (
    b"{'actor_rollout_ref': {'rollout': {'temperature': 0.6,\n                       'n': 8}},\n"
    b" 'data': {'x': [1, 2]}}\n"
)


def _word(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


_TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((" + _word("storage") + b"ctorch\nFloatStorage\n" + _word("0") + _word("cpu")
    + b"K\x04tQK\x00K\x04\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"
)  # fmt: skip
_PICKLE = b"\x80\x02}q\x00(" + _word("score.weight") + _TENSOR + _word("step") + b"K\x07u."


def _archive() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_STORED) as file:
        parts = {
            "data.pkl": _PICKLE,
            "byteorder": b"little",
            "data/0": struct.pack("<4f", 1, 2, 3, 4),
            "version": b"3\n",
        }
        for name, data in parts.items():
            file.writestr(zipfile.ZipInfo(f"model/{name}"), data)
    return held.getvalue()


def _safetensors() -> bytes:
    header = json.dumps({
        "__metadata__": {"format": "pt"},
        "score.weight": {"dtype": "F32", "shape": [1, 4], "data_offsets": [0, 16]},
        "x": {"dtype": "BF16", "shape": [0], "data_offsets": [16, 16]},
    }).encode()  # fmt: skip
    return struct.pack("<Q", len(header)) + header + b"\0" * 16


def _events() -> bytes:
    records = [scalar_record(tag, n / 7, n, 1.7e9 + n) for n in range(4) for tag in ("critic/d_acc", "评分")]
    return version_record(1.7e9) + b"".join(records)


CORPUS: dict[str, list[bytes]] = {
    "events": [_events(), _events()[60:], scalar_record("x", 1.0, 1 << 62, -1.0)[12:-4]],
    "log": [_LOG, _PRINTED, b"\r 1%| | 1/9 [00:00<?, ?it/s]" * 40],
    "text": ["\x1b[31mred\x1b]0;t\x07\x9b2J\u202e\u200b中文\ud800e\u0301\u0301".encode("utf-8", "surrogatepass"), _LOG],
    "safetensors": [_safetensors()],
    "archive": [_archive()],
    "pickle": [_PICKLE, b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s."],
    "config": [_TOML, _YAML, _PRINTED, b'{"hidden_size": 64, "architectures": ["A"]}'],
    "json": [_JSONL, _STATE, _RESULT, _ALARM],
    "protocol": [
        b'{"type":"progress","phase":"load","done":1,"total":2,"tokens_per_second":3,"seconds_left":null,"message":"m"}',
        b'{"type":"finished","result":{},"saved":null}',
        b'{"type":"failed","reason":"memory","message":"m"}',
        b'{"kind":"score","checkpoint":"c","fixed_set":"f","recipe":{},"device":"cpu","options":{}}',
    ],
}
"""By target."""

_SPICE = [
    b"\0" * 64, b"\xff" * 8, b"[" * 2000, b'{"a":' * 500, b"1e999", b"1" + b"0" * 400, b"-" + b"9" * 5000, b"\n", b"\r",
    b"\x1b[", b"\xed\xa0\x80", b"nan", b"null", b"true", b"\x80\x7f", b"step:", b" - ", b"'" * 300, b"(" * 300, b".",
    b"\\" * 99, b"\x00\x00\x00\x80", b"\xff\xff\xff\x7f", b"2p" * 50, b"-1", b'"' * 3, b"=", b"a.b.c",
]  # fmt: skip


def spoiled(seeds: list[bytes], rng: random.Random, count: int) -> Iterator[bytes]:
    """The seeds themselves, every one cut at some places, and `count` inputs that flip, splice, repeat and insert."""
    yield from seeds
    yield b""
    for seed in seeds:
        for at in sorted({0, 1, 7, 8, 11, 12, len(seed) - 1, *(rng.randrange(len(seed) + 1) for _ in range(20))}):
            yield seed[:at]
            yield seed[at:]
    for _ in range(count):
        data = bytearray(rng.choice(seeds) if rng.random() < 0.95 else rng.randbytes(rng.randrange(300)))
        for _ in range(rng.choice((1, 1, 2, 5))):
            at = rng.randrange(len(data) + 1)
            match rng.randrange(6):
                case 0:
                    if at < len(data):
                        data[at] ^= 1 << rng.randrange(8)
                case 1:
                    other = rng.choice(seeds)
                    data[at:] = other[rng.randrange(len(other) + 1) :]
                case 2:
                    data[at:at] = rng.choice(_SPICE)
                case 3:
                    data[at : at + rng.randrange(1, 9)] = rng.choice(_SPICE)
                case 4:
                    end = min(len(data), at + rng.randrange(1, 40))
                    data[at:at] = data[at:end] * rng.randrange(1, 20)
                case 5:
                    del data[at : at + rng.randrange(1, 20)]
        yield bytes(data[: 1 << 16])
