"""The page of a run over visits: one card for everybody, whoever of the cameras saw them."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from kept_visits import FPS, visit
from sightline.cli import main
from sightline.cli.people_outcome import notes_of, write_people_page
from sightline.pipeline.people.visits import Decision, Visit
from sightline.pipeline.people.visits_folder import keep_visit
from sightline.reid.similarity import ModelUsed
from sightline.reid.thresholds import Limit
from sightline.types import FloatArray
from sightline.viewer.page import PageNotes
from sightline.viewer.tracks import read_tracks

NOTES = PageNotes("two gates", "osnet", "onnx", "ab12", 0.7, True)
STARTS_S = {"gate": 1000.0, "hall": 1060.0}
SMALL = (64, 64)
Who = dict[tuple[str, int], str | None]


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert found is not None
    data = json.loads(found[1])
    assert isinstance(data, dict)
    return data


def similarity_of(page: Path) -> FloatArray:
    import base64

    data = data_of(page)
    steps = np.frombuffer(base64.b64decode(data["similarity"]), "<i2").astype(np.float32)
    return np.where(steps == -32768, np.nan, steps / 10_000).reshape(len(data["people"]), -1)


def page_of(out: Path, visits: list[Visit], who: Who, **options: Any) -> Path:
    for one in visits:
        keep_visit(out, one)
    decisions = {key: Decision("matched", name, "so it is") for key, name in who.items()}
    return write_people_page(out, decisions, starts_s=STARTS_S, notes=NOTES, clip_size=SMALL, **options)


class TestCards:
    def test_somebody_of_two_cameras_is_one_card(self, tmp_path: Path) -> None:
        visits = [visit(1, frames=[0, 10]), visit(2, frames=[40, 45]), visit(1, "hall", frames=[10, 11, 12])]
        who: Who = {("gate", 1): "person-1", ("gate", 2): "person-2", ("hall", 1): "person-1"}
        first, second = data_of(page_of(tmp_path, visits, who))["people"]
        assert (first["id"], first["cameras"], first["visits"], first["frames"]) == (
            "person-1",
            ["gate", "hall"],
            2,
            5,
        )
        assert (first["first"], first["last"], first["seconds"]) == (0.0, 61.2, pytest.approx(10 / FPS + 2 / FPS))
        assert (second["id"], second["cameras"], second["first"]) == ("person-2", ["gate"], 4.0)

    def test_whoever_was_seen_longest_comes_first(self, tmp_path: Path) -> None:
        visits = [visit(1, frames=[0, 5]), visit(2, frames=[0, 9]), visit(3, frames=[20, 27])]
        who: Who = {("gate", 1): "a", ("gate", 2): "b", ("gate", 3): "a"}
        assert [card["id"] for card in data_of(page_of(tmp_path, visits, who))["people"]] == ["a", "b"]

    def test_visits_of_nobody_are_counted_and_have_no_card(self, tmp_path: Path) -> None:
        visits = [visit(1), visit(2, vector=None, crops=()), visit(3)]
        data = data_of(page_of(tmp_path, visits, {("gate", 1): "a", ("gate", 2): None}))
        assert [card["id"] for card in data["people"]] == ["a"]
        assert data["notes"]["remark"].startswith("2 visits were of nobody who could be named and are not on this")

    def test_without_any_visit_there_is_a_page_of_nobody(self, tmp_path: Path) -> None:
        data = data_of(page_of(tmp_path, [], {}))
        assert data["people"] == [] and data["notes"]["remark"] == ""

    def test_frames_of_two_cameras_are_never_together(self, tmp_path: Path) -> None:
        visits = [visit(1), visit(2, frames=[13, 14]), visit(1, "hall")]
        who: Who = {("gate", 1): "a", ("gate", 2): "b", ("hall", 1): "c"}
        data = data_of(page_of(tmp_path, visits, who))
        assert [card["id"] for card in data["people"]] == ["a", "c", "b"] and data["together"] == [[0, 2, 1]]

    def test_the_notes_say_whether_the_threshold_was_measured(self) -> None:
        model = ModelUsed("osnet_x0_25", "onnx", "trained", "ab12")
        measured = notes_of(model, Limit(0.61, 0.01, 5000, "card"), title="t", video="v.mp4")
        assert (measured.threshold, measured.calibrated, measured.video) == (0.61, True, "v.mp4")
        assert (measured.model, measured.model_type, measured.fingerprint) == ("osnet_x0_25", "onnx", "ab12")
        usual = notes_of(model, Limit(None, None, 0, "nobody"), title="t")
        assert (usual.threshold, usual.calibrated) == (0.7, False)


class TestSimilarity:
    def test_it_is_the_cosine_of_averages_over_all_visits(self, tmp_path: Path) -> None:
        visits = [
            visit(1, vector=(1, 0), frames=[0, 30]),
            visit(2, vector=(0, 1)),
            visit(3, vector=(0.6, 0.8)),
            visit(4, vector=None, frames=[7]),
        ]
        who: Who = {("gate", 1): "a", ("gate", 2): "a", ("gate", 3): "b", ("gate", 4): "c"}
        scores = similarity_of(page_of(tmp_path, visits, who))
        assert scores[0, 1] == pytest.approx((0.6 + 0.8) / np.sqrt(2), abs=1e-4)  # of (1, 1)/√2 and (0.6, 0.8)
        assert scores[0, 0] == scores[1, 1] == 1 and scores[0, 1] == scores[1, 0]
        assert np.isnan(scores[2]).all() and np.isnan(scores[:, 2]).all()


class TestPictures:
    def clip(self, out: Path, name: str) -> list[tuple[int, ...]]:
        """The middle colour of every frame of a clip."""
        with PillowImage.open(out / "webp" / f"person_{name}.webp") as moving:
            shown = []
            for frame in range(getattr(moving, "n_frames", 1)):
                moving.seek(frame)
                shown.append(moving.convert("RGB").getpixel((32, 24)))
        return [pixel for pixel in shown if isinstance(pixel, tuple)]

    def test_they_are_of_all_visits_in_order_of_time(self, tmp_path: Path) -> None:
        visits = [visit(2, frames=range(40, 44), crops=[41, 43]), visit(1, "hall", crops=[11]), visit(1, crops=[12])]
        who: Who = {("gate", 2): "a", ("hall", 1): "a", ("gate", 1): "a"}
        page_of(tmp_path, visits, who)
        expected = [np.random.default_rng(frame).integers(0, 256, (4, 1, 3), np.uint8) for frame in (12, 41, 43, 11)]
        shown = self.clip(tmp_path, "a")
        assert len(shown) == 4
        for pixel, stripes in zip(shown, expected, strict=True):
            assert np.abs(np.array(pixel) - stripes[1, 0, ::-1]).max() < 40

    def test_of_many_the_best_visits_come_first(self, tmp_path: Path) -> None:
        visits = [
            visit(n, frames=[10 * n, 10 * n + 1], crops=[10 * n, 10 * n + 1], quality=n / 10) for n in range(1, 7)
        ]
        page_of(tmp_path, visits, {("gate", n): "a" for n in range(1, 7)}, crops=2)
        assert len(self.clip(tmp_path, "a")) == 2
        expected = np.random.default_rng(51).integers(0, 256, (4, 1, 3), np.uint8)[1, 0, ::-1]
        assert np.abs(np.array(self.clip(tmp_path, "a")[0]) - expected).max() < 40  # the larger of visit 5

    def test_of_a_crowd_everybody_has_fewer(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sightline.cli.people_outcome.CLIP_CROPS", 6)
        visits = [visit(n, crops=[10, 11, 12, 13]) for n in (1, 2, 3)]
        page_of(tmp_path, visits, {("gate", n): f"p{n}" for n in (1, 2, 3)})
        assert [len(self.clip(tmp_path, f"p{n}")) for n in (1, 2, 3)] == [2, 2, 2]

    def test_a_broken_one_is_named_and_left_out(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        folder = keep_visit(tmp_path, visit(1))
        (folder / "000011.jpg").write_bytes(b"\xff\xd8\xff broken")
        with caplog.at_level(logging.WARNING, logger="sightline"):
            decisions = {("gate", 1): Decision("new", "a", "")}
            write_people_page(tmp_path, decisions, starts_s=STARTS_S, notes=NOTES, clip_size=SMALL)
        assert "000011.jpg" in caplog.text and "the page does without it" in caplog.text
        assert len(self.clip(tmp_path, "a")) == 1


class TestTracks:
    def test_every_row_knows_its_camera_and_a_choice_is_carried_into_files(self, tmp_path: Path) -> None:
        visits = [visit(1, frames=[3, 4]), visit(2, frames=[20]), visit(1, "hall", frames=[3, 4, 5])]
        who: Who = {("gate", 1): "person-1", ("gate", 2): "person-1", ("hall", 1): "person-1"}
        page_of(tmp_path, visits, who)
        kept = read_tracks(tmp_path)
        track = kept.tracks["person-1"]
        named = [(kept.cameras[place], frame) for place, frame in zip(track.cameras, track.frames, strict=True)]
        assert named == [("gate", 3), ("gate", 4), ("gate", 20), ("hall", 3), ("hall", 4), ("hall", 5)]
        assert main(["select", str(tmp_path), "--persons", "person-1", "-q"]) == 0
        frames = {
            camera: np.load(tmp_path / "cameras" / camera / "selected_person.npz")["frame_numbers"].tolist()
            for camera in ("gate", "hall")
        }
        assert frames == {"gate": [3, 4, 20], "hall": [3, 4, 5]}

    def test_a_run_of_one_camera_is_chosen_from_as_ever(self, tmp_path: Path) -> None:
        page_of(tmp_path, [visit(1), visit(2)], {("gate", 1): "a", ("gate", 2): "a"})
        assert main(["select", str(tmp_path), "--persons", "a", "-q"]) == 0
        with np.load(tmp_path / "selected_person.npz") as archive:
            assert set(archive) == {"frame_numbers", "bboxes", "confidences"}
            assert archive["frame_numbers"].tolist() == [10, 11, 12, 13]  # two boxes a frame: the more confident stays

    def test_the_same_visits_are_the_same_page(self, tmp_path: Path) -> None:
        pages = [page_of(tmp_path / name, [visit(1), visit(2)], {("gate", 1): "a"}) for name in "ab"]
        assert pages[0].read_bytes() == pages[1].read_bytes()
