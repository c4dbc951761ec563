from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from painted_people import Painted, mean_colour, mean_colour_model, paint
from sightline.card import Threshold
from sightline.errors import ImageError, SightlineError
from sightline.reid.embedder import Embedder
from sightline.reid.thresholds import Calibration, keep_thresholds
from sightline.reid.verify import Subject, compare, read_pairs, subject_of, verify, verify_pairs
from sightline.runtime.open import open_session
from sightline.types import FloatArray


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> list[Painted]:
    """Each in a folder of their own."""
    home = tmp_path_factory.mktemp("people")
    return [shot for name in "ab" for shot in paint(home / name, people=[name], cameras=2, seed=ord(name))]


@pytest.fixture
def embedder(tmp_path: Path) -> Iterator[Embedder]:
    with open_session(mean_colour_model(tmp_path / "colour.onnx")) as session:
        yield Embedder(session)


@pytest.fixture
def calibrated(embedder: Embedder) -> Embedder:
    kinds = [Threshold(0.5, 0.01, "single", 5_000), Threshold(0.9, 0.01, "averaged", 5_000)]
    keep_thresholds(embedder, kinds, beside=True)
    return embedder


def average(people: list[Painted], who: str) -> FloatArray:
    mean = np.mean([mean_colour(shot.path) for shot in people if shot.person == who], axis=0)
    return np.asarray(mean / np.linalg.norm(mean), np.float32)


def folder(people: list[Painted], who: str) -> Path:
    return next(shot.path.parent for shot in people if shot.person == who)


class TestTwoSides:
    def test_two_images_score_their_cosine(self, embedder: Embedder, people: list[Painted]) -> None:
        a, b = people[0].path, people[-1].path
        found = verify(embedder, a, b)
        assert found.score == pytest.approx(float(mean_colour(a) @ mean_colour(b)), abs=1e-5)
        assert found.aggregation == "single"

    def test_two_folders_score_the_cosine_of_their_averages(self, embedder: Embedder, people: list[Painted]) -> None:
        found = verify(embedder, folder(people, "a"), folder(people, "b"))
        assert found.score == pytest.approx(float(average(people, "a") @ average(people, "b")), abs=1e-5)
        assert found.aggregation == "averaged"

    def test_a_folder_of_one_image_is_a_single_crop(
        self, embedder: Embedder, people: list[Painted], tmp_path: Path
    ) -> None:
        (tmp_path / "one").mkdir()
        (tmp_path / "one/x.png").write_bytes(people[0].path.read_bytes())
        found = verify(embedder, tmp_path / "one", people[0].path)
        assert found.aggregation == "single" and found.score == pytest.approx(1)

    def test_without_a_threshold_nothing_is_decided(self, embedder: Embedder, people: list[Painted]) -> None:
        found = verify(embedder, people[0].path, people[0].path)
        assert found.decision == "undecided" and "not calibrated" in found.limit.source

    @pytest.mark.parametrize(("threshold", "decision"), [(0.99, "same"), (1.0, "different")])
    def test_a_threshold_by_hand_decides(
        self, embedder: Embedder, people: list[Painted], threshold: float, decision: str
    ) -> None:
        near, other = [shot.path for shot in people if shot.person == "a"][:2]
        assert 0.99 < float(mean_colour(near) @ mean_colour(other)) < 0.99999  # what the two thresholds lie around
        assert verify(embedder, near, other, threshold=threshold).decision == decision

    def test_each_kind_is_decided_by_its_own_threshold(self, calibrated: Embedder, people: list[Painted]) -> None:
        single = verify(calibrated, people[0].path, people[-1].path)
        averaged = verify(calibrated, folder(people, "a"), folder(people, "b"))
        assert (single.limit.value, averaged.limit.value) == (0.5, 0.9)
        assert single.limit.far == 0.01

    def test_a_crop_and_an_average_are_not_decided_by_either(self, calibrated: Embedder, people: list[Painted]) -> None:
        found = verify(calibrated, people[0].path, folder(people, "a"))
        assert found.aggregation is None and found.decision == "undecided"

    def test_an_image_in_a_track_that_cannot_be_read_is_left_out_aloud(
        self, embedder: Embedder, people: list[Painted], tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        for index, shot in enumerate(people[:2]):
            (tmp_path / f"{index}.png").write_bytes(shot.path.read_bytes())
        (tmp_path / "z.png").write_bytes(b"")
        assert len(subject_of(embedder, tmp_path)) == 2
        assert "z.png is empty" in caplog.text

    def test_a_track_of_which_nothing_can_be_read_is_named(self, embedder: Embedder, tmp_path: Path) -> None:
        (tmp_path / "y.png").write_bytes(b"")
        (tmp_path / "z.png").write_bytes(b"no image")
        with pytest.raises(ImageError, match=r"y\.png is empty \(0 bytes\) \(nor can 1 others in"):
            subject_of(embedder, tmp_path)

    def test_what_is_not_there_is_named(self, embedder: Embedder, people: list[Painted], tmp_path: Path) -> None:
        with pytest.raises(ImageError, match=r"no images in .*nobody\.png"):
            verify(embedder, people[0].path, tmp_path / "nobody.png")

    def test_vectors_of_two_models_are_not_compared(self) -> None:
        vector = np.ones((1, 1), np.float32)
        a, b = Subject("a", vector, "aa" * 8), Subject("b", vector, "bb" * 8)
        with pytest.raises(SightlineError, match="different models"):
            compare(a, b, limit=Calibration((), "").limit("single"))


class TestManyPairs:
    def test_they_are_answered_in_their_order_and_each_file_is_embedded_once(
        self, embedder: Embedder, people: list[Painted], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[Path] = []
        original = embedder.embed_files
        monkeypatch.setattr(embedder, "embed_files", lambda paths: asked.extend(paths) or original(paths))
        names = [str(shot.path) for shot in people]
        pairs = [(names[0], names[1]), (names[1], names[0]), (names[0], names[-1])]
        scores = [found.score for found in verify_pairs(embedder, pairs) if not isinstance(found, ImageError)]
        expected = [float(mean_colour(Path(a)) @ mean_colour(Path(b))) for a, b in pairs]
        assert scores == pytest.approx(expected, abs=1e-5)
        assert sorted(asked) == sorted({people[0].path, people[1].path, people[-1].path})

    def test_one_that_cannot_be_read_does_not_stop_the_others(
        self, embedder: Embedder, people: list[Painted], tmp_path: Path
    ) -> None:
        good, gone = str(people[0].path), str(tmp_path / "gone.png")
        lost, answered = verify_pairs(embedder, [(good, gone), (good, good)])
        assert isinstance(lost, ImageError) and "gone.png" in str(lost)
        assert not isinstance(answered, ImageError) and answered.score == pytest.approx(1)


class TestTheList:
    def test_paths_are_relative_to_it_and_other_columns_are_passed_over(self, tmp_path: Path) -> None:
        (tmp_path / "pairs.csv").write_text('note,b,a\nx,"two, of them.png",1.png\n\n,4.png,/abs/3.png\n', "utf-8")
        assert read_pairs(tmp_path / "pairs.csv") == [
            (str(tmp_path / "1.png"), str(tmp_path / "two, of them.png")),
            ("/abs/3.png", str(tmp_path / "4.png")),
        ]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "its first line is ''"),
            (b"x,y\n1,2\n", "its first line is 'x,y'"),
            (b"a,b,a\n1,2,3\n", "its first line is 'a,b,a'"),
            (b"a,b\n", "lists no pairs"),
            (b"a,b\n1.png,2.png\n3.png\n", "row 3 names no two images"),
            (b"a,b\n\xff\xfe,2\n", "not CSV in UTF-8"),
            (b'a,b\n"' + b"x" * 200_000 + b'",2\n', "not CSV"),
        ],
    )
    def test_one_that_cannot_be_meant_is_told(self, tmp_path: Path, content: bytes, message: str) -> None:
        (tmp_path / "pairs.csv").write_bytes(content)
        with pytest.raises(ImageError, match=message) as caught:
            read_pairs(tmp_path / "pairs.csv")
        assert "pairs.csv" in str(caught.value)

    def test_one_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match="cannot be read: No such file"):
            read_pairs(tmp_path / "pairs.csv")
