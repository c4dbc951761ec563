from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sightline.errors import OutputError
from sightline.types import FloatArray
from sightline.viewer.comparison import ComparisonNotes, PoorImage, Row, Shown, write_comparison_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = "/usr/bin/chromium"
COSINES = np.array([0.95, 0.985, *np.linspace(0.99, 0.999, 200)], np.float32)
EVIL = "a/<script>alert(1)</script>.png"
NOTES = ComparisonNotes(
    "source.onnx",
    "int8 <b>.onnx",
    "onnxruntime (cpu, float32)",
    "onnxruntime (cpu, int8)",
    floor=0.98,
    passed=False,
    rows=(Row("rank-1", "97.00%", "96.50%", "-0.50"),),
    remarks=("A says nearly the same of every image",),
)


def poor() -> list[PoorImage]:
    picture = np.full((48, 24, 3), (10, 200, 90), np.uint8)
    subject = Shown(EVIL, 0.95, picture)
    return [
        PoorImage(subject, Shown("b/1.png", 0.81, picture), Shown("b/2.png", 0.79, picture)),
        PoorImage(Shown("stem", 0.985), Shown("b/1.png", 0.7), Shown("b/1.png", 0.71)),
        PoorImage(Shown("alone", 0.99), None, None),
    ]


def written(folder: Path, cosines: FloatArray = COSINES, notes: ComparisonNotes = NOTES) -> Path:
    return write_comparison_page(folder / "comparison.html", cosines, poor(), notes=notes)


def test_the_page_says_the_verdict_and_every_figure(tmp_path: Path) -> None:
    text = written(tmp_path).read_text(encoding="utf-8")
    for shown in (
        "They differ.",
        "0.9500",
        "0.98",
        "rank-1",
        "96.50%",
        "A says nearly the same",
        "onnxruntime (cpu, int8)",
    ):
        assert shown in text
    agreed = ComparisonNotes("a", "b", "", "", floor=0.9, passed=True)
    assert "They agree.</strong> On 202 images no cosine is below 0.9" in written(tmp_path, notes=agreed).read_text()


def test_what_things_are_called_is_never_markup(tmp_path: Path) -> None:
    text = written(tmp_path).read_text(encoding="utf-8")
    assert "<script" not in text
    assert "int8 &lt;b&gt;.onnx" in text


def test_every_image_is_in_one_bar_and_those_below_the_floor_are_marked(tmp_path: Path) -> None:
    text = written(tmp_path).read_text(encoding="utf-8")
    bars = re.findall(r'<rect class="(\w+)".*?<title>([\d,]+) images', text)
    assert sum(int(count.replace(",", "")) for _, count in bars) == len(COSINES)
    assert sum(int(count) for kind, count in bars if kind == "below") == 1


@pytest.mark.parametrize("cosines", [np.ones(3, np.float32), np.array([-1.0], np.float32), np.full(5, 1.0000001)])
def test_equal_and_opposite_vectors_make_a_page_too(tmp_path: Path, cosines: FloatArray) -> None:
    text = written(tmp_path, cosines.astype(np.float32)).read_text(encoding="utf-8")
    bars = re.findall(r"<title>(\d+) images", text)
    assert sum(map(int, bars)) == len(cosines)
    assert "nan" not in text


def test_the_same_comparison_is_the_same_bytes(tmp_path: Path) -> None:
    assert written(tmp_path).read_bytes() == written(tmp_path).read_bytes()


def test_a_page_in_a_folder_that_is_not_there_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the folder does not exist"):
        written(tmp_path / "none")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="Chromium is not installed at /usr/bin/chromium")
@pytest.mark.parametrize("width", [360, 1280])
def test_a_browser_shows_it_without_complaint_or_request_and_nothing_is_cut_off(
    browser: Browser, tmp_path: Path, width: int
) -> None:
    complaints: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.on("console", lambda message: complaints.append(message.text))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda request: complaints.append(request.url) if request.url.startswith("http") else None)
    page.goto(written(tmp_path).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(image => image.naturalWidth === 96)")
    assert page.locator("#worst li.changed").count() == 1  # only there A and B mean different images
    assert page.locator("#worst figure").count() == 7
    page.close()
    assert complaints == []
