"""`report`: the page stands alone, holds what the run holds, and whatever a run wrote is text on it."""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from critictui.cli import cli, main
from critictui.config import Config
from critictui.monitor.check import judge_once
from critictui.reports import pictures
from critictui.reports.page import page as write_up

pytest.importorskip("matplotlib", reason="needs the extra [report]")
NAN, INF = float("nan"), float("inf")
VOID = {"meta", "br", "hr", "link", "img", "input"}


class Read(HTMLParser):
    """What a browser finds: elements with their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.said: list[str] = []
        self.feed(page)
        self.close()

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, "elements overlap"

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.said.append(data)


def report(run: Path, page: Path) -> Result:
    return CliRunner().invoke(cli, ["report", str(run), "-o", str(page)], catch_exceptions=True)


def made(run: Path, page: Path) -> Read:
    result = report(run, page)
    assert result.exit_code == 0, (result.output, result.exception)
    read = Read(page.read_text(encoding="utf-8"))
    assert not read.open, "an element is left open"
    return read


def log(run: Path, values: dict[str, list[object]]) -> Path:
    """A run that logs these series from step 1 on."""
    run.mkdir(parents=True)
    lines = (
        {"step": step, **{name: column[step - 1] for name, column in values.items()}}
        for step in range(1, 1 + len(next(iter(values.values()))))
    )
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def test_a_collapsed_run_is_told_with_alerts_curves_and_its_losses(
    recorded_run: Callable[..., Path], tmp_path: Path
) -> None:
    run = recorded_run("collapse")
    checked = json.loads(CliRunner().invoke(cli, ["check", "--json", str(run)]).stdout)
    read = made(run, tmp_path / "page.html")
    assert checked["verdict"] == "critical"
    assert "critical The critic is in trouble." in read.text
    for alert in checked["alerts"]:
        assert alert["message"] in read.text
        assert alert["rule"] in read.text
    titles = ["score mean", "d_acc", "score std", "margin"]
    assert [t for t in titles if f" {t} " in read.text] == titles
    assert "No checkpoint was scored yet" in read.text
    assert sum(tag == "svg" for tag, _ in read.elements) >= 5


def test_the_page_stands_alone(recorded_run: Callable[..., Path], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    read = made(recorded_run("healthy"), page)
    assert not {"script", "img", "link", "iframe", "object", "image", "use-external"} & {t for t, _ in read.elements}
    for tag, attributes in read.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name.endswith(("href", "src")):
                assert value is not None
                assert value.startswith("#"), (tag, value)
    drawn = re.findall(r"<svg.*?</svg>", page.read_text(encoding="utf-8"), re.DOTALL)
    clips = [set(re.findall(r'clipPath id="([^"]+)"', svg)) for svg in drawn]
    assert all(clips)
    assert len(set.union(*clips)) == sum(map(len, clips)), "two charts would share a clip"
    for svg in drawn:
        ET.fromstring(svg)


def test_scores_stand_in_a_table_and_on_the_charts(demo_copy: Callable[..., Path], tmp_path: Path) -> None:
    run = demo_copy("healthy")
    fixed = run / "fixed_set.jsonl"
    steps = sorted(int(p.name.rpartition("_")[2]) for p in run.glob("global_step_*"))[-2:]
    for step in steps:
        scored = CliRunner().invoke(
            cli, ["score", str(run / f"global_step_{step}"), "--fixed-set", str(fixed), "--device", "cpu", "--json"]
        )
        assert scored.exit_code == 0, scored.output
    newest = json.loads(scored.stdout)
    read = made(run, tmp_path / "page.html")
    assert f"step {steps[1]} {newest['d_acc']:.1%}" in read.text
    assert f"against step {steps[0]}: d_acc" in read.text
    assert f"Pairs with the smallest margin, step {steps[1]}" in read.text
    assert "fixed set" in read.text
    rows = [json.loads(line) for line in fixed.read_text().splitlines()]
    prompts = [" ".join(row["prompt"].split()) for row in rows if isinstance(row.get("prompt"), str)]
    assert any(prompt in read.text for prompt in prompts)
    judged = judge_once(run, Config())
    tried = CliRunner().invoke(
        cli, ["score", str(run), "--fixed-set", str(fixed), "--device", "cpu", "--recipe", "gad", "--json"]
    )
    assert tried.exit_code == 0, tried.output
    more = made(run, tmp_path / "more.html").text
    assert more.count("other: gad, ") == 1
    assert "other: gad-fork" not in more
    shuffled = Read(write_up(judged.run, judged.scores[::-1], judged.scores, judged.judgement))
    assert f"Pairs with the smallest margin, step {steps[1]}" in shuffled.text


def test_whatever_a_run_wrote_is_text(tmp_path: Path) -> None:
    hostile = [
        "<script>alert(1)</script>", "a\x1b[31mred\x1b]0;title\x07", '"><img src=x onerror=alert(1)>', "$x^{$",
        "_hidden", "漢字/\u202eevil", "{{ 7 * 7 }}", "&lt;b&gt;", "]]>", "</style><style>*{display:none}</style>",
    ]  # fmt: skip
    run = log(tmp_path / "<b>run</b>", {name: [float(k) for k in range(60)] for name in hostile})
    page = tmp_path / "page.html"
    read = made(run, page)
    assert not {"script", "img", "b-run"} & {tag for tag, _ in read.elements}
    assert sum(tag == "style" for tag, _ in read.elements) == 1 + sum(tag == "svg" for tag, _ in read.elements)
    assert "<script>alert(1)</script>" in read.text
    assert "{{ 7 * 7 }}" in read.text
    assert "&lt;b&gt;" in read.text
    assert "<b>run</b>" in read.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([NAN] * 80, "80 values"),
        ([1.0, INF, 2.0, -INF, *([0.5] * 60)], "2 values"),
        ([1e308, -1e308, *([0.5] * 60)], "2 values"),
        ([0.7], "0.7 at step 1"),
        ([*np.sin(np.arange(98)).tolist(), 1e6, -1e6], "2 far points beyond the edge"),
        ([5e-324] * 60, "at step 60"),
        ([0.5, *([NAN] * 50), 0.6, *([0.7] * 50)], "50 values"),
    ],
)
def test_no_number_breaks_a_page_and_what_is_not_drawn_is_counted(
    tmp_path: Path, values: list[object], said: str
) -> None:
    read = made(log(tmp_path / "run", {"critic/d_acc": values}), tmp_path / "page.html")
    assert said in read.text


def test_a_long_curve_is_its_mean_and_its_range(tmp_path: Path) -> None:
    n = 100 * pictures.COLUMNS
    run = log(tmp_path / "run", {"critic/d_acc": np.linspace(0.2, 0.8, n).tolist()})
    page = tmp_path / "page.html"
    made(run, page)
    assert page.stat().st_size < 400_000
    assert f"0.8 at step {n}" in page.read_text()


def test_the_trailing_mean_is_of_the_finite_values_of_twenty_points() -> None:
    rng = np.random.default_rng(3)
    values = np.where(rng.random(200) < 0.2, np.nan, rng.normal(size=200))
    got = pictures._trailing_mean(values)
    for end in range(200):
        window = values[max(0, end + 1 - pictures.TREND) : end + 1]
        if np.isfinite(values[end]):
            assert got[end] == pytest.approx(float(np.nanmean(window)), rel=1e-9, abs=1e-12)
        else:
            assert np.isnan(got[end])


def test_the_same_run_gives_the_same_charts(recorded_run: Callable[..., Path], tmp_path: Path) -> None:
    run = recorded_run("healthy")
    drawn = []
    for name in ("one.html", "two.html"):
        made(run, tmp_path / name)
        drawn.append(re.findall(r"<svg.*?</svg>", (tmp_path / name).read_text(), re.DOTALL))
    assert drawn[0] == drawn[1]


def ends_with(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["critictui", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize("missing", ["matplotlib.figure", "jinja2"])
def test_what_is_missing_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    run = log(tmp_path / "run", {"critic/d_acc": [0.5, 0.6]})
    monkeypatch.setitem(sys.modules, missing, None)
    assert ends_with(monkeypatch, "report", str(run), "-o", str(tmp_path / "page.html")) == 2
    assert "pip install 'critictui[report]'" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_a_page_that_cannot_be_written_is_one_line_and_the_old_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = log(tmp_path / "run", {"critic/d_acc": [0.5, 0.6]})
    page = tmp_path / "page.html"
    page.write_text("old")
    assert ends_with(monkeypatch, "report", str(run), "-o", str(page / "below.html")) == 2
    said = capsys.readouterr().err
    assert "below.html: cannot be written" in said
    assert said.count("\n") == 1
    assert page.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["page.html", "run"]


def test_there_is_no_page_of_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert ends_with(monkeypatch, "report", str(tmp_path / "empty"), "-o", str(tmp_path / "page.html")) == 2
    assert "no event file, log or JSONL of metrics in it" in capsys.readouterr().err
