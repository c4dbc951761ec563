from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from painted_people import Painted, mean_colour, mean_colour_model, paint, write_labels
from sightline.card import CARD_KEY, PIXELS, ModelCard
from sightline.cli import main
from sightline.onnx_file import read_onnx, with_metadata
from sightline.types import FloatArray

Output = pytest.CaptureFixture[str]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return mean_colour_model(tmp_path / "colour.onnx")


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    paint(tmp_path / "crops")
    return tmp_path / "crops"


def dumps(folder: Path, crops: Path, *, noise: float = 0.0, skip: int = 0) -> Path:
    """As Ascend tools leave them, of vectors computed by hand."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for path in sorted(crops.iterdir())[skip:]:
        vector = mean_colour(path) + rng.normal(0, noise, 3)
        (folder / f"{path.stem}_1.txt").write_text(" ".join(f"{value:.8f}" for value in vector))
    return folder


def raw(folder: Path, rows: FloatArray) -> Path:
    """As nvinfer writes them."""
    folder.mkdir()
    name = f"gstnvdsinfer_uid-02_layer-features_batch-{0:010}_batchsize-{len(rows):02}.bin"
    (folder / name).write_bytes(rows.astype("<f4").tobytes())
    (folder / name.replace("features", "images")).write_bytes(np.zeros((len(rows), 384), "<f4").tobytes())
    return folder


def share_found_first(painted: Sequence[Painted], vectors: Sequence[FloatArray]) -> float:
    """Each among all others but those of its person by its camera."""
    hits = 0
    for item, vector in zip(painted, vectors, strict=True):
        others = [
            (float(vector @ other), shown.person == item.person)
            for shown, other in zip(painted, vectors, strict=True)
            if (shown.person, shown.camera) != (item.person, item.camera)
        ]
        hits += max(others)[1]
    return hits / len(painted)


def answer(capsys: Output) -> dict[str, object]:
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_a_model_agrees_with_dumps_of_what_it_computes(
    model: Path, crops: Path, tmp_path: Path, capsys: Output
) -> None:
    made = dumps(tmp_path / "dumps", crops)
    assert main(["compare", str(model), str(made), "--images", str(crops), "--floor", "0.99999"]) == 0
    told = capsys.readouterr().out
    assert "B  " in told and "Ascend dumps" in told
    assert "they agree: no cosine is below 0.99999" in told
    assert "who is found was not measured" in told


def test_exit_code_1_says_that_they_differ_and_the_worst_image_is_named(
    model: Path, crops: Path, tmp_path: Path, capsys: Output
) -> None:
    made = dumps(tmp_path / "dumps", crops, noise=0.2)
    assert main(["compare", str(model), str(made), "--images", str(crops), "--json"]) == 1
    found = answer(capsys)
    rng = np.random.default_rng(0)
    vectors = {path: mean_colour(path) for path in sorted(crops.iterdir())}
    noisy = {path: vector + rng.normal(0, 0.2, 3) for path, vector in vectors.items()}
    cosines = {str(path): float(vectors[path] @ noisy[path] / np.linalg.norm(noisy[path])) for path in vectors}
    assert found["agree"] is False
    assert found["cosine"]["of"] == min(cosines, key=lambda path: cosines[path])  # type: ignore[index]
    assert found["cosine"]["smallest"] == pytest.approx(min(cosines.values()), abs=1e-5)  # type: ignore[index]


def test_nvinfer_output_goes_by_the_order_of_the_paths_and_by_its_length(
    model: Path, crops: Path, tmp_path: Path, capsys: Output
) -> None:
    made = raw(tmp_path / "raw", np.stack([mean_colour(path) for path in sorted(crops.iterdir())]))
    assert main(["compare", str(made), str(model), "--images", str(crops), "--json"]) == 0
    found = answer(capsys)
    assert found["a"]["kind"] == "DeepStream dumps, features of uid 2"  # type: ignore[index]
    assert found["cosine"]["smallest"] > 0.99999  # type: ignore[index, operator]


def test_two_stored_sides_need_no_images(crops: Path, tmp_path: Path, capsys: Output) -> None:
    sides = [str(dumps(tmp_path / name, crops)) for name in "ab"]
    assert main(["compare", *sides, "-q"]) == 0
    assert capsys.readouterr().out == ""


def test_a_csv_tells_who_is_found_by_each(model: Path, tmp_path: Path, capsys: Output) -> None:
    painted = paint(tmp_path / "crops")
    csv = write_labels(tmp_path / "labels.csv", painted)
    made = dumps(tmp_path / "dumps", tmp_path / "crops", noise=0.3)
    asked = ["compare", str(model), str(made), "--images", str(tmp_path / "crops"), "--csv", str(csv)]
    assert main([*asked, "--json"]) == 1
    found = answer(capsys)
    assert found["labels"] == str(csv)
    ranking = found["ranking"]
    assert ranking["a"]["queries"] == len(painted)  # type: ignore[index]
    rng = np.random.default_rng(0)
    exact = [mean_colour(item.path) for item in painted]  # in order of their paths
    noisy = [vector + rng.normal(0, 0.3, 3) for vector in exact]
    for side, vectors in (("a", exact), ("b", [vector / np.linalg.norm(vector) for vector in noisy])):
        assert ranking[side]["rank_1"] == pytest.approx(share_found_first(painted, vectors))  # type: ignore[index]
    assert [shift["far"] for shift in found["thresholds_at_far"]] == [0.1, 0.01, 0.001]  # type: ignore[attr-defined]
    assert main(asked) == 1
    assert "rank-1" in capsys.readouterr().out


def test_the_page_shows_the_worst_images(model: Path, crops: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    made = dumps(tmp_path / "dumps", crops, noise=0.3)
    assert main(["compare", str(model), str(made), "--images", str(crops), "--page", str(page), "--worst", "3"]) == 1
    text = page.read_text()
    assert text.count("<li class") == 3
    assert text.count("data:image/webp") == 9


def test_one_side_can_be_run_in_another_way(model: Path, crops: Path, capsys: Output) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    flags = ["--images", str(crops), "--b-backend", "openvino", "--b-precision", "float32", "--json"]
    assert main(["compare", str(model), str(model), *flags]) == 0
    found = answer(capsys)
    assert found["a"]["kind"] == "onnxruntime (cpu, float32)"  # type: ignore[index]
    assert found["b"]["kind"] == "openvino (cpu, float32)"  # type: ignore[index]
    assert any("same fingerprint" in note for note in found["notes"])  # type: ignore[attr-defined]


def test_what_a_side_is_fed_is_told_where_it_differs(model: Path, crops: Path, tmp_path: Path, capsys: Output) -> None:
    card = ModelCard.from_json(read_onnx(model).metadata[CARD_KEY])
    assert card.image is not None
    other = replace(card, image=replace(card.image, pixels=PIXELS["face"]))
    with_metadata(model, tmp_path / "face.onnx", entries={CARD_KEY: other.to_json()})
    assert main(["compare", str(model), str(tmp_path / "face.onnx"), "--images", str(crops), "--json"]) == 1
    notes = answer(capsys)["notes"]
    assert any("fed differently" in note and "127.5" in note for note in notes)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{model}", "{model}"], "pass --images"),
        (["{model}", "{few}", "--images", "{crops}"], "has no vector of 2 of the 36 images"),
        (["{model}", "nowhere.onnx", "--images", "{crops}"], "not found"),
        (["{model}", "{crops}", "--images", "{crops}"], "no vectors that are known here"),
        (["{model}", "{few}", "--images", "{crops}", "--csv", "{labels}"], "lists none of the"),
    ],
)
def test_what_cannot_be_compared_is_one_line_that_says_why(
    crops: Path, tmp_path: Path, capsys: Output, arguments: list[str], said: str
) -> None:
    elsewhere = paint(tmp_path / "elsewhere" / "crops")
    places = {
        "model": mean_colour_model(tmp_path / "colour.onnx"),
        "crops": crops,
        "few": dumps(tmp_path / "few", crops, skip=0 if "--csv" in arguments else 2),
        "labels": write_labels(tmp_path / "elsewhere" / "labels.csv", elsewhere),
    }
    assert main(["compare", *(argument.format(**places) for argument in arguments)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("sightline: error: ")
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("floor", ["98", "nan", "high"])
def test_a_floor_that_is_no_cosine_is_wrong_usage(floor: str, capsys: Output) -> None:
    assert main(["compare", "a", "b", "--floor", floor]) == 2
    assert repr(floor) in capsys.readouterr().err
