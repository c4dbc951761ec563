from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from sightline.card import CARD_KEY, PIXELS, ImageInput, ModelCard, Pixels, Threshold, VectorOutput
from sightline.deploy.deepstream import model as model_module
from sightline.deploy.deepstream.model import prepare_model, scalar_pixels
from sightline.errors import CardError, ConfigError, ExportError
from sightline.onnx_file import read_onnx, with_metadata
from sightline.reid.thresholds import path_beside
from sightline.runtime.cards import Claims
from sightline.types import Array, FloatArray

HEIGHT, WIDTH, DIM = 16, 8, 5
RNG = np.random.default_rng(3)
KERNEL = RNG.standard_normal((DIM, 3, 3, 3)).astype(np.float32)
TORCHREID = PIXELS["torchreid"]
CARD = ModelCard(
    task="reid",
    arch="tiny",
    image=ImageInput("images", (HEIGHT, WIDTH), TORCHREID),
    output=VectorOutput("features", DIM, normalised=False),
    weights="trained",
    fingerprint="0123456789abcdef",
)


def network(
    path: Path,
    *,
    card: ModelCard | None = CARD,
    batch: int | str = "batch",
    names: tuple[str, str] = ("images", "features"),
    external: bool = False,
) -> Path:
    """A convolution with zero padding, its mean, and what is above zero of it: the border counts."""
    nodes = [
        helper.make_node("Conv", [names[0], "kernel"], ["maps"], pads=[1, 1, 1, 1]),
        helper.make_node("Abs", ["maps"], ["heights"]),
        helper.make_node("ReduceMean", ["heights"], [names[1]], axes=[2, 3], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(names[0], TensorProto.FLOAT, [batch, 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info(names[1], TensorProto.FLOAT, [batch, DIM])],
        [numpy_helper.from_array(KERNEL, "kernel")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(made, str(path), save_as_external_data=external, location=f"{path.name}.data", size_threshold=0)
    if card is not None:
        with_metadata(path, path, entries={CARD_KEY: card.to_json()})
    return path


def run(path: Path, pixels: Array) -> FloatArray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: pixels.astype(np.float32)})[0])


def names_of(path: Path) -> tuple[str, str]:
    file = read_onnx(path)
    return file.inputs[0].name, file.outputs[0].name


def crops(count: int = 3) -> Array:
    return np.random.default_rng(0).integers(0, 256, (count, 3, HEIGHT, WIDTH)).astype(np.float32)


def normalised(pixels: Array, how: Pixels = TORCHREID) -> Array:
    """Channel by channel, as the formula says."""
    out = np.empty_like(pixels)
    for channel in range(3):
        out[:, channel] = (pixels[:, channel] - how.mean[channel]) / how.std[channel]
    return out


def nvinfer(pixels: Array, *, scale: float, offsets: tuple[float, ...]) -> Array:
    """What nvinfer computes: one scale, an offset for each channel."""
    return np.float32(scale) * (pixels - np.array(offsets, np.float32).reshape(1, 3, 1, 1))


# --- the exact form ------------------------------------------------------------------------------------------------


def test_raw_pixels_give_what_normalised_ones_gave_the_source_border_and_all(tmp_path: Path) -> None:
    source = network(tmp_path / "source.onnx")
    prepare_model(source, tmp_path / "out.onnx", claims=Claims())
    fed = nvinfer(crops(), scale=1, offsets=(0, 0, 0))
    np.testing.assert_allclose(run(tmp_path / "out.onnx", fed), run(source, normalised(crops())), rtol=1e-5)


def test_names_are_a_probe_s_own_and_the_card_goes_along(tmp_path: Path) -> None:
    source = network(tmp_path / "source.onnx")
    prepared = prepare_model(source, tmp_path / "out.onnx", claims=Claims())
    assert names_of(tmp_path / "out.onnx") == ("pixels", "embedding")
    card = ModelCard.from_json(read_onnx(tmp_path / "out.onnx").metadata[CARD_KEY])
    assert card == prepared.card
    assert card.fingerprint == CARD.fingerprint  # so that its vectors may enter the galleries of the source
    assert card.image is not None and card.image.folded and card.image.pixels == TORCHREID
    assert card.image.feed == Pixels("RGB")
    assert prepared.remarks == ()


def test_names_that_the_graph_has_already_are_not_given_twice(tmp_path: Path) -> None:
    card = replace(CARD, image=replace(CARD.image, name="pixels"), output=replace(CARD.output, name="out"))
    source = network(tmp_path / "source.onnx", card=card, names=("pixels", "out"))
    prepare_model(source, tmp_path / "out.onnx", claims=Claims())
    assert names_of(tmp_path / "out.onnx") == ("pixels_", "embedding")
    np.testing.assert_allclose(run(tmp_path / "out.onnx", crops()), run(source, normalised(crops())), rtol=1e-5)


def test_weights_beside_the_model_come_into_one_file(tmp_path: Path) -> None:
    source = network(tmp_path / "source.onnx", external=True)
    assert read_onnx(source).external_data == ("source.onnx.data",)
    (tmp_path / "away").mkdir()
    target = tmp_path / "away" / "out.onnx"
    prepare_model(source, target, claims=Claims())
    assert read_onnx(target).external_data == ()
    np.testing.assert_allclose(run(target, crops()), run(source, normalised(crops())), rtol=1e-5)
    assert [path.name for path in target.parent.iterdir()] == ["out.onnx"]


def test_a_model_that_takes_pixels_as_they_are_stays_as_it_is(tmp_path: Path) -> None:
    first = network(tmp_path / "source.onnx")
    prepare_model(first, tmp_path / "once.onnx", claims=Claims())
    prepare_model(tmp_path / "once.onnx", tmp_path / "twice.onnx", claims=Claims())
    once, twice = onnx.load(tmp_path / "once.onnx"), onnx.load(tmp_path / "twice.onnx")
    assert once.graph == twice.graph
    raw = network(tmp_path / "raw.onnx", card=replace(CARD, image=replace(CARD.image, pixels=PIXELS["raw-bgr"])))
    prepared = prepare_model(raw, tmp_path / "raw_out.onnx", claims=Claims())
    assert prepared.image.feed == Pixels("BGR") and not prepared.image.folded


def test_a_fixed_batch_stays_fixed(tmp_path: Path) -> None:
    card = replace(CARD, image=replace(CARD.image, batch=4))
    source = network(tmp_path / "source.onnx", card=card, batch=4)
    prepared = prepare_model(source, tmp_path / "out.onnx", claims=Claims())
    assert prepared.image.batch == 4
    assert read_onnx(tmp_path / "out.onnx").inputs[0].shape == (4, 3, HEIGHT, WIDTH)


def test_what_a_foreign_file_does_not_say_is_taken_from_the_user_and_measured(tmp_path: Path) -> None:
    source = network(tmp_path / "source.onnx", card=None)
    prepared = prepare_model(source, tmp_path / "out.onnx", claims=Claims("torchreid"))
    assert (prepared.image.size_hw, prepared.output.dim, prepared.output.normalised) == ((HEIGHT, WIDTH), DIM, False)
    assert prepared.card.fingerprint == read_onnx(source).fingerprint
    assert len(prepared.remarks) == 1 and "does not say who trained it" in prepared.remarks[0]


def test_thresholds_kept_beside_the_source_come_along(tmp_path: Path) -> None:
    source = network(tmp_path / "source.onnx")
    threshold = Threshold(0.83, 0.001, "averaged", 5000)
    path_beside(source).write_text(replace(CARD, thresholds=(threshold,)).to_json())
    assert prepare_model(source, tmp_path / "out.onnx", claims=Claims()).card.thresholds == (threshold,)


# --- the scalar form -----------------------------------------------------------------------------------------------


def test_the_scalar_form_leaves_the_arithmetic_to_nvinfer(tmp_path: Path) -> None:
    source = network(tmp_path / "source.onnx")
    prepared = prepare_model(source, tmp_path / "out.onnx", claims=Claims(), scalar=True)
    assert not prepared.image.folded
    near = scalar_pixels(TORCHREID)
    # Three deviations of .229, .224 and .225 have the mean .226; as numbers of 0..255 that is 57.63.
    assert 1 / near.std[0] == pytest.approx(0.0173520736, abs=1e-9)
    assert near.mean == (123.675, 116.28, 103.53)
    fed = nvinfer(crops(), scale=1 / near.std[0], offsets=near.mean)
    np.testing.assert_allclose(run(tmp_path / "out.onnx", fed), run(source, normalised(crops(), near)), rtol=1e-5)
    assert len(prepared.remarks) == 1 and "without --scalar they are exact" in prepared.remarks[0]


def test_one_deviation_for_all_channels_is_exact_and_needs_no_warning(tmp_path: Path) -> None:
    source = network(tmp_path / "source.onnx", card=replace(CARD, image=replace(CARD.image, pixels=PIXELS["face"])))
    prepared = prepare_model(source, tmp_path / "out.onnx", claims=Claims(), scalar=True)
    assert prepared.remarks == ()
    assert scalar_pixels(PIXELS["face"]) == PIXELS["face"]


# --- what cannot be deployed ---------------------------------------------------------------------------------------


def test_a_model_that_normalises_by_itself_has_no_scalar_form(tmp_path: Path) -> None:
    prepare_model(network(tmp_path / "source.onnx"), tmp_path / "folded.onnx", claims=Claims())
    with pytest.raises(ConfigError, match="drop --scalar"):
        prepare_model(tmp_path / "folded.onnx", tmp_path / "out.onnx", claims=Claims(), scalar=True)
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("weights", ["untrained", "imagenet"])
def test_weights_that_tell_nobody_apart_are_refused_unless_that_is_wanted(tmp_path: Path, weights: str) -> None:
    card = ModelCard.from_json(CARD.to_json().replace('"trained"', f'"{weights}"'))
    source = network(tmp_path / "source.onnx", card=card)
    with pytest.raises(CardError, match=f"has {weights} weights.*--allow-untrained"):
        prepare_model(source, tmp_path / "out.onnx", claims=Claims())
    assert not (tmp_path / "out.onnx").exists()
    allowed = prepare_model(source, tmp_path / "out.onnx", claims=Claims(), allow_untrained=True)
    assert allowed.card.weights == weights


def test_pixels_that_nobody_names_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="--pixels PRESET"):
        prepare_model(network(tmp_path / "source.onnx", card=None), tmp_path / "out.onnx", claims=Claims())


def test_bytes_in_another_layout_are_refused_with_the_way_out(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["images"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["real"], ["features"], axes=[1, 2], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "bytes",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", HEIGHT, WIDTH, 3])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 3])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "b.onnx")
    with pytest.raises(CardError, match=r"takes NHWC uint8, .*sightline export --preset deepstream"):
        prepare_model(tmp_path / "b.onnx", tmp_path / "out.onnx", claims=Claims("raw-bgr"))


def test_a_file_that_does_not_give_the_same_vectors_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = network(tmp_path / "source.onnx")

    def wrong(name: str, values: Array) -> onnx.NodeProto:
        return helper.make_node(
            "Constant", [], [name], value=numpy_helper.from_array(np.full((1, 3, 1, 1), 3, np.float32), name)
        )

    monkeypatch.setattr(model_module, "_constant", wrong)
    with pytest.raises(ExportError, match=r"was not written: .*have cosine 0\.\d+ "):
        prepare_model(source, tmp_path / "out.onnx", claims=Claims())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source.onnx"]
