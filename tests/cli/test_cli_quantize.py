from __future__ import annotations

import json
from pathlib import Path

import pytest

from gated_block import crops, network
from sightline.card import CARD_KEY, ModelCard
from sightline.cli import main
from sightline.onnx_file import read_onnx

Output = pytest.CaptureFixture[str]


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A model, and crops of six people by four cameras, named as in Market-1501."""
    network(tmp_path / "block.onnx")
    for number, path in enumerate(crops(tmp_path / "crops", 60)):
        path.rename(path.with_name(f"{number % 6 + 1:04}_c{number // 6 % 4}_{number}.png"))
    return tmp_path


def quantize(desk: Path, *flags: str, output: str = "int8.onnx") -> int:
    asked = ["quantize", str(desk / "block.onnx"), "--calibrate", str(desk / "crops"), "-o", str(desk / output)]
    return main([*asked, "--floor", "0.9", *flags])


def test_it_writes_the_file_and_tells_what_it_costs(desk: Path, capsys: Output) -> None:
    assert quantize(desk) == 0
    told = capsys.readouterr().out
    for said in ("int8 on 30 crops", "times as fast", "judged by 30 crops", "rank-1", "they agree", "calibrate"):
        assert said in told
    assert "threshold 0.5000, same false accepts" in told  # that of the source's card, as a score of the result
    card = ModelCard.from_json(read_onnx(desk / "int8.onnx").metadata[CARD_KEY])
    assert card.precision == "int8"


def test_the_json_answer_holds_the_card_and_every_way_that_was_tried(desk: Path, capsys: Output) -> None:
    assert quantize(desk, "--floor", "1", "--force", "--json", "--images", "20") == 0
    found = json.loads(capsys.readouterr().out)
    assert [tried["keep"] for tried in found["tried"]] == [
        ["gates"],
        ["gates", "sums"],
        ["gates", "sums", "products"],
    ]
    assert found["cosine"]["smallest"] == max(tried["smallest"] for tried in found["tried"])
    assert found["agree"] is False
    assert found["card"]["fingerprint"] == read_onnx(desk / "int8.onnx").fingerprint
    assert len(found["calibration_crops"]) == 20
    assert found["images"] == 40
    assert found["bytes"]["result"] == (desk / "int8.onnx").stat().st_size


def test_the_page_shows_source_and_result(desk: Path) -> None:
    assert quantize(desk, "--page", str(desk / "page.html"), "-q") == 0
    text = (desk / "page.html").read_text()
    assert "block.onnx" in text and "int8.onnx" in text


def test_other_crops_can_be_the_judge(desk: Path, capsys: Output) -> None:
    crops(desk / "others", 12, seed=5)
    assert quantize(desk, "--judge", str(desk / "others"), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 12
    assert len(found["calibration_crops"]) == 60
    assert found["cosine"]["of"].startswith(str(desk / "others"))


def test_compare_gives_the_verdict_that_quantize_gave(desk: Path, capsys: Output) -> None:
    crops(desk / "others", 12, seed=5)
    others = str(desk / "others")
    assert quantize(desk, "--judge", others, "--json") == 0
    cosine = json.loads(capsys.readouterr().out)["cosine"]
    sides = [str(desk / "block.onnx"), str(desk / "int8.onnx")]
    assert main(["compare", *sides, "--images", others, "--floor", "0.9", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)["cosine"]
    assert again["of"] == cosine["of"]
    assert again["smallest"] == pytest.approx(cosine["smallest"], abs=1e-6)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--floor", "1"], "was not written: the best that was found is int8, gates"),
        (["--precision", "bf16"], "--b-precision bfloat16"),
        (["--keep", "gates,feet"], "no part of a network is called 'feet'"),
        (["--precision", "fp16", "--reduce-range"], "no range to reduce"),
        (["--judge", "nothing/here"], "no images in nothing/here"),
    ],
)
def test_a_refusal_is_one_line_and_leaves_nothing(desk: Path, capsys: Output, flags: list[str], said: str) -> None:
    assert quantize(desk, "-q", *flags) == 1
    error = capsys.readouterr().err
    assert error.startswith("sightline: error: ") and error.count("\n") == 1
    assert said in error
    assert not (desk / "int8.onnx").exists()


def test_nothing_kept_is_a_way_too(desk: Path) -> None:
    assert quantize(desk, "--keep", "none", "--floor", "-1") == 0
    card = ModelCard.from_json(read_onnx(desk / "int8.onnx").metadata[CARD_KEY])
    assert card.extra["quantised.by"] == "int8 on 30 crops"


def test_a_gallery_of_the_source_is_closed_to_the_result(desk: Path, capsys: Output) -> None:
    """The fingerprint keeps their vectors apart."""
    assert quantize(desk, "-q") == 0
    for name in ("block", "int8"):
        target = str(desk / f"{name}.npz")
        assert main(["embed", str(desk / "crops"), "-m", str(desk / f"{name}.onnx"), "-o", target, "-q"]) == 0
    assert main(["compare", str(desk / "block.npz"), str(desk / "int8.npz"), "--floor", "0.9", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["a"]["fingerprint"] != found["b"]["fingerprint"]
    assert found["notes"] == []
