"""What a model says about itself, what its graph says, and what its user says: no two may disagree in silence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from osnets import Osnets
from tiny_models import (
    channel_means,
    class_scores,
    conv_mean,
    feature_map,
    images,
    lost_batch,
    means_over_themselves,
    sum_and_product,
)

from sightline.card import CARD_KEY, CARD_VERSION, PIXELS, ImageInput, ModelCard, VectorOutput
from sightline.errors import CardError, ModelOutputError
from sightline.nets.checkpoint import save_checkpoint
from sightline.onnx_file import with_metadata
from sightline.reid.embedder import Embedder
from sightline.runtime.cards import Claims
from sightline.runtime.open import open_session
from sightline.types import FloatArray, Image, TensorSpec

BACKENDS = ("onnxruntime", "openvino")
RAW = Claims(pixels="raw-rgb")
CARD = ModelCard(
    task="reid",
    arch="tiny",
    image=ImageInput("images", (8, 4), pixels=PIXELS["raw-rgb"]),
    output=VectorOutput("features", 4, normalised=False),
    weights="trained",
    fingerprint="0123456789abcdef",
)
OF_IMAGE = CARD.image or ImageInput("never", None)
OF_OUTPUT = CARD.output or VectorOutput("never", None)


def carrying(path: Path, text: str, *, batch: int | None = None) -> Path:
    """The convolution of the contract suite, with this text where its card should be."""
    with_metadata(conv_mean(path, batch=batch).path, path, entries={CARD_KEY: text})
    return path


def painted(count: int, *, seed: int = 0) -> list[Image]:
    """Crops of the very size the tiny models take, so that nothing is resized."""
    rng = np.random.default_rng(seed)
    return [rng.integers(1, 256, (8, 4, 3), dtype=np.uint8) for _ in range(count)]


# A card in the file


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_card_in_the_file_is_the_card_of_the_session(tmp_path: Path, backend: str) -> None:
    with open_session(carrying(tmp_path / "tiny.onnx", CARD.to_json()), backend) as session:
        assert session.card == CARD
        assert session.card.unknowns() == ()


def test_the_card_in_a_checkpoint_is_the_card_of_the_session(osnets: Osnets, tmp_path: Path) -> None:
    card = replace(
        CARD,
        arch="osnet_x0_25",
        image=ImageInput("input", (256, 128), pixels=PIXELS["torchreid"]),
        output=VectorOutput("features", 512, normalised=False),
    )
    save_checkpoint(tmp_path / "with_card.pth", osnets.net("osnet_x0_25"), card=card)
    with open_session(tmp_path / "with_card.pth") as session:
        assert session.card == card


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (replace(CARD, image=replace(OF_IMAGE, size_hw=(9, 4))), r"size is \(9, 4\); the graph says \(8, 4\)"),
        (replace(CARD, image=replace(OF_IMAGE, layout="NHWC")), "layout is NHWC; the graph says NCHW"),
        (replace(CARD, image=replace(OF_IMAGE, dtype="float16")), "dtype is float16; the graph says float32"),
        (replace(CARD, image=replace(OF_IMAGE, name="pixels")), "names input 'pixels'; the graph has images"),
        (replace(CARD, output=replace(OF_OUTPUT, name="vector")), "names output 'vector'; the graph has features"),
        (replace(CARD, output=replace(OF_OUTPUT, dim=5)), "feature dimension is 5; the graph says 4"),
    ],
    ids=["size", "layout", "dtype", "input name", "output name", "dimension"],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_card_that_contradicts_its_graph_is_refused(
    tmp_path: Path, card: ModelCard, message: str, backend: str
) -> None:
    with pytest.raises(CardError, match=rf"tiny\.onnx: the card .*{message}.*Re-export the model"):
        open_session(carrying(tmp_path / "tiny.onnx", card.to_json()), backend)


def test_a_card_of_another_batch_than_the_graph_is_refused(tmp_path: Path) -> None:
    card = replace(CARD, image=replace(OF_IMAGE, batch=16))
    with pytest.raises(CardError, match="batch is 16; the graph says 4"):
        open_session(carrying(tmp_path / "tiny.onnx", card.to_json(), batch=4))


def test_a_card_that_calls_a_feature_map_a_vector_is_refused(tmp_path: Path) -> None:
    path = feature_map(tmp_path / "map.onnx")
    with_metadata(path, path, entries={CARD_KEY: replace(CARD, output=replace(OF_OUTPUT, dim=None)).to_json()})
    with pytest.raises(CardError, match="rank of the output is 2; the graph says 4"):
        open_session(path)


def test_a_card_that_calls_numbers_an_image_is_refused(tmp_path: Path) -> None:
    path = sum_and_product(tmp_path / "two.onnx").path
    with_metadata(path, path, entries={CARD_KEY: replace(CARD, image=replace(OF_IMAGE, name="real")).to_json()})
    with pytest.raises(CardError, match=r"calls real float32\[\?, 2\] an image; the graph disagrees"):
        open_session(path)


def test_a_card_may_know_what_the_graph_leaves_open(tmp_path: Path) -> None:
    path = channel_means(tmp_path / "open.onnx", size_hw=("height", "width"))
    card = replace(CARD, output=replace(OF_OUTPUT, dim=3))
    with_metadata(path, path, entries={CARD_KEY: card.to_json()})
    with open_session(path) as session:
        assert session.inputs == (TensorSpec("images", (None, 3, None, None), "float32"),)
        assert Embedder(session).image.size_hw == (8, 4)


def test_a_card_of_a_newer_version_asks_for_an_upgrade(tmp_path: Path) -> None:
    newer = json.dumps({"version": CARD_VERSION + 1, "smell": "of roses"})
    with pytest.raises(CardError, match=rf"tiny\.onnx: model card version {CARD_VERSION + 1} is newer .*; upgrade"):
        open_session(carrying(tmp_path / "tiny.onnx", newer))


@pytest.mark.parametrize("text", ["", "{", "[]", '"reid"', "{}"])
def test_a_card_that_is_no_card_is_refused_and_not_ignored(tmp_path: Path, text: str) -> None:
    with pytest.raises(CardError, match=r"tiny\.onnx: "):
        open_session(carrying(tmp_path / "tiny.onnx", text))


# Claims


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        (Claims(pixels="omz"), r"says its pixels is RGB.*; got BGR.*\. Leave the flag out"),
        (Claims(size_hw=(4, 8)), r"says its size is \(8, 4\); got \(4, 8\). Leave the flag out"),
    ],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_claim_against_the_card_is_refused(tmp_path: Path, claims: Claims, message: str, backend: str) -> None:
    path = carrying(tmp_path / "tiny.onnx", CARD.to_json())
    with pytest.raises(CardError, match=rf"tiny\.onnx: the model itself {message}"):
        open_session(path, backend, claims=claims)


def test_a_claim_the_card_agrees_with_changes_nothing(tmp_path: Path) -> None:
    path = carrying(tmp_path / "tiny.onnx", CARD.to_json())
    with open_session(path, claims=Claims(pixels="raw-rgb", size_hw=(8, 4))) as session:
        assert session.card == CARD


def test_a_claim_against_the_graph_of_a_model_without_a_card_is_refused(tmp_path: Path) -> None:
    path = conv_mean(tmp_path / "foreign.onnx").path
    with pytest.raises(CardError, match=r"says its size is \(8, 4\); got \(256, 128\)"):
        open_session(path, claims=Claims(size_hw=(256, 128)))


def test_a_claim_about_pixels_nobody_named_is_refused_with_the_names(tmp_path: Path) -> None:
    path = conv_mean(tmp_path / "foreign.onnx").path
    with pytest.raises(CardError, match="no pixel preset 'imagenette'; expected one of torchreid, face, "):
        open_session(path, claims=Claims(pixels="imagenette"))


def test_a_claim_about_the_image_of_a_model_without_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"two\.onnx: has no single image input"):
        open_session(sum_and_product(tmp_path / "two.onnx").path, claims=RAW)


def test_a_claim_against_a_checkpoint_that_knows_better_is_refused(osnets: Osnets, tmp_path: Path) -> None:
    card = replace(
        CARD,
        image=ImageInput("input", (256, 128), pixels=PIXELS["torchreid"]),
        output=VectorOutput("features", 512, normalised=False),
    )
    save_checkpoint(tmp_path / "with_card.pth", osnets.net("osnet_x0_25"), card=card)
    with pytest.raises(CardError, match="says its pixels is RGB"):
        open_session(tmp_path / "with_card.pth", claims=Claims(pixels="omz"))


# No card


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_nobody_said_about_a_foreign_model_is_listed(tmp_path: Path, backend: str) -> None:
    path = conv_mean(tmp_path / "foreign.onnx").path
    with open_session(path, backend) as session:
        card = session.card
    assert (card.arch, card.task, card.weights, card.image) == (
        "unknown",
        "reid",
        "unknown",
        ImageInput("images", (8, 4)),
    )
    assert card.output == VectorOutput("features", 4)
    assert card.unknowns() == (
        "colour order, mean and std (--pixels PRESET)",
        "whether its vectors are L2-normalised",
        "whether its weights are trained",
    )


def test_the_size_a_graph_leaves_open_is_one_more_thing_to_say(tmp_path: Path) -> None:
    path = channel_means(tmp_path / "open.onnx", size_hw=("height", "width"))
    with open_session(path) as session:
        assert session.card.unknowns()[0] == "image size (--size HEIGHTxWIDTH)"
        with pytest.raises(CardError, match=r"^open\.onnx .*--size HEIGHTxWIDTH\) and colour .*--pixels PRESET"):
            Embedder(session)
    with open_session(path, claims=Claims("raw-rgb", (8, 4))) as session:
        assert Embedder(session).image.size_hw == (8, 4)


def test_a_foreign_model_is_not_fed_before_somebody_says_its_pixels(tmp_path: Path) -> None:
    path = conv_mean(tmp_path / "foreign.onnx").path
    with open_session(path) as session, pytest.raises(CardError, match=r"^foreign\.onnx .*--pixels PRESET"):
        Embedder(session)


def test_a_checkpoint_without_a_card_says_its_network_and_not_how_it_was_trained(osnets: Osnets) -> None:
    with open_session(osnets.checkpoint("osnet_ain_x0_25")) as session:
        assert session.card.arch == "osnet_ain_x0_25"
        assert session.card.unknowns() == (
            "image size (--size HEIGHTxWIDTH)",
            "colour order, mean and std (--pixels PRESET)",
            "whether its weights are trained",
        )


def test_a_model_of_several_inputs_has_a_card_without_an_image(tmp_path: Path) -> None:
    with open_session(sum_and_product(tmp_path / "two.onnx").path) as session:
        assert (session.card.task, session.card.image, session.card.output) == ("unknown", None, None)
        with pytest.raises(CardError, match=r"does not take one image: its inputs are whole int64\[\?, 2\], real"):
            Embedder(session)


def test_the_fingerprint_is_of_the_weights_and_not_of_the_name(tmp_path: Path) -> None:
    one, copy, other = (conv_mean(tmp_path / f"{name}.onnx").path for name in ("one", "copy", "other"))
    weights = other.read_bytes()
    other.write_bytes(weights.replace(np.float32(-0.25).tobytes(), np.float32(-0.5).tobytes()))
    prints = {path: open_session(path).card.fingerprint for path in (one, copy, other)}
    assert prints[one] == prints[copy] != prints[other]


# What comes out of the model


def unit(rows: FloatArray) -> FloatArray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("count", [0, 1, 5, 33])
def test_a_foreign_model_is_fed_what_its_user_claims(tmp_path: Path, batch: int | None, count: int) -> None:
    crops = painted(count)
    with open_session(channel_means(tmp_path / "means.onnx", batch=batch), claims=Claims(pixels="omz")) as session:
        vectors = Embedder(session).embed(crops).vectors
    means_bgr = np.array([crop.reshape(-1, 3).mean(axis=0) for crop in crops], np.float32).reshape(count, 3)
    np.testing.assert_allclose(vectors, unit(means_bgr), atol=1e-5)


def test_colours_go_in_in_the_order_that_was_claimed(tmp_path: Path) -> None:
    red = [np.full((8, 4, 3), (1, 2, 200), np.uint8)]
    path = channel_means(tmp_path / "means.onnx")
    with open_session(path, claims=RAW) as rgb, open_session(path, claims=Claims(pixels="omz")) as bgr:
        np.testing.assert_allclose(Embedder(rgb).embed(red).vectors, unit(np.array([[200.0, 2, 1]])), atol=1e-5)
        np.testing.assert_allclose(Embedder(bgr).embed(red).vectors, unit(np.array([[1.0, 2, 200]])), atol=1e-5)


@pytest.mark.parametrize("black", [0, 13])
def test_a_vector_that_is_not_a_number_is_an_error_that_names_the_image(tmp_path: Path, black: int) -> None:
    crops = painted(20)
    crops[black] = np.zeros((8, 4, 3), np.uint8)
    with open_session(means_over_themselves(tmp_path / "nan.onnx"), claims=RAW) as session:
        with pytest.raises(ModelOutputError, match=rf"nan\.onnx: image {black} gave a vector that is zero, NaN or inf"):
            Embedder(session).embed(crops)
        del crops[black]
        np.testing.assert_allclose(Embedder(session).embed(crops).vectors, unit(np.ones((19, 3))), atol=1e-6)


def test_a_vector_of_zeros_is_an_error(tmp_path: Path) -> None:
    with (
        open_session(channel_means(tmp_path / "zero.onnx"), claims=RAW) as session,
        pytest.raises(ModelOutputError, match=r"zero\.onnx: image 2 gave a vector that is zero"),
    ):
        Embedder(session).embed([*painted(2), np.zeros((8, 4, 3), np.uint8)])


def test_a_batch_that_was_lost_in_the_export_is_an_error(tmp_path: Path) -> None:
    with (
        open_session(lost_batch(tmp_path / "lost.onnx"), threads=1, claims=RAW) as session,
        pytest.raises(ModelOutputError, match=r"lost\.onnx: output 'features' has shape \(1, \d+\)"),
    ):
        Embedder(session).embed(painted(9))


@pytest.mark.parametrize("classes", [702, 751, 1000, 1041, 4101])
def test_class_scores_are_not_taken_for_an_embedding(tmp_path: Path, classes: int) -> None:
    with (
        open_session(class_scores(tmp_path / "head.onnx", classes=classes), claims=RAW) as session,
        pytest.raises(CardError, match=rf"head\.onnx puts out {classes} numbers: class scores"),
    ):
        Embedder(session)


def test_a_vector_as_wide_as_no_training_set_is_an_embedding(tmp_path: Path) -> None:
    with open_session(class_scores(tmp_path / "wide.onnx", classes=512), claims=RAW) as session:
        assert Embedder(session).embed(painted(2)).vectors.shape == (2, 512)


def test_a_feature_map_is_not_taken_for_an_embedding(tmp_path: Path) -> None:
    with (
        open_session(feature_map(tmp_path / "map.onnx"), claims=RAW) as session,
        pytest.raises(
            CardError, match=r"does not put out one vector an image: its outputs are features float32\[\?, 3"
        ),
    ):
        Embedder(session)


def test_random_weights_are_fed_as_published_ones_are_unless_their_user_says_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "osnet_x0_25_msmt17.onnx"
    with open_session(path, allow_untrained=True) as session:
        assert session.card.image == ImageInput("input", (256, 128), pixels=PIXELS["torchreid"])
    with open_session(path, allow_untrained=True, claims=Claims("face", (112, 112))) as session:
        assert session.card.image == ImageInput("input", (112, 112), pixels=PIXELS["face"])


def test_random_weights_warn_whoever_embeds_with_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_session(tmp_path / "nowhere.onnx", allow_untrained=True) as session:
        Embedder(session)
    assert "nowhere.onnx has untrained weights, which do not tell people apart" in caplog.text


def test_what_a_session_is_fed_directly_needs_no_card(tmp_path: Path) -> None:
    model = conv_mean(tmp_path / "foreign.onnx")
    with open_session(model.path) as session:
        answer = session.run({"images": images(2, (8, 4))})
    np.testing.assert_allclose(answer["features"], model.answer(model.feeds(2))["features"], atol=1e-5)
