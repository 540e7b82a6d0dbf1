"""Break a copy of the product in every known way: the tests must notice each. Prints killed or SURVIVED."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from mutants.kill import copy_of, outcome
from mutants.variants import MUTANTS


def main() -> int:
    """1 if a mutant survives, or if its tests fail without it."""
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="only mutants with one of these words in their names")
    words = parser.parse_args().words
    chosen = [m for m in MUTANTS if not words or any(word in m.name for word in words)]
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        whole = copy_of(Path(folder, "whole"))
        sound: dict[tuple[str, ...], str] = {}
        for number, mutant in enumerate(chosen):
            if mutant.tests not in sound:
                sound[mutant.tests] = outcome(whole, mutant.tests)[0]
            if sound[mutant.tests] == "skipped":
                print(f"not tried  {mutant.name}: its tests are skipped here", flush=True)
                continue
            tree = copy_of(Path(folder, str(number)))
            mutant.apply(tree)
            result, said = outcome(tree, mutant.tests)
            killed = result == "failed" and sound[mutant.tests] == "passed"
            failed += not killed
            word = "killed     " if killed else "SURVIVED   "
            print(word + mutant.name, flush=True)
            if not killed:
                print(f"  without it: {sound[mutant.tests]}; with it: {result}\n{said}", flush=True)
    print(f"{len(chosen)} mutants, {failed} survived")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
