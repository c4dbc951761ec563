from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from painted_people import mean_colour, mean_colour_model, paint
from sightline.card import Threshold
from sightline.errors import CardError, ImageError, SightlineError
from sightline.nets.checkpoint import save_checkpoint
from sightline.nets.osnet import build_osnet
from sightline.reid.embedder import Embedder
from sightline.reid.identify import CACHE_NAME, Identification, IdentityFolder, identify
from sightline.reid.thresholds import Calibration, keep_thresholds
from sightline.reid.verify import Subject, subject_of
from sightline.runtime.cards import Claims
from sightline.runtime.open import open_session

PEOPLE = "abcd"


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    """A subfolder for each of four people, four pictures in each."""
    home = tmp_path / "gallery"
    for shot in paint(tmp_path / "shots", people=PEOPLE, cameras=2):
        (home / shot.person).mkdir(parents=True, exist_ok=True)
        shutil.move(shot.path, home / shot.person / shot.path.name)
    return home


@pytest.fixture
def embedder(tmp_path: Path) -> Iterator[Embedder]:
    with open_session(mean_colour_model(tmp_path / "colour.onnx")) as session:
        yield Embedder(session)


class Counting:
    """What an embedder is asked to embed."""

    def __init__(self, embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self._original = embedder.embed_files
        monkeypatch.setattr(embedder, "embed_files", self._embed_files)

    def _embed_files(self, paths: Sequence[Path]) -> object:
        self.names += [f"{path.parent.name}/{path.name}" for path in paths]
        return self._original(paths)

    def taken(self) -> list[str]:
        names, self.names = sorted(self.names), []
        return names


def vectors_in(folder: Path) -> np.ndarray:
    return np.stack([mean_colour(path) for path in sorted(folder.iterdir())])


def made(identities: dict[str, list[list[float]]], embedder: Embedder, *thresholds: Threshold) -> IdentityFolder:
    """A gallery of vectors in the plane, normalised."""
    subjects = tuple(subject(name, rows, embedder.fingerprint) for name, rows in sorted(identities.items()))
    return IdentityFolder(Path("made"), subjects, Calibration(thresholds, "the card"))


def subject(name: str, rows: list[list[float]], fingerprint: str) -> Subject:
    vectors = np.array(rows, np.float32)
    return Subject(name, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), fingerprint)


SINGLE, AVERAGED = Threshold(0.9, 0.001, "single", 20_000), Threshold(0.95, 0.002, "averaged", 20_000)


class TestScores:
    def test_the_closest_two_crops_count_for_a_single_query(self, gallery: Path, embedder: Embedder) -> None:
        query = gallery / "b" / sorted(path.name for path in (gallery / "b").iterdir())[1]
        opened = IdentityFolder.open(gallery, embedder)
        found = identify(opened, subject_of(embedder, query), top_k=4)
        expected = {who: float((vectors_in(gallery / who) @ mean_colour(query)).max()) for who in PEOPLE}
        assert {c.identity: c.score for c in found.candidates} == pytest.approx(expected, abs=1e-5)
        assert [c.identity for c in found.candidates] == sorted(expected, key=lambda who: -expected[who])
        assert (found.method, found.aggregation) == ("best", "single")

    def test_averages_count_for_a_query_of_several(self, gallery: Path, embedder: Embedder, tmp_path: Path) -> None:
        track = tmp_path / "track"
        shutil.copytree(gallery / "c", track)
        found = identify(IdentityFolder.open(gallery, embedder), subject_of(embedder, track), top_k=4)

        def average(folder: Path) -> np.ndarray:
            mean = vectors_in(folder).mean(axis=0)
            return mean / np.linalg.norm(mean)

        expected = {who: float(average(gallery / who) @ average(track)) for who in PEOPLE}
        assert {c.identity: c.score for c in found.candidates} == pytest.approx(expected, abs=1e-5)
        assert (found.method, found.aggregation) == ("averaged", "averaged")

    def test_no_more_than_asked_for_are_listed(self, gallery: Path, embedder: Embedder) -> None:
        opened = IdentityFolder.open(gallery, embedder)
        found = identify(opened, subject_of(embedder, gallery / "a"), top_k=1, threshold=-1.0, margin=0)
        assert len(found.candidates) == 1
        assert found.match is not None and found.match.runner_up is not None


class TestDecision:
    def decided(self, embedder: Embedder, query: list[list[float]], **options: object) -> Identification:
        near = {"ann": [[1, 0], [1, 0.1]], "bob": [[0.6, 0.8], [0.6, 0.8]]}
        asked = subject("query", query, embedder.fingerprint)
        return identify(made(near, embedder, SINGLE, AVERAGED), asked, **options)

    def test_somebody_close_enough_and_far_enough_ahead_is_recognised(self, embedder: Embedder) -> None:
        found = self.decided(embedder, [[1, 0]])
        assert found.match is not None
        assert (found.match.identity, found.match.runner_up) == ("ann", "bob")
        assert found.match.runner_up_score == pytest.approx(0.6) and found.reason == ""

    def test_below_the_threshold_it_is_nobody(self, embedder: Embedder) -> None:
        found = self.decided(embedder, [[1, -0.6]])
        assert found.match is not None and found.match.identity is None
        assert "ann" in found.reason and "below the threshold 0.9000" in found.reason

    def test_too_little_ahead_of_the_next_it_is_nobody(self, embedder: Embedder) -> None:
        query = [[0.8, 0.46]]  # between the two: 0.919 of bob, 0.912 of ann
        assert self.decided(embedder, query, margin=0.2).match.identity is None  # type: ignore[union-attr]  # decided
        found = self.decided(embedder, query, margin=0.0)
        assert found.match is not None and found.match.identity == "bob"

    def test_a_tie_is_nobody_even_without_a_margin(self, embedder: Embedder) -> None:
        twins = made({"ann": [[1, 0]], "bob": [[1, 0]]}, embedder, SINGLE)
        found = identify(twins, subject("query", [[1, 0]], embedder.fingerprint), margin=0.0)
        assert found.match is not None and found.match.identity is None
        assert "only 0.0000 ahead" in found.reason

    def test_without_a_threshold_nothing_is_decided_and_the_scores_are_still_told(self, embedder: Embedder) -> None:
        found = identify(made({"ann": [[1, 0]]}, embedder), subject("query", [[1, 0]], embedder.fingerprint))
        assert found.match is None and found.candidates[0].score == pytest.approx(1)
        assert "not calibrated" in found.reason

    def test_each_way_to_compare_has_its_own_threshold(self, embedder: Embedder) -> None:
        assert self.decided(embedder, [[1, 0]]).limit.value == 0.9
        assert self.decided(embedder, [[1, 0], [1, 0]]).limit.value == 0.95
        assert self.decided(embedder, [[1, 0], [1, 0]], method="best").limit.value == 0.9

    def test_a_single_crop_against_averages_has_none(self, embedder: Embedder) -> None:
        found = self.decided(embedder, [[1, 0]], method="averaged")
        assert found.match is None and found.aggregation is None
        assert self.decided(embedder, [[1, 0]], method="averaged", threshold=0.5).match is not None

    def test_the_only_identity_needs_no_lead(self, embedder: Embedder) -> None:
        alone = made({"ann": [[1, 0]]}, embedder, SINGLE)
        found = identify(alone, subject("query", [[1, 0]], embedder.fingerprint), margin=0.5)
        assert found.match is not None
        assert (found.match.identity, found.match.runner_up) == ("ann", None)

    def test_a_stranger_has_as_many_chances_as_there_are_comparisons(self, embedder: Embedder) -> None:
        best = self.decided(embedder, [[1, 0]])  # four crops
        averaged = self.decided(embedder, [[1, 0], [1, 0]])  # two people
        assert best.expected_far == pytest.approx(1 - 0.999**4)
        assert averaged.expected_far == pytest.approx(1 - 0.998**2)

    def test_vectors_of_another_model_are_refused(self, embedder: Embedder) -> None:
        with pytest.raises(SightlineError, match="different models"):
            identify(made({"ann": [[1, 0]]}, embedder), subject("query", [[1, 0]], "cc" * 8))


class TestCache:
    def test_a_second_time_nothing_is_embedded(
        self, gallery: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        counting = Counting(embedder, monkeypatch)
        first = IdentityFolder.open(gallery, embedder)
        assert len(counting.taken()) == 16
        again = IdentityFolder.open(gallery, embedder)
        assert counting.taken() == []
        for one, other in zip(first.identities, again.identities, strict=True):
            assert one.name == other.name and np.array_equal(one.vectors, other.vectors)

    def test_a_picture_that_changed_is_embedded_again_though_its_size_and_time_are_the_same(
        self, gallery: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        victim = gallery / "a" / "00_0_0.bmp"
        PillowImage.new("RGB", (8, 16), (200, 10, 10)).save(victim)
        IdentityFolder.open(gallery, embedder)
        stat = victim.stat()
        PillowImage.new("RGB", (8, 16), (10, 10, 200)).save(victim)
        os.utime(victim, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert victim.stat().st_size == stat.st_size
        counting = Counting(embedder, monkeypatch)
        opened = IdentityFolder.open(gallery, embedder)
        assert counting.taken() == ["a/00_0_0.bmp"]
        assert np.abs(opened.identities[0].vectors - mean_colour(victim)).max(axis=1).min() < 1e-5

    def test_a_picture_that_moved_is_not_and_one_that_is_gone_is_dropped(
        self, gallery: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        IdentityFolder.open(gallery, embedder)
        (gallery / "a").rename(gallery / "z")
        shutil.rmtree(gallery / "b")
        counting = Counting(embedder, monkeypatch)
        opened = IdentityFolder.open(gallery, embedder)
        assert counting.taken() == []
        assert [person.name for person in opened.identities] == ["c", "d", "z"]
        with np.load(gallery / CACHE_NAME) as archive:
            assert len(archive["vectors"]) == 12

    def test_that_of_another_model_is_not_used(
        self, gallery: Path, embedder: Embedder, osnet: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with open_session(osnet) as session:
            assert IdentityFolder.open(gallery, Embedder(session)).identities[0].vectors.shape[1] == 512
        counting = Counting(embedder, monkeypatch)
        assert IdentityFolder.open(gallery, embedder).identities[0].vectors.shape[1] == 3
        assert len(counting.taken()) == 16

    @pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04" + bytes(40)])
    def test_one_that_is_broken_is_made_again_aloud(
        self, gallery: Path, embedder: Embedder, content: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        (gallery / CACHE_NAME).write_bytes(content)
        assert len(IdentityFolder.open(gallery, embedder).identities) == 4
        assert CACHE_NAME in caplog.text
        with np.load(gallery / CACHE_NAME) as archive:
            assert len(archive["vectors"]) == 16

    def test_it_may_lie_elsewhere(self, gallery: Path, embedder: Embedder, tmp_path: Path) -> None:
        IdentityFolder.open(gallery, embedder, tmp_path / "vectors.npz")
        assert (tmp_path / "vectors.npz").exists() and not (gallery / CACHE_NAME).exists()

    def test_where_it_cannot_be_written_the_gallery_is_used_without(
        self, gallery: Path, embedder: Embedder, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        opened = IdentityFolder.open(gallery, embedder, tmp_path / "nowhere" / "vectors.npz")
        assert len(opened.identities) == 4
        assert "pass --cache FILE" in caplog.text

    def test_what_was_embedded_before_an_interruption_is_kept(
        self, gallery: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        original = embedder.embed_files

        def interrupted(paths: Sequence[Path]) -> Iterator[object]:
            for number, item in enumerate(original(paths)):
                if number == 5:
                    raise KeyboardInterrupt
                yield item

        with monkeypatch.context() as patched:
            patched.setattr(embedder, "embed_files", interrupted)
            with pytest.raises(KeyboardInterrupt):
                IdentityFolder.open(gallery, embedder)
        counting = Counting(embedder, monkeypatch)
        IdentityFolder.open(gallery, embedder)
        assert len(counting.taken()) == 16 - 5


class TestTheFolder:
    def test_what_cannot_be_read_is_left_out_with_its_reason(self, gallery: Path, embedder: Embedder) -> None:
        (gallery / "a" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        opened = IdentityFolder.open(gallery, embedder)
        assert [len(person) for person in opened.identities] == [4, 4, 4, 4]
        assert list(opened.skipped) == [gallery / "a" / "broken.png"]

    def test_files_beside_the_subfolders_show_nobody(
        self, gallery: Path, embedder: Embedder, caplog: pytest.LogCaptureFixture
    ) -> None:
        shutil.copy(next((gallery / "a").iterdir()), gallery / "stray.png")
        (gallery / "empty").mkdir()
        assert [person.name for person in IdentityFolder.open(gallery, embedder).identities] == list("abcd")
        assert "stray.png is in no subfolder" in caplog.text and "empty" in caplog.text

    def test_the_same_picture_twice_is_one_crop(self, gallery: Path, embedder: Embedder) -> None:
        for path in list((gallery / "a").iterdir()):
            shutil.copy(path, path.with_name("copy-" + path.name))
        assert len(IdentityFolder.open(gallery, embedder).identities[0]) == 4

    @pytest.mark.parametrize("name", ["~root", "[x]", "*", "été 🏐", "-m", "a\nb", "<b>"])
    def test_any_name_a_folder_can_have_is_an_identity(
        self, gallery: Path, embedder: Embedder, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (gallery / "a").rename(gallery / name)
        monkeypatch.chdir(gallery)
        assert name in [person.name for person in IdentityFolder.open(".", embedder).identities]

    def test_a_folder_with_nobody_in_it_is_told(self, tmp_path: Path, embedder: Embedder) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(ImageError, match="expected a subfolder with images for each identity"):
            IdentityFolder.open(tmp_path / "empty", embedder)

    def test_one_that_is_not_there_is_told(self, tmp_path: Path, embedder: Embedder) -> None:
        with pytest.raises(ImageError, match=r"nowhere cannot be read: No such file"):
            IdentityFolder.open(tmp_path / "nowhere", embedder)

    def test_one_of_broken_pictures_alone_is_told(self, tmp_path: Path, embedder: Embedder) -> None:
        (tmp_path / "g/a").mkdir(parents=True)
        (tmp_path / "g/a/x.png").write_bytes(b"")
        with pytest.raises(ImageError, match=r"no image in .* can be used: .*x\.png is empty"):
            IdentityFolder.open(tmp_path / "g", embedder)

    def test_random_weights_are_refused(self, gallery: Path) -> None:
        refused = pytest.raises(CardError, match="random weights")
        with open_session("osnet_x0_25.onnx", "untrained", allow_untrained=True) as session, refused:
            IdentityFolder.open(gallery, Embedder(session))


def test_an_onnx_file_and_the_checkpoint_it_was_made_of_agree(gallery: Path, osnet: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "osnet.pth"
    save_checkpoint(checkpoint, build_osnet("osnet_x0_25", seed=0))
    exported = shutil.copy(osnet, tmp_path / "osnet.onnx")
    scores = []
    for path, claims in ((exported, Claims()), (checkpoint, Claims("torchreid", (256, 128)))):
        with open_session(path, claims=claims) as session:
            embedder = Embedder(session)
            keep_thresholds(embedder, [Threshold(0.1, 0.01, "single", 1000)], beside=True)
            opened = IdentityFolder.open(gallery, embedder, tmp_path / f"{path.name}.npz")
            found = identify(opened, subject_of(embedder, next((gallery / "b").iterdir())), margin=0)
        assert found.match is not None and found.match.identity == "b"
        scores.append({candidate.identity: candidate.score for candidate in found.candidates})
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)
