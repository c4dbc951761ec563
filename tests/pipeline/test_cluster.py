"""From folders of crops to a comparison: what is looked at, what is embedded, and what is embedded only once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from painted_people import mean_colour, mean_colour_model
from sightline.card import Threshold
from sightline.pipeline.cluster import Clustering, Person, clips_of, cluster, look_at, threshold_for
from sightline.pipeline.crop_folders import people_in
from sightline.reid.embedder import Embedded, Embedder
from sightline.reid.similarity import compute_embedding
from sightline.reid.thresholds import keep_thresholds
from sightline.runtime.open import open_session

Run = Callable[..., Clustering]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mean_colour_model(tmp_path_factory.mktemp("models") / "colour.onnx")


@pytest.fixture
def embedder(model: Path) -> Iterator[Embedder]:
    with open_session(model, device="cpu") as session:
        yield Embedder(session)


def write_people(root: Path, crops: dict[str, int], *, size_hw: tuple[int, int] = (16, 8), seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    for person, count in crops.items():
        (root / person).mkdir(parents=True, exist_ok=True)
        colour = rng.integers(20, 200, 3)
        for index in range(count):
            pixels = colour + rng.integers(0, 50, (*size_hw, 3))
            PillowImage.fromarray(pixels.astype(np.uint8)).save(root / person / f"{index}.png")
    return root


def counted(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are really embedded from here on."""
    asked: list[Path] = []
    real = embedder.embed_files

    def watched(paths: Sequence[Path]) -> Iterator[Embedded]:
        asked.extend(paths)
        return real(paths)

    monkeypatch.setattr(embedder, "embed_files", watched)
    return asked


def clustered(root: Path, embedder: Embedder, cache: Path | None = None, *, num_best_crops: int = 16) -> Clustering:
    return cluster(people_in(root), embedder, num_best_crops=num_best_crops, cache=cache)


# What comes out


def test_everybody_is_compared_by_the_mean_of_their_crops(tmp_path: Path, embedder: Embedder) -> None:
    root = write_people(tmp_path, {"a": 3, "b": 1, "c": 4})
    results = clustered(root, embedder).results
    expected = {
        name: compute_embedding(np.stack([mean_colour(file) for file in (root / name).iterdir()])) for name in "abc"
    }
    assert results["person_ids"] == ["a", "b", "c"]
    for name, vector in expected.items():
        np.testing.assert_allclose(results["embeddings"][name], vector, atol=1e-5)
    np.testing.assert_allclose(results["similarity_matrix"][0, 2], expected["a"] @ expected["c"], atol=1e-5)


def test_no_more_crops_are_embedded_than_asked_for(
    tmp_path: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = counted(embedder, monkeypatch)
    clustered(write_people(tmp_path, {"a": 7, "b": 2}), embedder, num_best_crops=3)
    assert sorted(path.parent.name for path in asked) == ["a"] * 3 + ["b"] * 2


def test_the_same_crop_twice_counts_once(tmp_path: Path, embedder: Embedder) -> None:
    root = write_people(tmp_path, {"a": 2})
    before = clustered(root, embedder).results["embeddings"]["a"]
    shutil.copy(root / "a" / "0.png", root / "a" / "9.png")
    np.testing.assert_array_equal(clustered(root, embedder).results["embeddings"]["a"], before)


def test_who_has_no_readable_crop_is_named_and_the_others_are_compared(tmp_path: Path, embedder: Embedder) -> None:
    root = write_people(tmp_path, {"a": 2, "broken": 1, "c": 1})
    (root / "broken" / "0.png").write_bytes(b"")
    (root / "empty").mkdir()
    (root / "a" / "1.png").write_bytes((root / "a" / "1.png").read_bytes()[:60])
    PillowImage.new("RGB", (3, 3)).save(root / "c" / "tiny.png")
    crowd = clustered(root, embedder).crowd
    assert [person.person_id for person in crowd.people] == ["a", "c"]
    assert crowd.nobody == ("broken", "empty") and not crowd.whole
    assert [line.split(" ", 1)[0] for line in crowd.unreadable] == [
        *(str(root / name) for name in ("a/1.png", "broken/0.png", "c/tiny.png"))
    ]
    assert "3×3 pixels; expected at least 4×4" in crowd.unreadable[2]


def test_crops_of_eight_pixels_are_compared(tmp_path: Path, embedder: Embedder) -> None:
    found = clustered(write_people(tmp_path, {"a": 2, "b": 2}, size_hw=(8, 8)), embedder)
    assert found.crowd.whole and found.results["similarity_matrix"].shape == (2, 2)


def test_a_thousand_people_are_compared(tmp_path: Path, embedder: Embedder) -> None:
    root = write_people(tmp_path, {f"p{index}": 1 for index in range(1000)})
    results = clustered(root, embedder).results
    assert results["person_ids"] == [f"p{index}" for index in range(1000)]
    assert results["similarity_matrix"].shape == (1000, 1000)


def test_crops_in_a_crowd_are_passed_over_for_those_that_stand_free(tmp_path: Path) -> None:
    root = write_people(tmp_path, {"a": 4, "b": 4}, size_hw=(64, 32))
    free, covered = [20, 20, 70, 120], [30, 20, 80, 120]
    away = [500, 20, 550, 120]
    for name, boxes in {"a": [free] * 4, "b": [covered, away, covered, away]}.items():
        track = {"frame_numbers": [0, 1, 2, 3], "bboxes": boxes}
        (root / name / "track.json").write_text(json.dumps(track))
    (a, b) = look_at(people_in(root)).people
    assert a.chosen == (1, 3)  # in frames 0 and 2 four fifths of either box are the other's
    assert b.chosen == (1, 3)


def test_the_time_is_known_where_the_frame_rate_is(tmp_path: Path) -> None:
    root = write_people(tmp_path, {"a": 2, "b": 2, "c": 2})
    track = {"frame_numbers": [50, 75], "bboxes": [[1, 2, 3, 4]] * 2}
    (root / "a" / "track.json").write_text(json.dumps({**track, "fps": 25}))
    (root / "b" / "track.json").write_text(json.dumps(track))
    assert [person.seen_s for person in look_at(people_in(root)).people] == [(2.0, 3.0), None, None]


# The cache


def test_a_second_run_embeds_nothing(tmp_path: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    root, cache = write_people(tmp_path / "crops", {"a": 3, "b": 2}), tmp_path / "vectors.npz"
    first = clustered(root, embedder, cache).results
    asked = counted(embedder, monkeypatch)
    second = clustered(root, embedder, cache).results
    assert asked == []
    np.testing.assert_array_equal(first["similarity_matrix"], second["similarity_matrix"])


def test_only_a_changed_crop_is_embedded_again_and_a_renamed_one_is_not(
    tmp_path: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, cache = write_people(tmp_path / "crops", {"a": 3, "b": 2}), tmp_path / "vectors.npz"
    clustered(root, embedder, cache)
    (root / "a" / "0.png").rename(root / "b" / "7.png")
    changed = root / "b" / "0.png"
    PillowImage.new("RGB", (8, 16), (9, 80, 7)).save(changed)
    asked = counted(embedder, monkeypatch)
    found = clustered(root, embedder, cache).results["embeddings"]
    assert asked == [changed]
    fresh = clustered(root, embedder).results["embeddings"]
    for person, vector in fresh.items():
        np.testing.assert_allclose(found[person], vector, atol=1e-6)


def test_what_the_folder_no_longer_holds_is_forgotten(tmp_path: Path, embedder: Embedder) -> None:
    root, cache = write_people(tmp_path / "crops", {"a": 3, "b": 2}), tmp_path / "vectors.npz"
    clustered(root, embedder, cache)
    shutil.rmtree(root / "a")
    clustered(root, embedder, cache)
    assert len(np.load(cache)["vectors"]) == 2


def test_vectors_of_another_model_are_not_used(
    tmp_path: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, cache = write_people(tmp_path / "crops", {"a": 2}), tmp_path / "vectors.npz"
    clustered(root, embedder, cache)
    stored = dict(np.load(cache))
    other = str(stored["identity"]).replace(embedder.fingerprint, "0" * 64)
    np.savez(cache, **{**stored, "identity": np.array(other)})
    asked = counted(embedder, monkeypatch)
    clustered(root, embedder, cache)
    assert len(asked) == 2


@pytest.mark.parametrize("damage", ["empty", "torn", "text", "shape", "nan", "pickle"])
def test_a_damaged_cache_costs_time_and_nothing_else(
    tmp_path: Path, embedder: Embedder, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    root, cache = write_people(tmp_path / "crops", {"a": 2, "b": 1}), tmp_path / "vectors.npz"
    expected = clustered(root, embedder, cache).results["similarity_matrix"]
    whole, stored = cache.read_bytes(), dict(np.load(cache))
    if damage in ("empty", "torn", "text"):
        cache.write_bytes({"empty": b"", "torn": whole[: len(whole) // 2], "text": b"no archive"}[damage])
    else:
        vectors = stored["vectors"]
        worse = {"shape": vectors[:, :2], "nan": vectors * np.nan, "pickle": vectors.astype(object)}[damage]
        np.savez(cache, **{**stored, "vectors": worse})
    np.testing.assert_array_equal(clustered(root, embedder, cache).results["similarity_matrix"], expected)
    assert "is no cache of vectors" in caplog.text
    assert cache.stat().st_size == len(whole)


def test_calibrating_the_model_makes_no_vector_stale(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, cache = Path(shutil.copy(model, tmp_path / "colour.onnx")), tmp_path / "vectors.npz"
    root = write_people(tmp_path / "crops", {"a": 2})
    with open_session(copy, device="cpu") as session:
        clustered(root, Embedder(session), cache)
        keep_thresholds(Embedder(session), [Threshold(0.8, 0.001, "averaged", 50_000)])
    with open_session(copy, device="cpu") as session:
        embedder = Embedder(session)
        asked = counted(embedder, monkeypatch)
        clustered(root, embedder, cache)
    assert asked == []


def test_an_interrupted_run_keeps_what_it_had_done(
    tmp_path: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, cache = write_people(tmp_path / "crops", {"a": 5, "b": 5}), tmp_path / "vectors.npz"
    real = embedder.embed_files

    def interrupted(paths: Sequence[Path]) -> Iterator[Embedded]:
        for index, item in enumerate(real(paths)):
            if index == 6:
                raise KeyboardInterrupt
            yield item

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(embedder, "embed_files", interrupted)
        clustered(root, embedder, cache)
    asked = counted(embedder, monkeypatch)
    clustered(root, embedder, cache)
    assert len(asked) == 4


# The threshold


def test_the_threshold_is_the_calibrated_one_for_averages_and_for_nothing_else(tmp_path: Path, model: Path) -> None:
    copy = Path(shutil.copy(model, tmp_path / "colour.onnx"))
    with open_session(copy, device="cpu") as session:
        bare = threshold_for(Embedder(session))
        assert (bare.value, bare.far) == (0.70, None) and "not calibrated" in bare.source
        single, averaged = Threshold(0.5, 0.01, "single", 9000), Threshold(0.83, 0.001, "averaged", 50_000)
        keep_thresholds(Embedder(session), [single, averaged])
    with open_session(copy, device="cpu") as session:
        known = Embedder(session)
        assert (threshold_for(known).value, threshold_for(known).far) == (0.83, 0.001)
        assert (threshold_for(known, form="pairs").value, threshold_for(known, form="pairs").far) == (0.70, None)
        assert (threshold_for(known, by_hand=0.6).value, threshold_for(known, by_hand=0.6).far) == (0.6, None)


# Clips


def one_person(root: Path, count: int, *, size_hw: tuple[int, int]) -> Person:
    return look_at(people_in(write_people(root, {"a": count}, size_hw=size_hw))).people[0]


@pytest.mark.parametrize(("crops", "expected"), [(50, range(9)), (3, [0, 4, 8]), (1, [0])])
def test_a_clip_is_spread_over_a_persons_time(tmp_path: Path, crops: int, expected: Sequence[int]) -> None:
    person = one_person(tmp_path, 9, size_hw=(16, 8))
    (clip,) = clips_of([person], crops=crops, within_wh=(64, 64))
    taken = [np.asarray(PillowImage.open(person.files[index]))[:, :, ::-1] for index in expected]
    assert len(clip) == len(taken)
    assert all((got == wanted).all() for got, wanted in zip(clip, taken, strict=True))


def test_a_large_crop_is_shrunk_to_its_clip_and_keeps_its_shape(tmp_path: Path) -> None:
    person = one_person(tmp_path, 1, size_hw=(400, 100))
    (clip,) = clips_of([person], crops=5, within_wh=(256, 200))
    assert clip[0].shape == (200, 50, 3)


def test_the_clips_of_a_multitude_are_short(tmp_path: Path) -> None:
    person = one_person(tmp_path, 9, size_hw=(16, 8))
    assert len(next(clips_of([person] * 1000, crops=50, within_wh=(64, 64)))) == 5
