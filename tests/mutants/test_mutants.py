"""The list of mutants holds: each still applies, and two cheap ones are really killed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mutants.kill import ROOT, copy_of, outcome
from mutants.variants import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_every_mutant_applies_and_its_tests_are_there(mutant: Mutant, tmp_path: Path) -> None:
    target = tmp_path / "critictui" / mutant.file
    target.parent.mkdir(parents=True)
    shutil.copy(ROOT / "critictui" / mutant.file, target)
    before = target.read_text(encoding="utf-8")
    mutant.apply(tmp_path)
    changed = target.read_text(encoding="utf-8")
    assert changed != before
    compile(changed, mutant.file, "exec")
    assert (ROOT / mutant.tests[0]).is_file()


@pytest.mark.parametrize("name", ["float() reads numbers", "C1 controls reach the terminal"])
def test_a_mutant_is_killed(name: str, tmp_path: Path) -> None:
    mutant = next(m for m in MUTANTS if m.name == name)
    tree = copy_of(tmp_path / "tree")
    mutant.apply(tree)
    result, said = outcome(tree, mutant.tests)
    assert result == "failed", said
