"""The names and keys of the clustering notes, with what is true in them."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from torch import tensor

from painted_people import SIZE_HW, mean_colour_model
from sightline.errors import ModelNotFoundError, SightlineError
from sightline.reid.osnet import preprocess_crops
from sightline.reid.similarity import (
    ModelUsed,
    PersonId,
    SimilarityResults,
    compare,
    compute_embedding,
    compute_similarity_matrix,
    create_similarity_matrix,
)
from sightline.reid.similarity_files import save_similarity_results
from sightline.types import FloatArray, Image

USED = ModelUsed("osnet_x0_25", "onnx", "trained", "ab" * 32)


def features(people: Sequence[int], *, dim: int = 5, seed: int = 0) -> dict[PersonId, FloatArray]:
    """So many L2-normalised rows for each person."""
    rng = np.random.default_rng(seed)
    found: dict[PersonId, FloatArray] = {}
    for number, count in enumerate(people):
        rows = rng.normal(size=(count, dim)) + 1
        found[f"p{number}"] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return found


def plain(colour: tuple[int, int, int]) -> Image:
    return np.full((*SIZE_HW, 3), colour, np.uint8)


@pytest.fixture(scope="module")
def colour_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mean_colour_model(tmp_path_factory.mktemp("models") / "colour.onnx")


# One person


def test_an_embedding_is_the_direction_of_the_mean() -> None:
    got = compute_embedding(np.array([[1, 0, 0], [0, 1, 0]], np.float32))
    np.testing.assert_allclose(got, [2**-0.5, 2**-0.5, 0], atol=1e-7)
    np.testing.assert_allclose(compute_embedding(np.array([[0.6, 0.8]], np.float32)), [0.6, 0.8], atol=1e-7)


@pytest.mark.parametrize("rows", [np.empty((0, 4)), np.ones(4), np.ones((2, 2, 2))])
def test_no_rows_have_no_embedding(rows: FloatArray) -> None:
    with pytest.raises(ValueError, match=r"expected \(N, D\) with at least one row"):
        compute_embedding(rows)


@pytest.mark.parametrize("rows", [[[1, 0], [-1, 0]], [[np.nan, 1]], [[np.inf, 1]]])
def test_rows_that_cancel_or_are_no_numbers_have_no_direction(rows: list[list[float]]) -> None:
    with pytest.raises(SightlineError, match="has no direction"):
        compute_embedding(np.array(rows, np.float32))


def test_crops_are_preprocessed_as_torchreid_does_it() -> None:
    """Against the arithmetic of its transforms, on a crop that need not be resized."""
    crop = np.random.default_rng(0).integers(0, 256, (256, 128, 3), np.uint8)
    rgb = tensor(crop[:, :, ::-1].copy()).permute(2, 0, 1) / 255
    expected = (rgb - tensor([0.485, 0.456, 0.406])[:, None, None]) / tensor([0.229, 0.224, 0.225])[:, None, None]
    np.testing.assert_allclose(preprocess_crops([crop])[0], expected.numpy(), atol=1e-5)
    assert preprocess_crops([crop, crop[:40, :30]], (64, 32)).shape == (2, 3, 64, 32)


# The matrix


def test_the_matrix_holds_the_cosine_of_every_two_people() -> None:
    embeddings = {person: compute_embedding(rows) for person, rows in features([1, 3, 2, 4]).items()}
    found = compute_similarity_matrix(embeddings)
    for i, one in enumerate(embeddings.values()):
        for j, other in enumerate(embeddings.values()):
            assert abs(found["similarity_matrix"][i, j] - sum(a * b for a, b in zip(one, other, strict=True))) < 1e-6
    assert found["person_ids"] == ["p0", "p1", "p2", "p3"]
    assert set(found) == {
        *("similarity_matrix", "person_ids", "high_similarity_pairs", "similarity_threshold", "timestamp")
    }
    assert datetime.fromisoformat(found["timestamp"]).tzinfo is not None


def test_the_pairs_are_those_at_the_threshold_or_above_and_the_best_come_first() -> None:
    angles = {"a": 0.0, "b": 60.0, "c": 10.0, "d": 180.0}
    vectors = {
        name: np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))], np.float32)
        for name, angle in angles.items()
    }
    found = compute_similarity_matrix(vectors, 0.6)["high_similarity_pairs"]
    assert [pair[:2] for pair in found] == [("a", "c"), ("b", "c")]
    np.testing.assert_allclose([score for *_, score in found], np.cos(np.radians([10, 50])), atol=1e-6)
    at_it = compute_similarity_matrix({1: np.array([1, 0], np.float32), 2: np.array([0.5, 0], np.float32)}, 0.5)
    assert at_it["high_similarity_pairs"] == [(1, 2, 0.5)]


def test_the_threshold_is_seventy_percent_unless_told_otherwise() -> None:
    two = {"a": np.array([1, 0], np.float32), "b": np.array([0.71, 0], np.float32)}
    assert len(compute_similarity_matrix(two)["high_similarity_pairs"]) == 1
    two["b"] = np.array([0.69, 0], np.float32)
    assert compute_similarity_matrix(two)["high_similarity_pairs"] == []


def test_no_score_is_above_one_however_it_is_rounded() -> None:
    embeddings = {person: compute_embedding(rows) for person, rows in features([3] * 200, dim=512).items()}
    matrix = compute_similarity_matrix(embeddings)["similarity_matrix"]
    assert matrix.max() <= 1 and (matrix == matrix.T).all()


@pytest.mark.parametrize("count", [0, 1])
def test_few_people_are_a_small_matrix(count: int) -> None:
    found = compare(features([2] * count), model=USED)
    assert found["similarity_matrix"].shape == (count, count)
    assert found["high_similarity_pairs"] == []


def test_vectors_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="all of the same length"):
        compute_similarity_matrix({"a": np.ones(3, np.float32), "b": np.ones(4, np.float32)})
    with pytest.raises(SightlineError, match="NaN or infinity"):
        compute_similarity_matrix({"a": np.array([np.nan, 1], np.float32)})
    with pytest.raises(ValueError, match="same id but for its type"):
        compute_similarity_matrix({1: np.ones(3, np.float32), "1": np.ones(3, np.float32)})
    with pytest.raises(ValueError, match="threshold is 70; expected a cosine"):
        compute_similarity_matrix({}, 70)


# Both forms


def test_the_form_of_pairs_is_the_mean_over_all_pairs_of_crops() -> None:
    given = features([4, 1, 7], seed=3)
    found = compare(given, model=USED, form="pairs")
    for i, one in enumerate(given.values()):
        for j, other in enumerate(given.values()):
            slow = np.mean([a @ b for a in one for b in other])
            assert abs(found["similarity_matrix"][i, j] - slow) < 1e-6
    assert found["similarity_form"] == "pairs"


def test_the_averaged_form_scores_higher_and_keeps_the_same_embeddings() -> None:
    given = features([4, 5], seed=3)
    averaged, pairs = compare(given, model=USED), compare(given, model=USED, form="pairs")
    assert averaged["similarity_matrix"][0, 1] > pairs["similarity_matrix"][0, 1]
    np.testing.assert_allclose(np.diag(averaged["similarity_matrix"]), 1, atol=1e-6)
    for person, rows in given.items():
        np.testing.assert_array_equal(pairs["embeddings"][person], compute_embedding(rows))


def test_another_form_is_refused() -> None:
    with pytest.raises(ValueError, match="form is 'best'; expected one of averaged, pairs"):
        compare({}, model=USED, form="best")  # type: ignore[arg-type]  # what a config may hold


# From crops


def test_buckets_of_crops_become_everything_the_notes_promise(colour_model: Path) -> None:
    rng = np.random.default_rng(0)
    colours: dict[PersonId, tuple[int, int, int]] = {3: (30, 60, 200), 7: (200, 60, 30), 9: (32, 64, 205)}
    buckets = {person: [plain(colour) + rng.integers(0, 9, (*SIZE_HW, 3), np.uint8) for _ in range(4)]
               for person, colour in colours.items()}  # fmt: skip
    found = create_similarity_matrix(buckets, colour_model, "cpu", num_best_crops=16, similarity_threshold=0.9)
    assert found["person_ids"] == [3, 7, 9]
    assert [pair[:2] for pair in found["high_similarity_pairs"]] == [(3, 9)]
    assert {person: vector.shape for person, vector in found["embeddings"].items()} == {3: (3,), 7: (3,), 9: (3,)}
    assert (found["model"], found["model_type"], found["similarity_threshold"]) == ("mean-colour", "onnx", 0.9)
    assert list(found["timing"]) == ["load_model", "select_crops", "extract_features", "similarity", "total"]
    spent = list(found["timing"].values())
    assert min(spent) >= 0 and spent[-1] == pytest.approx(sum(spent[:-1]))


def test_a_persons_vector_is_made_of_their_best_crops_alone(colour_model: Path) -> None:
    sharp = np.random.default_rng(0).integers(0, 256, (*SIZE_HW, 3), np.uint8)
    found = create_similarity_matrix({"a": [plain((0, 0, 250)), sharp]}, colour_model, "cpu", num_best_crops=1)
    alone = create_similarity_matrix({"a": [sharp]}, colour_model, "cpu")
    np.testing.assert_array_equal(found["embeddings"]["a"], alone["embeddings"]["a"])


def test_people_without_a_usable_crop_are_left_out_and_named(
    colour_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny = np.zeros((3, 3, 3), np.uint8)
    buckets: dict[PersonId, list[Image]] = {
        "a": [plain((1, 2, 3))],
        "<b>": [],
        "c": [tiny],
        "d": [tiny, plain((9, 9, 9))],
    }
    found = create_similarity_matrix(buckets, colour_model, "cpu")
    assert found["person_ids"] == ["a", "d"]
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert said == ["'<b>' has no usable crop and is left out", "'c' has no usable crop and is left out"]


def test_nobody_at_all_is_an_empty_result(colour_model: Path, tmp_path: Path) -> None:
    found = create_similarity_matrix({}, colour_model, "cpu")
    save_similarity_results(found, tmp_path)
    assert np.load(tmp_path / "similarity_matrix.npy").shape == (0, 0)
    assert json.loads((tmp_path / "embeddings.json").read_text())["embeddings"] == {}


def test_random_weights_run_only_when_allowed_and_are_marked_in_every_file(tmp_path: Path) -> None:
    missing = tmp_path / "osnet_x0_25_msmt17.onnx"
    with pytest.raises(ModelNotFoundError):
        create_similarity_matrix({}, missing, "cpu")
    crops = {"a": [plain((10, 20, 30))], "b": [plain((200, 100, 0))]}
    found = create_similarity_matrix(crops, missing, "cpu", allow_random=True)
    assert found["similarity_matrix"][0, 1] > 0.7, "which is why nothing may be concluded from them"
    files = save_similarity_results(found, tmp_path)
    for content in (json.loads(path.read_text()) for path in files if path.suffix == ".json"):
        assert (content["model_type"], content["weights"]) == ("random", "untrained")


# Files


def results(people: int = 3) -> SimilarityResults:
    return compare(features([2] * people), model=USED, threshold=0.61)


def test_the_files_have_the_keys_of_the_notes_and_say_what_is_true(tmp_path: Path) -> None:
    found = results()
    files = save_similarity_results(found, tmp_path / "made" / "webp_viewer")
    names = ["similarity_matrix.json", "similarity_matrix.npy", "embeddings.json", "embeddings.npy"]
    assert [path.name for path in files] == names
    matrix, embeddings = (json.loads(files[index].read_text()) for index in (0, 2))
    assert {"matrix", "person_ids", "high_similarity_pairs", "model_type", "similarity_threshold", "timestamp"} <= set(
        matrix
    )
    assert {"embeddings", "person_ids", "feature_dimension", "model", "model_type", "timestamp"} <= set(embeddings)
    assert matrix["similarity_threshold"] == 0.61 and matrix["model_type"] == "onnx"
    assert embeddings["feature_dimension"] == 5 and embeddings["model"] == "osnet_x0_25"
    assert matrix["fingerprint"] == embeddings["fingerprint"] == "ab" * 32
    assert matrix["similarity_form"] == "averaged"


def test_both_spellings_of_a_file_hold_the_same_numbers(tmp_path: Path) -> None:
    found = results()
    matrix_json, matrix_npy, vectors_json, vectors_npy = save_similarity_results(found, tmp_path)
    np.testing.assert_array_equal(np.load(matrix_npy, allow_pickle=False), found["similarity_matrix"])
    np.testing.assert_allclose(json.loads(matrix_json.read_text())["matrix"], found["similarity_matrix"], atol=1e-7)
    told = json.loads(vectors_json.read_text())
    rows = [told["embeddings"][str(person)] for person in told["person_ids"]]
    np.testing.assert_allclose(rows, np.load(vectors_npy, allow_pickle=False), atol=1e-7)


def test_pairs_in_the_file_are_two_ids_and_a_score(tmp_path: Path) -> None:
    one = {7: np.array([[1, 0]], np.float32), 8: np.array([[0.8, 0.6]], np.float32)}
    save_similarity_results(compare(one, model=USED), tmp_path)
    told = json.loads((tmp_path / "similarity_matrix.json").read_text())
    assert told["high_similarity_pairs"] == [[7, 8, 0.8]] and told["person_ids"] == [7, 8]
    assert set(json.loads((tmp_path / "embeddings.json").read_text())["embeddings"]) == {"7", "8"}


def test_people_may_be_called_anything(tmp_path: Path) -> None:
    names = ["<script>alert(1)</script>", "a/b", "🙂", "x" * 10_000, "\udcff", ""]
    rows: dict[PersonId, FloatArray] = {name: np.ones((1, 2), np.float32) / 2**0.5 for name in names}
    save_similarity_results(compare(rows, model=USED), tmp_path)
    assert json.loads((tmp_path / "similarity_matrix.json").read_text())["person_ids"] == names


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write .*file/out: its parent is not a folder"):
        save_similarity_results(results(), tmp_path / "file" / "out")
