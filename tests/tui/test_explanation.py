"""An explanation on the screen names keys, where the command line names its flags."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import critictui.diagnosis
from critictui.diagnosis.finding import Cause, Explanation
from critictui.tui.screens.explanation import _FLAGS, on_screen


@pytest.mark.parametrize("flag", [flag for flag, _ in _FLAGS])
def test_a_flag_becomes_a_key_or_a_setting(flag: str) -> None:
    cause = Cause("by-chance", "untested", f"it is so; {flag}.", next_step=flag)
    shown = on_screen(Explanation(f"There is no test: {flag}", (cause,)))
    texts = (shown.headline, shown.causes[0].message, shown.causes[0].next_step)
    assert [text for text in texts if "--" in text] == []
    assert all("after t" in text or "critictui.toml" in text for text in texts)


def test_every_flag_that_an_explanation_names_is_known_here() -> None:
    """Read from the source: a text that names another flag would reach the screen as it is."""
    folder = Path(critictui.diagnosis.__file__).parent
    said = ""
    for path in (folder / "explain.py", *sorted((folder / "causes").glob("*.py"))):
        for literal in re.findall(r'"([^"\n]*--(?:claim|pairs|fixed-set|script)[^"\n]*)"', path.read_text()):
            said += literal + "\n"
    assert said
    for flag, _ in _FLAGS:
        said = said.replace(flag, "")
    assert "--" not in said
