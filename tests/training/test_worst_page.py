from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from painted_people import mean_colour, paint
from sightline.reid.labelled import Labelled
from sightline.reid.metrics import rank
from sightline.training.records import Record, labels
from sightline.training.worst_page import Outcome, worst_outcomes, write_worst_page

EVIL = '<script>document.title = "owned"</script><img src=x onerror="alert(1)">'


def labelled(records: list[Record], numbers: dict[str, int]) -> Labelled:
    vectors = np.stack([mean_colour(record.path) for record in records])
    people = np.array([numbers[record.person] for record in records])
    return Labelled(vectors, people, np.array([record.camera for record in records]))


class Material:
    """Painted people, one image a person and camera being a query."""

    def __init__(self, folder: Path) -> None:
        painted = paint(folder, people=("anna", EVIL, "0003", "d & d", "émile", "f"), cameras=3, shots=3, seed=2)
        records = [Record(item.path, item.person, item.camera) for item in painted]
        self.query, self.gallery = records[::3], [r for index, r in enumerate(records) if index % 3]
        numbers = labels(records)
        self.asked, self.shown = labelled(self.query, numbers), labelled(self.gallery, numbers)
        self.found = worst_outcomes(self.asked, self.shown)

    def write(self, path: Path, *, count: int = 50) -> Path:
        figures = {"rank-1": "50.0%", "mAP": "40.0%"}
        arguments: dict[str, Any] = {"query": self.query, "gallery": self.gallery, "title": "a & b", "figures": figures}
        write_worst_page(path, self.found[:count], total=len(self.found), **arguments, size_hw=(16, 8))
        return path


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return Material(tmp_path_factory.mktemp("worst") / "images")


@pytest.fixture(scope="module")
def page(material: Material, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return material.write(tmp_path_factory.mktemp("page") / "worst_queries.html")


class TestOutcomes:
    def test_their_mean_is_the_map_of_the_ranking(self, material: Material) -> None:
        ranking = rank(material.asked, material.shown)
        assert len(material.found) == ranking.queries == 18
        mean = np.mean([outcome.average_precision for outcome in material.found])
        assert mean == pytest.approx(ranking.map_mean_precision, abs=1e-9)
        assert np.mean([o.first_right.rank == 1 for o in material.found]) == pytest.approx(ranking.rank_k(1))

    def test_the_lowest_precision_comes_first(self, material: Material) -> None:
        precisions = [outcome.average_precision for outcome in material.found]
        assert precisions == sorted(precisions) and precisions[0] < precisions[-1]

    def test_only_as_many_as_asked_for_are_looked_at(self, material: Material) -> None:
        assert worst_outcomes(material.asked, material.shown, count=4) == material.found[:4]

    def test_the_top_is_the_gallery_by_score_without_the_persons_own_camera(self, material: Material) -> None:
        for outcome in material.found:
            asked = material.query[outcome.query]
            places = [
                (-float(mean_colour(asked.path) @ mean_colour(shown.path)), place)
                for place, shown in enumerate(material.gallery)
                if (shown.person, shown.camera) != (asked.person, asked.camera)
            ]
            assert [item.gallery for item in outcome.top] == [place for _, place in sorted(places)[:10]]
            assert [item.rank for item in outcome.top] == list(range(1, 11))
            for item in outcome.top:
                assert item.right == (material.gallery[item.gallery].person == asked.person)
            # 3 cameras, 2 images of each in the gallery: 4 that count, 2 that do not.
            assert (outcome.matches, outcome.left_out) == (4, 2)

    def test_of_equal_scores_the_wrong_one_comes_first(self) -> None:
        same = np.ones((3, 2), np.float32)
        gallery = Labelled(same, np.array([1, 2, 1]), np.array([1, 1, 2]))
        (outcome,) = worst_outcomes(Labelled(same[:1], np.array([1]), np.array([0])), gallery)
        assert [item.right for item in outcome.top] == [False, True, True]
        assert outcome.average_precision == pytest.approx((1 / 2 + 2 / 3) / 2)

    def test_a_query_without_a_match_is_none(self) -> None:
        vectors = np.eye(2, dtype=np.float32)
        gallery = Labelled(vectors, np.array([1, 2]), np.array([0, 0]))
        assert worst_outcomes(Labelled(vectors, np.array([3, 1]), np.array([0, 0])), gallery) == []


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(path: Path) -> Tags:
    tags = Tags()
    tags.feed(path.read_text(encoding="utf-8"))
    return tags


class TestPage:
    def test_it_needs_nothing_but_itself(self, page: Path) -> None:
        tags = parsed(page)
        assert not [name for name, _ in tags.found if name in {"script", "iframe", "object"}]
        links = [value for _, attributes in tags.found for key, value in attributes.items() if key in {"src", "href"}]
        assert links and all(link is not None and link.startswith(("data:", "#")) for link in links)
        assert "url(" not in page.read_text(encoding="utf-8")

    def test_names_are_text_whatever_they_hold(self, page: Path) -> None:
        tags = parsed(page)
        assert EVIL in tags.text and "d & d" in tags.text and "a & b" in tags.text
        assert not [attributes for _, attributes in tags.found if any(key.startswith("on") for key in attributes)]

    def test_the_worst_are_shown_first_up_to_the_limit(self, material: Material, tmp_path: Path) -> None:
        text = material.write(tmp_path / "few.html", count=3).read_text(encoding="utf-8")
        shown = re.findall(r"average precision <b>([\d.]+)%</b>", text)
        assert shown == [f"{outcome.average_precision:.1%}"[:-1] for outcome in material.found[:3]]
        assert "The 3 of 18 queries" in text

    def test_a_right_image_beyond_the_top_is_shown_as_well(self, material: Material, page: Path) -> None:
        late = [outcome for outcome in material.found if outcome.first_right.rank > 10]
        assert page.read_text(encoding="utf-8").count('class="later"') == len(late) > 0

    def test_no_query_at_all_is_an_empty_page(self, tmp_path: Path) -> None:
        nobody: list[Outcome] = []
        write_worst_page(tmp_path / "none.html", nobody, total=0, query=[], gallery=[], title="none", figures={})
        assert "The 0 of 0 queries" in (tmp_path / "none.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="looking at a page needs playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("looking at a page needs chromium")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


class TestInABrowser:
    @pytest.fixture
    def opened(self, browser: Any, page: Path) -> Iterator[Any]:
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.complaints = []
        tab.on("console", lambda message: tab.complaints.append(message.text))
        tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
        tab.on("dialog", lambda dialog: (tab.complaints.append("a dialog"), dialog.dismiss()))
        tab.goto(page.as_uri())
        yield tab
        tab.close()

    def test_it_opens_without_a_complaint_and_runs_nobodys_name(self, opened: Any) -> None:
        assert opened.complaints == []
        assert opened.title() == "Worst queries · a & b"
        assert opened.get_by_text("<script>document.title").count() > 0

    def test_every_image_is_really_there(self, opened: Any) -> None:
        sizes = opened.eval_on_selector_all("img", "all => all.map(i => [i.complete, i.naturalWidth])")
        assert len(sizes) > 18 * 11 - 1 and all(complete and width > 0 for complete, width in sizes)

    def test_right_is_framed_green_and_wrong_red(self, opened: Any, material: Material) -> None:
        right = sum(item.right for outcome in material.found for item in outcome.top)
        late = sum(outcome.first_right.rank > 10 for outcome in material.found)
        assert opened.locator(".results .right .frame").count() == right + late
        assert opened.locator(".results .wrong .frame").count() == 18 * 10 - right
        colour = "element => getComputedStyle(element).borderTopColor.match(/\\d+/g).map(Number)"
        green = opened.locator(".results .right .frame").first.evaluate(colour)
        red = opened.locator(".results .wrong .frame").first.evaluate(colour)
        assert green[1] > green[0] + 50 and red[0] > red[1] + 50

    def test_a_phone_does_not_scroll_sideways(self, browser: Any, page: Path) -> None:
        tab = browser.new_page(viewport={"width": 360, "height": 740})
        tab.goto(page.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360
        tab.close()

    def test_it_is_dark_where_that_is_preferred(self, opened: Any) -> None:
        brightness = "() => getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
        opened.emulate_media(color_scheme="dark")
        assert opened.evaluate(brightness) < 60
        opened.emulate_media(color_scheme="light")
        assert opened.evaluate(brightness) > 200

    def test_the_keyboard_alone_gets_everywhere(self, opened: Any, material: Material) -> None:
        opened.keyboard.press("Tab")
        assert opened.evaluate("document.activeElement.textContent") == "Skip to the first query"
        opened.keyboard.press("Tab")
        opened.keyboard.press("ArrowRight")  # from all to those missed at rank 1
        missed = sum(outcome.first_right.rank > 1 for outcome in material.found)
        assert opened.locator("article:visible").count() == missed < 18
        opened.keyboard.press("ArrowRight")  # to right images only
        assert opened.locator("article:visible").count() == 18
        assert opened.locator(".results .wrong:visible").count() == 0
        opened.keyboard.press("Tab")
        opened.keyboard.press("Enter")
        assert opened.url.endswith("#q2")
