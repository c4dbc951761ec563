from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image as PillowImage

from sightline.errors import OutputError
from sightline.types import BallPoint
from sightline.viewer.trajectory import TrajectoryNotes, write_trajectory_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = "/usr/bin/chromium"
NOTES = TrajectoryNotes("rally <script>alert(1)</script>.mp4", "track.onnx", "trained", "inpaint.onnx")


def rally() -> list[BallPoint]:
    """60 frames of a circle; 10 to 12 are filled in, 30 to 34 and 50 have no ball."""
    points = []
    for frame in range(60):
        x, y = 640 + 300 * math.cos(frame / 8), 360 + 200 * math.sin(frame / 8)
        visible = frame not in {30, 31, 32, 33, 34, 50}
        points.append(BallPoint(frame, visible, x, y, 0.9 if visible else 0.0, filled=10 <= frame <= 12))
    return points


def written(folder: Path, points: list[BallPoint], notes: TrajectoryNotes = NOTES) -> Path:
    return write_trajectory_page(folder / "report.html", points, fps=25, size_hw=(720, 1280), notes=notes)


def test_the_figures_of_the_head_are_those_of_the_points(tmp_path: Path) -> None:
    text = written(tmp_path, rally()).read_text(encoding="utf-8")
    for shown in ("90 % of frames", "60 frames, 2.4 s", "2, longest 5 frames", "<dd>3 frames</dd>", "25 frames/s"):
        assert shown in text
    assert "<script>alert(1)" not in text


@pytest.mark.parametrize(
    ("points", "notes", "said"),
    [
        ([BallPoint(0, False)], NOTES, "No ball was seen."),
        ([], NOTES, "No ball was seen."),
        ([BallPoint(0, True, 1, 2, 0.6)], TrajectoryNotes("v.mp4", "m", "untrained"), "Random weights."),
    ],
)
def test_what_a_reader_must_know_stands_above_the_figures(
    tmp_path: Path, points: list[BallPoint], notes: TrajectoryNotes, said: str
) -> None:
    assert said in written(tmp_path, points, notes).read_text(encoding="utf-8")


def test_a_page_in_a_folder_that_is_not_there_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the folder does not exist"):
        written(tmp_path / "none", rally())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def chosen(page: Page, frame: int) -> None:
    """Waits until that frame is the one the page speaks of."""
    page.locator(f"#lanes[aria-valuenow='{frame}']").wait_for()


@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="Chromium is not installed at /usr/bin/chromium")
class TestInABrowser:
    @pytest.fixture
    def complaints(self) -> list[str]:
        return []

    @pytest.fixture
    def page(self, browser: Browser, tmp_path: Path, complaints: list[str]) -> Iterator[Page]:
        page = self.opened(browser, written(tmp_path, rally()), complaints)
        yield page
        page.close()
        assert complaints == []

    def opened(self, browser: Browser, path: Path, complaints: list[str], **how: object) -> Page:
        page = browser.new_page(**how)  # type: ignore[arg-type]
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda request: complaints.append(request.url) if request.url.startswith("http") else None)
        page.goto(path.as_uri())
        page.locator("#lanes[aria-valuetext]").wait_for()
        return page

    def test_the_keyboard_goes_through_the_frames(self, page: Page) -> None:
        lanes = page.locator("#lanes")
        lanes.focus()
        for key, frame in (("Home", 0), ("ArrowRight", 1), ("PageUp", 26), ("ArrowLeft", 25), ("End", 59), ("End", 59)):
            page.keyboard.press(key)
            chosen(page, frame)

    @pytest.mark.parametrize(
        ("frame", "said"),
        [
            (0, "frame 0, 0:00.00: x 940, y 360"),
            (11, "filled in"),
            (30, "frame 30, 0:01.20: no ball"),
            (40, "sure to 90 %"),
        ],
    )
    def test_the_readout_says_what_is_known_of_a_frame(self, page: Page, frame: int, said: str) -> None:
        page.locator("#lanes").focus()
        page.keyboard.press("Home")
        for _ in range(frame):
            page.keyboard.press("ArrowRight")
        chosen(page, frame)
        assert said in page.locator("#readout").inner_text()

    def test_the_gaps_are_a_table_and_each_can_be_gone_to(self, page: Page) -> None:
        rows = [row.inner_text().split() for row in page.locator("tbody tr").all()]
        assert [row[:4] for row in rows] == [["30", "34", "5", "0.20"], ["50", "50", "1", "0.04"]]
        page.locator("tbody button").nth(1).click()
        chosen(page, 50)

    def test_a_click_chooses_the_frame_under_it(self, page: Page) -> None:
        page.locator("#lanes").scroll_into_view_if_needed()
        box = page.locator("#lanes").bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + box["width"] - 13, box["y"] + 40)
        chosen(page, 59)

    def test_what_was_filled_in_is_drawn_in_blue_instead_of_amber(self, browser: Browser, tmp_path: Path) -> None:
        drawn = [BallPoint(frame, True, 20 * frame, 300, 0.9, filled=frame >= 30) for frame in range(60)]
        seen = [BallPoint(point.frame, True, point.x, point.y, 0.9) for point in drawn]
        blue, amber = {}, {}
        for name, points in (("half filled", drawn), ("seen", seen)):
            page = self.opened(browser, written(tmp_path, points), [])
            picture = PillowImage.open(BytesIO(page.locator("#lanes canvas").screenshot())).convert("RGB")
            red_over_blue = np.subtract(*np.asarray(picture).astype(int)[:, :, [0, 2]].transpose(2, 0, 1))
            blue[name], amber[name] = (red_over_blue < -80).sum(), (red_over_blue > 80).sum()
            page.close()
        assert amber["half filled"] == pytest.approx(amber["seen"] / 2, rel=0.15)
        assert blue["half filled"] - blue["seen"] > 500

    @pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
    def test_it_fits_a_phone_and_a_dark_room(self, browser: Browser, tmp_path: Path, width: int, scheme: str) -> None:
        complaints: list[str] = []
        path = written(tmp_path, rally())
        page = self.opened(browser, path, complaints, viewport={"width": width, "height": 900}, color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.screenshot(path=tmp_path / f"trajectory-{scheme}.png", full_page=True)
        if kept := os.environ.get("SIGHTLINE_SCREENSHOTS"):
            shutil.copy(tmp_path / f"trajectory-{scheme}.png", kept)
        page.close()
        assert complaints == []

    def test_an_hour_of_video_opens_and_answers(self, browser: Browser, tmp_path: Path) -> None:
        complaints: list[str] = []
        points = [BallPoint(frame, frame % 7 != 0, frame % 1280, frame % 720, 0.8) for frame in range(90_000)]
        page = self.opened(browser, written(tmp_path, points), complaints)
        page.locator("#lanes").focus()
        page.keyboard.press("End")
        chosen(page, 89999)
        assert page.locator("tbody tr").count() == 200
        page.close()
        assert complaints == []
