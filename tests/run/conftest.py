"""What the tests of `run` share: a writer of event files, byte by byte, and runs compared by content."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from event_bytes import Content, Wire, content_of, read_plainly

from critictui.run.facts import RunSnapshot


@pytest.fixture(scope="session")
def wire() -> Wire:
    return Wire()


@pytest.fixture(scope="session")
def content() -> Callable[[RunSnapshot], Content]:
    return content_of


@pytest.fixture
def read() -> Callable[[Path], RunSnapshot]:
    return read_plainly


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = os.environ.get("CRITICTUI_DATA")
    if not folder:
        pytest.skip("CRITICTUI_DATA does not name the folder with real runs")
    return Path(folder)
