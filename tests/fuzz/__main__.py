"""The long form: every target under atheris, which follows coverage, for so many seconds each."""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

_MEGABYTES = 200


def main() -> int:
    """Run the targets one after the other, each in a process of its own; 1 if one crashed."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help="by name; all of them where none is given")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--artifacts", type=Path, default=Path("build/fuzz"), help="where crashing inputs are kept")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.artifacts.mkdir(parents=True, exist_ok=True)
    if options.one is not None:
        _fuzz(options.one, options)
        return 0
    from fuzz.targets import TARGETS

    failed = []
    for name in options.targets or TARGETS:
        print(f"{name}: {options.seconds} s, seed {options.seed}", flush=True)
        arguments = ["--one", name, "--seconds", str(options.seconds), "--seed", str(options.seed)]
        command = [sys.executable, "-m", "fuzz", *arguments, "--artifacts", str(options.artifacts)]
        with tempfile.TemporaryDirectory() as own:
            homes = dict.fromkeys(("TMPDIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"), own)
            ended = subprocess.run(
                command, check=False, capture_output=True, text=True, errors="replace", env={**os.environ, **homes}
            )
        said = ended.stderr.strip().splitlines()
        if ended.returncode:
            failed.append(name)
            print("\n".join(said[-40:]))
        else:
            print("  " + next((line for line in reversed(said) if line.startswith("Done")), "done"))
    if failed:
        print(f"crashed: {', '.join(failed)}; the inputs are in {options.artifacts}, add them to FOUND in test_fuzz.py")
    return 1 if failed else 0


def _fuzz(name: str, options: argparse.Namespace) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["critictui"]):
        from fuzz.targets import TARGETS

    from fuzz.corpus import CORPUS, spoiled

    target = TARGETS[name]
    for seed in CORPUS[name]:
        target(seed)  # late imports are no part of an input's memory
    _limit_memory()
    with tempfile.TemporaryDirectory() as corpus:
        # what libFuzzer hardly finds by itself, such as a number of 400 digits, it is given to begin with
        for number, seed in enumerate(spoiled(CORPUS[name], random.Random(options.seed), 2000)):
            Path(corpus, str(number)).write_bytes(seed)
        libfuzzer = [
            f"-max_total_time={options.seconds}", f"-seed={options.seed}", "-max_len=65536", "-timeout=2",
            "-rss_limit_mb=0", f"-artifact_prefix={options.artifacts}/{name}-", corpus,
        ]  # fmt: skip
        atheris.Setup([sys.argv[0], *libfuzzer], target)
        atheris.Fuzz()


def _limit_memory() -> None:
    """An input that asks for more than its share gets a MemoryError, which no target declares."""
    used = int(Path("/proc/self/statm").read_text().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    most = used + (_MEGABYTES << 20) + (256 << 20)  # libFuzzer's own tables
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


if __name__ == "__main__":
    sys.exit(main())
