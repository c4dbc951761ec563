"""The page as people use it: in a real Chromium, by mouse, by keyboard, and on a phone."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from staged_people import data_of, person, stage

import sightline.viewer
from sightline.cli import main
from sightline.viewer.page import PageNotes
from sightline.viewer.selection import ACTIONS, Choice, Step, write_selection
from sightline.viewer.tracks import NO_TRACK, PageTracks

EVIL = '</script><script>document.title = "owned"</script><img src=x onerror="alert(1)">'
TEMPLATES = Path(sightline.viewer.__file__).parent / "templates"
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="using a page needs playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("using a page needs chromium")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def expect() -> Any:
    """Waits for what a browser does a moment later: the end of a dialog, a change of what is preferred."""
    return pytest.importorskip("playwright.sync_api").expect


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    """A browser that remembers nothing from the test before."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(5000)
    yield context
    context.close()


@pytest.fixture
def opened(context: Any) -> Iterator[Open]:
    """Opens a page in a new tab; in the end no tab may have complained, asked the network or shown an alert."""
    tabs = []

    def open_page(page: Path) -> Any:
        tab = context.new_page()
        tab.told, tab.complaints = [], []
        tab.on("console", lambda line: (tab.told if line.type == "log" else tab.complaints).append(line.text))
        tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
        tab.on("dialog", lambda dialog: (tab.complaints.append("a dialog"), dialog.dismiss()))
        tab.on("requestfailed", lambda request: tab.complaints.append(f"no {request.url[:80]}"))
        tab.on("request", lambda it: it.url.startswith(("file:", "data:", "blob:")) or tab.complaints.append(it.url))
        tab.goto(page.as_uri())
        tabs.append(tab)
        return tab

    yield open_page
    assert [complaint for tab in tabs for complaint in tab.complaints] == []


@pytest.fixture(scope="module")
def lobby(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven people. p1 and p3 are alike, p1 and p2 too but seen together in two frames; p7 was seen last."""
    people = [
        person(f"p{n}", first=float(n), frames=[10 * n, 10 * n + 1], quality=n / 10, camera="gate" if n > 4 else "hall")
        for n in range(1, 8)
    ]
    people[1] = person("p2", first=2.0, frames=[10, 11, 12], quality=0.2, camera="hall")
    return stage(tmp_path_factory.mktemp("lobby"), people, {(0, 1): 0.9, (0, 2): 0.8}, top=5)


def reload(tab: Any, *, until: Callable[[], bool] = lambda: True) -> None:
    """Again where need be: on a busy machine, what a page keeps may reach the browser's own process only later."""
    for _ in range(20):
        tab.reload()
        if until():
            return
        tab.wait_for_timeout(250)


def open_table(tab: Any) -> None:
    tab.click("#pairs summary")
    tab.locator("#pairs tbody tr").first.wait_for()


def card(tab: Any, name: str) -> Any:
    return tab.locator(".card", has=tab.locator(".name", has_text=name).and_(tab.get_by_text(name, exact=True)))


def pick(tab: Any, *names: str) -> None:
    for name in names:
        card(tab, name).locator(".pick").click()


def names(tab: Any) -> list[str]:
    """As they are in the page; what is far from the window has no rendered text yet."""
    return list(tab.locator(".card .name").all_text_contents())


def selected(tab: Any) -> list[str]:
    return list(tab.locator('.card:has([aria-pressed="true"]) .name').all_text_contents())


def exported(tab: Any) -> dict[str, Any]:
    """The choice as a download, which must be what the page shows for copying."""
    tab.click("#save")
    with tab.expect_download() as download:
        tab.click("#download")
    assert download.value.suggested_filename == "selection.json"
    text = Path(download.value.path()).read_text(encoding="utf-8")
    assert text == tab.locator("#json").input_value()
    tab.click("#close")
    content = json.loads(text)
    assert isinstance(content, dict)
    return content


def shoot(tab: Any, folder: Path, name: str, *, full_page: bool = False) -> None:
    """Kept with the test, and where the environment asks for it, to be looked at."""
    content = tab.screenshot(path=folder / f"{name}.png", full_page=full_page)
    assert content.startswith(b"\x89PNG")
    if kept := os.environ.get("SIGHTLINE_SCREENSHOTS"):
        Path(kept).mkdir(parents=True, exist_ok=True)
        (Path(kept) / f"{name}.png").write_bytes(content)


class TestChoosing:
    def test_a_click_selects_and_another_deselects(self, opened: Open, lobby: Path, tmp_path: Path) -> None:
        tab = opened(lobby)
        pick(tab, "p2", "p4")
        assert sorted(selected(tab)) == ["p2", "p4"]
        assert tab.locator("#summary").inner_text() == "2 people selected: p2, p4"
        shoot(tab, tmp_path, "selected", full_page=True)
        pick(tab, "p2")
        assert selected(tab) == ["p4"]
        assert exported(tab)["selected"] == ["p4"]

    def test_what_the_next_step_waits_for_is_told(self, opened: Open, lobby: Path) -> None:
        tab = opened(lobby)
        pick(tab, "p3")
        assert tab.told == ["SELECTED_PERSON: p3"]
        assert tab.evaluate("localStorage.selected_person_id") == "p3"
        pick(tab, "p4", "p3")
        assert tab.told[1:] == ["SELECTED_PERSON: p4"]
        tab.click("#clear")
        assert tab.evaluate("localStorage.selected_person_id ?? null") is None

    def test_two_cards_are_merged_split_and_both_undone(self, opened: Open, lobby: Path, tmp_path: Path) -> None:
        tab = opened(lobby)
        pick(tab, "p4", "p3")
        tab.click("#merge")
        assert selected(tab) == ["p3 + p4"]
        assert card(tab, "p3 + p4").locator(".facts").inner_text().startswith("0:03 – 0:05")
        assert exported(tab)["merges"] == [["p3", "p4"]]
        shoot(tab, tmp_path, "merged")
        tab.get_by_role("button", name="Split p3 + p4").click()
        assert sorted(selected(tab)) == ["p3", "p4"]
        assert tab.evaluate("document.activeElement.querySelector('.name').textContent") == "p3"
        tab.click("#undo")
        assert selected(tab) == ["p3 + p4"]
        tab.click("#undo")
        assert sorted(selected(tab)) == ["p3", "p4"]
        tab.click("#redo")
        assert selected(tab) == ["p3 + p4"]
        assert [step["action"] for step in exported(tab)["history"]] == ["select", "select", "merge"]

    def test_undo_to_the_beginning_and_redo_to_the_end(self, opened: Open, lobby: Path) -> None:
        tab = opened(lobby)
        pick(tab, "p1", "p2", "p3")
        for _ in range(9):
            tab.keyboard.press("Control+z")
        assert selected(tab) == [] and tab.locator("#undo").get_attribute("aria-disabled") == "true"
        for _ in range(9):
            tab.keyboard.press("Control+Shift+z")
        assert len(selected(tab)) == 3 and tab.locator("#redo").get_attribute("aria-disabled") == "true"
        tab.keyboard.press("Control+z")
        pick(tab, "p5")
        assert tab.locator("#redo").get_attribute("aria-disabled") == "true"  # another way was taken

    def test_people_seen_together_are_merged_only_by_who_insists(
        self, opened: Open, lobby: Path, tmp_path: Path
    ) -> None:
        tab = opened(lobby)
        pick(tab, "p1", "p2")
        tab.click("#merge")
        assert "p1 and p2 were seen together in 2 frames" in tab.locator("#ask").inner_text()
        shoot(tab, tmp_path, "seen-together")
        tab.keyboard.press("Enter")  # the safe answer has the focus
        assert not tab.locator("#ask").is_visible() and len(selected(tab)) == 2
        tab.click("#merge")
        tab.keyboard.press("Escape")
        assert len(selected(tab)) == 2
        tab.click("#merge")
        tab.click("#confirm")
        card(tab, "p1 + p2").wait_for()
        assert selected(tab) == ["p1 + p2"]

    def test_a_card_names_the_most_similar_and_offers_what_may_be_merged(self, opened: Open, lobby: Path) -> None:
        tab = opened(lobby)
        rows = card(tab, "p1").locator(".similar li").all_inner_texts()
        assert [row.split() for row in rows[:2]] == [["p2", "0.90", "together"], ["p3", "0.80", "merge"]]
        assert card(tab, "p4").locator(".badge").count() == 0  # 0.20 all round, below the threshold
        card(tab, "p1").get_by_role("button", name="Merge with p3").click()
        assert "p1 + p3" in names(tab)

    def test_scores_of_random_weights_offer_nothing(self, opened: Open, tmp_path: Path) -> None:
        notes = PageNotes("t", "m", "random", "f", 0.7, False)
        tab = opened(stage(tmp_path, [person("p1"), person("p2")], {(0, 1): 0.99}, notes=notes))
        assert tab.locator(".score").count() == 2 and tab.locator(".badge").count() == 0
        assert tab.get_by_text("Random weights.").is_visible()
        shoot(tab, tmp_path, "random-weights", full_page=True)

    def test_a_card_is_renamed_and_the_name_goes_everywhere(self, opened: Open, lobby: Path) -> None:
        tab = opened(lobby)
        tab.get_by_role("button", name="Rename p3").click()
        tab.keyboard.type("Zoë <b>B</b>")
        tab.keyboard.press("Enter")
        card(tab, "Zoë <b>B</b>").wait_for()
        assert "Zoë <b>B</b>" in card(tab, "p1").locator(".similar").inner_text()
        open_table(tab)
        assert "Zoë <b>B</b>" in tab.locator("#pairs").inner_text()
        assert exported(tab)["names"] == [{"person": "p3", "name": "Zoë <b>B</b>"}]
        tab.get_by_role("button", name="Rename Zoë").click()
        tab.locator("#ask input").fill("")
        tab.click("#confirm")
        card(tab, "p3").wait_for()
        assert exported(tab)["names"] == []

    def test_a_jump_to_somebody_hidden_shows_them(self, opened: Open, lobby: Path) -> None:
        tab = opened(lobby)
        tab.fill("#filter", "p1")
        card(tab, "p1").get_by_role("button", name="Go to p3").click()
        assert tab.evaluate("document.activeElement.querySelector('.name').textContent") == "p3"
        assert tab.locator("#filter").input_value() == ""


class TestSeveralCameras:
    @pytest.fixture
    def street(self, tmp_path: Path) -> Path:
        """a was seen at the gate and in the hall, where it met b; c was in the hall only, and alone."""
        people = [
            person("a", frames=[1, 2, 1, 2, 3], row_cameras=[*["gate"] * 2, *["hall"] * 3], visits=2, seconds=0.4),
            person("b", frames=[3], row_cameras=["hall"], visits=1, seconds=0.1),
            person("c", frames=[9], row_cameras=["hall"], visits=3, seconds=0.2),
        ]
        people[0] = replace(people[0], first_s=0.0, last_s=3600.0)
        notes = PageNotes("street", "m", "onnx", "f", 0.7, True, remark="2 visits are of nobody.")
        return stage(tmp_path, people, {(0, 1): 0.9, (0, 2): 0.8}, notes=notes)

    def test_a_card_shows_all_of_them_and_the_time_in_view(self, opened: Open, street: Path, tmp_path: Path) -> None:
        tab = opened(street)
        assert card(tab, "a").locator(".cameras span").all_inner_texts() == ["gate", "hall"]
        assert card(tab, "a").locator(".facts p").all_inner_texts()[:2] == [
            "0:00 – 1:00:00",
            "2 visits · 0.4 s · 5 frames",
        ]
        assert card(tab, "c").locator(".cameras span").all_inner_texts() == ["hall"]
        assert tab.locator(".figures").inner_text().split("\n")[2:4] == ["cameras", "2"]
        assert tab.locator(".remark").inner_text() == "2 visits are of nobody."
        shoot(tab, tmp_path, "several-cameras", full_page=True)

    def test_order_is_by_time_in_view_and_not_by_time_between(self, opened: Open, street: Path) -> None:
        assert names(opened(street)) == ["a", "c", "b"]

    def test_the_filter_finds_everybody_a_camera_saw(self, opened: Open, street: Path) -> None:
        tab = opened(street)
        tab.fill("#filter", "gate")
        assert names(tab) == ["a"]
        tab.fill("#filter", "hall")
        assert names(tab) == ["a", "c", "b"]

    def test_merged_cards_add_up(self, opened: Open, street: Path) -> None:
        tab = opened(street)
        pick(tab, "a", "c")
        tab.click("#merge")  # never in one frame of one camera, so nobody asks
        merged = card(tab, "a + c")
        merged.wait_for()
        assert merged.locator(".facts p").all_inner_texts()[1] == "5 visits · 0.6 s · 6 frames"
        assert merged.locator(".cameras span").all_inner_texts() == ["gate", "hall"]

    def test_those_one_camera_saw_together_stay_two(self, opened: Open, street: Path) -> None:
        tab = opened(street)
        pick(tab, "a", "b")
        tab.click("#merge")
        assert "seen together in 1 frame" in tab.locator("#ask").inner_text()

    def test_a_card_of_one_camera_names_it_and_one_of_none_is_silent(self, opened: Open, tmp_path: Path) -> None:
        tab = opened(stage(tmp_path, [person("p1", frames=[1], camera="gate"), person("p2")]))
        assert card(tab, "p1").locator(".facts p").all_inner_texts()[1:3] == ["1.0 s · 1 frame", "gate"]
        assert tab.locator(".cameras").count() == 1 and "cameras" not in tab.locator(".figures").inner_text()

    def test_the_names_of_the_most_similar_are_whole(self, opened: Open, tmp_path: Path) -> None:
        frames = {"person-112": [1, 2], "person-113": [1, 2], "person-114": [2]}
        people = [person(name, frames=numbers) for name, numbers in frames.items()]
        tab = opened(stage(tmp_path, people, {(0, 1): -0.25, (1, 2): 0.9}))
        cut = "all => all.filter(element => element.scrollWidth > element.clientWidth).length"
        assert tab.locator(".jump").count() == 6 and tab.eval_on_selector_all(".jump", cut) == 0


class TestFinding:
    def test_the_first_are_shown_and_all_on_request(self, opened: Open, lobby: Path) -> None:
        tab = opened(lobby)
        assert names(tab) == ["p1", "p2", "p3", "p4", "p5"]
        assert tab.locator("#count").inner_text() == "5 of 7"
        tab.click("#more")
        assert len(names(tab)) == 7 and not tab.locator("#more").is_visible()
        assert tab.evaluate("document.activeElement.querySelector('.name').textContent") == "p6"

    def test_the_filter_looks_at_names_ids_and_cameras_of_everybody(self, opened: Open, lobby: Path) -> None:
        tab = opened(lobby)
        tab.fill("#filter", "GATE")
        assert names(tab) == ["p5", "p6", "p7"]
        tab.fill("#filter", "p7")
        assert names(tab) == ["p7"]
        tab.fill("#filter", "nobody of that name")
        assert tab.get_by_text("Nobody matches the filter.").is_visible()
        tab.fill("#filter", "")
        assert len(names(tab)) == 5

    def test_the_order_is_by_time_quality_or_likeness(self, opened: Open, lobby: Path) -> None:
        tab = opened(lobby)
        tab.select_option("#order", "quality")
        assert names(tab) == ["p7", "p6", "p5", "p4", "p3"]
        tab.select_option("#order", "time")
        assert names(tab) == ["p1", "p2", "p3", "p4", "p5"]
        pick(tab, "p3")
        tab.select_option("#order", "similar")
        assert names(tab)[:2] == ["p3", "p1"]


class TestKeeping:
    def test_a_reload_keeps_the_choice_and_what_can_be_undone(self, opened: Open, lobby: Path) -> None:
        tab = opened(lobby)
        pick(tab, "p3", "p4")
        tab.click("#merge")
        pick(tab, "p5")
        tab.click("#undo")
        before = exported(tab)
        reload(tab, until=lambda: selected(tab) == ["p3 + p4"])
        assert selected(tab) == ["p3 + p4"] and exported(tab) == before
        tab.click("#redo")
        assert selected(tab) == ["p3 + p4", "p5"]

    def test_two_pages_do_not_mix(self, opened: Open, lobby: Path, tmp_path: Path) -> None:
        pick(opened(lobby), "p3")
        other = opened(stage(tmp_path, [person("p3"), person("p9")]))
        assert selected(other) == []
        again = opened(lobby)
        reload(again, until=lambda: selected(again) == ["p3"])
        assert selected(again) == ["p3"]

    def test_two_windows_of_one_page_show_one_choice(self, opened: Open, lobby: Path) -> None:
        one, two = opened(lobby), opened(lobby)
        pick(one, "p2")
        two.locator('.card:has([aria-pressed="true"])').wait_for()
        assert selected(two) == ["p2"]

    @pytest.mark.parametrize(
        "kept",
        [
            "nonsense",
            "null",
            "{}",
            '{"steps": [{"action": "select", "persons": ["who"]}], "count": 1}',
            '{"steps": [{"action": "toJson", "persons": ["p1"]}], "count": 1}',
            '{"steps": 5, "count": 1}',
        ],
    )
    def test_what_is_kept_but_makes_no_sense_is_dropped(self, opened: Open, lobby: Path, kept: str) -> None:
        tab = opened(lobby)
        tab.evaluate("([key, text]) => localStorage.setItem(key, text)", [f"sightline:{data_of(lobby)['page']}", kept])
        reload(tab)
        pick(tab, "p1")
        assert selected(tab) == ["p1"]

    def test_a_browser_that_keeps_nothing_says_so_and_works(self, context: Any, opened: Open, lobby: Path) -> None:
        context.add_init_script("Storage.prototype.setItem = () => { throw new DOMException('full'); }")
        tab = opened(lobby)
        pick(tab, "p1", "p2")
        assert len(selected(tab)) == 2
        assert tab.get_by_text("This browser keeps nothing for this page").is_visible()

    def test_the_choice_can_be_copied(self, context: Any, opened: Open, lobby: Path) -> None:
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        tab = opened(lobby)
        pick(tab, "p1")
        tab.click("#save")
        tab.click("#copy")
        tab.get_by_text("Copied.").wait_for()
        assert tab.evaluate("navigator.clipboard.readText()") == tab.locator("#json").input_value()


class TestSameAsTheCommand:
    def test_the_command_writes_what_the_page_exports(self, opened: Open, lobby: Path, tmp_path: Path) -> None:
        tab = opened(lobby)
        pick(tab, "p3", "p2")
        tab.click("#save")
        text = tab.locator("#json").input_value()
        assert main(["select", str(lobby), "--persons", "p3,p2", "-o", str(tmp_path), "-q"]) == 0
        assert (tmp_path / "selection.json").read_bytes() == text.encode()

    def test_both_replay_any_steps_to_the_same_characters(self, browser: Any, tmp_path: Path) -> None:
        """Ids that JavaScript would reorder or lose as keys, and all that JSON has an escape for."""
        ids = ["10", "9", "__proto__", 'a\u2028\x7f\x1f"\\/', "😀", "\udc80", "constructor", ""]
        rng = random.Random(5)
        source = (TEMPLATES / "choice.js").read_text(encoding="utf-8")
        replay = f"(text) => {{ {source}; const [ids, steps] = JSON.parse(text);"
        replay += 'return new Board(ids, steps).toJson("abc", "1.2"); }'
        tab = browser.new_page()
        people = PageTracks("abc", "1.2", dict.fromkeys(ids, NO_TRACK))
        for _ in range(150):
            steps = [
                Step(
                    rng.choice(ACTIONS), tuple(rng.sample(ids, rng.randint(1, 3))), rng.choice(["", "É\n", "__proto__"])
                )
                for _ in range(rng.randint(0, 14))
            ]
            write_selection(tmp_path / "s.json", Choice(ids, steps), people=people)
            told = tab.evaluate(replay, json.dumps([ids, [step.to_json() for step in steps]]))
            assert told.encode() == (tmp_path / "s.json").read_bytes()
        tab.close()


class TestEverybodyCanUseIt:
    def test_the_keyboard_alone_is_enough(self, opened: Open, lobby: Path) -> None:
        tab = opened(lobby)
        focused = "document.activeElement.id || document.activeElement.className"
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.textContent") == "Skip to the people"
        tab.keyboard.press("Enter")
        assert tab.evaluate("document.activeElement.id") == "people"
        while tab.evaluate(focused) != "pick":
            tab.keyboard.press("Tab")
        tab.keyboard.press("ArrowRight")
        tab.keyboard.press("ArrowRight")
        tab.keyboard.press("Space")
        tab.keyboard.press("ArrowRight")
        tab.keyboard.press("Enter")
        assert selected(tab) == ["p3", "p4"]
        outline = tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        while tab.evaluate(focused) != "merge":
            tab.keyboard.press("Tab")
        tab.keyboard.press("Enter")
        assert selected(tab) == ["p3 + p4"]
        tab.keyboard.press("Control+z")
        assert len(selected(tab)) == 2

    def test_what_happens_is_said_aloud(self, opened: Open, lobby: Path) -> None:
        tab = opened(lobby)
        live = tab.locator("#live")
        assert live.get_attribute("aria-live") == "polite"
        pick(tab, "p2")
        assert live.inner_text() == "Selected p2. 1 person selected: p2"
        tab.click("#undo")
        assert live.inner_text() == "Undone: select. Nobody is selected."

    def test_every_control_has_a_name_and_no_id_is_there_twice(self, opened: Open, lobby: Path) -> None:
        tab = opened(lobby)
        tree = tab.locator("body").aria_snapshot()
        assert tree.count('button "Rename p') == 5 and "- button\n" not in tree and "- textbox\n" not in tree
        ids = tab.eval_on_selector_all("[id]", "all => all.map(element => element.id)")
        assert len(set(ids)) == len(ids)

    def test_the_table_says_what_the_picture_shows(self, opened: Open, lobby: Path) -> None:
        tab = opened(lobby)
        open_table(tab)
        cells = "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
        rows = tab.eval_on_selector_all("#pairs tbody tr", cells)
        assert rows[:2] == [["p1", "p2", "0.90", "2 frames"], ["p1", "p3", "0.80", "0 frames"]]
        assert len(rows) == 7 * 6 // 2

    def test_the_picture_reads_out_pairs_to_mouse_and_keyboard(self, opened: Open, lobby: Path) -> None:
        tab = opened(lobby)
        readout = tab.locator("output")
        tab.locator("canvas").focus()
        assert readout.inner_text() == "p1 and p2: 0.90, seen together in 2 frames"
        tab.keyboard.press("ArrowRight")
        assert readout.inner_text() == "p1 and p3: 0.80"
        tab.keyboard.press("Enter")
        assert sorted(selected(tab)) == ["p1", "p3"]
        box = tab.locator("canvas").bounding_box()
        tab.locator("canvas").hover(position={"x": box["width"] - 5, "y": box["height"] - 5})
        assert readout.inner_text() == "p7"

    def test_a_pair_above_the_threshold_is_orange_and_one_below_is_not(self, opened: Open, lobby: Path) -> None:
        tab = opened(lobby)
        first_row = """() => { const canvas = document.querySelector("canvas"), cell = 64;
            const margin = canvas.width - 7 * cell;
            const row = canvas.getContext("2d").getImageData(margin, margin + 4, 7 * cell, 1).data;
            return [...Array(7).keys()].map(j => [...row.slice(4 * (j * cell + 4), 4 * (j * cell + 5))]); }"""
        _, _, alike, _, different, _, _ = tab.evaluate(first_row)
        assert alike[0] > alike[2] + 60 and different[2] >= different[0]

    def test_pictures_stand_still_where_motion_is_not_wanted(self, opened: Open, lobby: Path, expect: Any) -> None:
        tab = opened(lobby)
        wanted = data_of(lobby)["people"][0]
        picture = card(tab, "p1").locator("img")
        assert picture.get_attribute("src") == wanted["clip"]
        tab.emulate_media(reduced_motion="reduce")
        assert wanted["still"] != wanted["clip"]
        expect(picture).to_have_attribute("src", wanted["still"])
        tab.emulate_media(reduced_motion="no-preference")
        expect(picture).to_have_attribute("src", wanted["clip"])
        tab.click("#pause")
        assert picture.get_attribute("src") == wanted["still"]
        reload(tab, until=lambda: picture.get_attribute("src") == wanted["still"])
        assert picture.get_attribute("src") == wanted["still"]

    def test_it_is_dark_or_light_as_preferred_or_as_switched(self, opened: Open, lobby: Path, tmp_path: Path) -> None:
        tab = opened(lobby)
        brightness = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
        assert tab.evaluate(brightness) > 200
        tab.emulate_media(color_scheme="dark")
        assert tab.evaluate(brightness) < 60
        shoot(tab, tmp_path, "dark", full_page=True)
        tab.click("#theme")
        assert tab.evaluate(brightness) > 200
        reload(tab, until=lambda: tab.evaluate(brightness) > 200)
        assert tab.evaluate(brightness) > 200
        shoot(tab, tmp_path, "light", full_page=True)

    @pytest.mark.parametrize("width", [320, 360, 768])
    def test_no_width_scrolls_sideways(self, opened: Open, tmp_path: Path, width: int) -> None:
        long = "x" * 500
        people = [person(long, camera=long), person("p2", frames=[1]), person("p3", frames=[1])]
        tab = opened(
            stage(tmp_path, people, {(1, 2): 0.9}, notes=PageNotes(long, long, "onnx", long, 0.7, False, long))
        )
        tab.set_viewport_size({"width": width, "height": 740})
        pick(tab, "p2", "p3")
        open_table(tab)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        shoot(tab, tmp_path, f"width-{width}")


class TestHowMany:
    def test_two_hundred_people_are_shown_chosen_and_merged(self, opened: Open, tmp_path: Path) -> None:
        people = [person(f"p{n}", first=n / 10, crops=2) for n in range(200)]
        tab = opened(stage(tmp_path, people, {(n, n + 1): 0.9 for n in range(0, 200, 4)}))
        assert len(names(tab)) == 10
        tab.click("#more")
        assert len(names(tab)) == 200
        pick(tab, "p150", "p199")
        tab.click("#merge")
        assert selected(tab) == ["p150 + p199"] and len(names(tab)) == 199
        tab.get_by_role("button", name="Split p150 + p199").click()
        pick(tab, "p150")
        assert selected(tab) == ["p199"]
        card(tab, "p199").scroll_into_view_if_needed()
        loaded = "image => image.complete && image.naturalWidth"
        card(tab, "p199").locator("img").evaluate("image => image.decode()")
        assert card(tab, "p199").locator("img").evaluate(loaded) == 64
        tab.locator("canvas").hover(position={"x": 1, "y": 4})
        assert tab.locator("output").inner_text() == "p1 and p0: 0.90"
        shoot(tab, tmp_path, "two-hundred")
        open_table(tab)
        assert tab.locator("#pairs tbody tr").count() == 100
        tab.click("#pairs button")
        assert tab.locator("#pairs tbody tr").count() == 200

    def test_nobody_is_said_to_be_nobody(self, opened: Open, tmp_path: Path) -> None:
        tab = opened(stage(tmp_path, []))
        assert tab.get_by_text("Nobody was found, so there is nobody to choose.").is_visible()
        assert not tab.locator("canvas").is_visible() and not tab.locator("#filter").is_visible()
        assert exported(tab)["selected"] == []
        shoot(tab, tmp_path, "nobody")

    def test_one_person_is_chosen_without_comparisons(self, opened: Open, tmp_path: Path) -> None:
        tab = opened(stage(tmp_path, [person("p1")]))
        assert tab.get_by_text("Nobody to compare with").is_visible() and not tab.locator("canvas").is_visible()
        pick(tab, "p1")
        assert exported(tab)["selected"] == ["p1"]
        shoot(tab, tmp_path, "one-person")

    def test_somebody_without_a_picture_or_a_time_is_chosen_all_the_same(self, opened: Open, tmp_path: Path) -> None:
        tab = opened(stage(tmp_path, [person("p1", crops=0), person("p2", first=float("nan"))]))
        assert tab.get_by_text("no picture").is_visible() and tab.get_by_text("time not known").is_visible()
        pick(tab, "p1")
        assert selected(tab) == ["p1"]


class TestHostileNames:
    def test_a_name_with_markup_and_script_is_shown_and_does_nothing(
        self, opened: Open, tmp_path: Path, expect: Any
    ) -> None:
        people = [
            person(EVIL, camera=EVIL),
            person("'\"><svg onload=alert(1)>"),
            person("😀" * 2500),
            person("{{7*7}}"),
        ]
        page = stage(tmp_path, people, {(0, 1): 0.9}, notes=PageNotes(EVIL, EVIL, "onnx", EVIL, 0.7, True, EVIL))
        tab = opened(page)
        assert EVIL in names(tab) and "{{7*7}}" in names(tab)
        tab.get_by_role("button", name="Rename {{7*7}}").click()
        tab.locator("#ask input").fill(EVIL)
        tab.click("#confirm")
        expect(tab.get_by_role("button", name="Rename {{7*7}}")).to_have_count(0)
        open_table(tab)
        tab.locator(".pick").nth(0).click()
        tab.locator(".pick").nth(1).click()
        tab.click("#merge")
        content = exported(tab)
        reload(tab, until=lambda: len(selected(tab)) == 1)
        shoot(tab, tmp_path, "hostile-names", full_page=True)
        assert tab.title() == f"Who is who · {EVIL}"
        assert tab.locator("svg, img[src=x]").count() == 0 and tab.locator("script").count() == 2
        assert exported(tab) == content and content["names"][0]["name"] == EVIL
