from __future__ import annotations

import dataclasses
import json
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.card import (
    CARD_VERSION,
    PIXELS,
    Aggregation,
    Color,
    ImageInput,
    Layout,
    ModelCard,
    Pixels,
    Resize,
    Threshold,
    VectorOutput,
    WeightsState,
    pixels_named,
)
from sightline.errors import CardError

CARD = ModelCard(
    "reid",
    "osnet_x0_25",
    image=ImageInput("images", (256, 128), PIXELS["torchreid"], folded=True, fed_color="BGR", dtype="uint8"),
    output=VectorOutput("features", 512, normalised=False),
    weights="trained",
    fingerprint="0123456789abcdef",
    thresholds=(Threshold(0.71, 0.001, "averaged", 90_000, "market1501"),),
    extra={"note": "größe"},
)


def changed(*keys: str | int, to: object) -> str:
    """The card's JSON with the value at this path of keys replaced."""
    data: Any = json.loads(CARD.to_json())
    place = data
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = to
    return json.dumps(data)


def without(*keys: str | int) -> str:
    data: Any = json.loads(CARD.to_json())
    place = data
    for key in keys[:-1]:
        place = place[key]
    del place[keys[-1]]
    return json.dumps(data)


def refusal(text: str) -> str:
    with pytest.raises(CardError) as caught:
        ModelCard.from_json(text, origin="m.onnx")
    assert str(caught.value).startswith("m.onnx: ")
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix("m.onnx: ")


# --- there and back ------------------------------------------------------------------------------------------------

texts = st.text(max_size=12)
finite = st.floats(allow_nan=False, allow_infinity=False)
colors = st.sampled_from(get_args(Color))
triples = st.tuples(finite, finite, finite)
positive = st.floats(min_value=1e-30, max_value=1e30)
pixels = st.builds(Pixels, colors, triples, st.tuples(positive, positive, positive))
sides = st.integers(1, 1 << 20)
images = st.builds(
    ImageInput,
    name=st.text(min_size=1, max_size=12),
    size_hw=st.none() | st.tuples(sides, sides),
    pixels=st.none() | pixels,
    folded=st.booleans(),
    fed_color=st.none() | colors,
    layout=st.sampled_from(get_args(Layout)),
    dtype=st.sampled_from(["float32", "float16"]),
    batch=st.none() | sides,
    resize=st.sampled_from(get_args(Resize)),
)
outputs = st.builds(
    VectorOutput,
    name=st.text(min_size=1, max_size=12),
    dim=st.none() | sides,
    normalised=st.none() | st.booleans(),
)
rates = st.floats(0, 1)
thresholds = st.builds(Threshold, finite, rates, st.sampled_from(get_args(Aggregation)), st.integers(0, 1 << 60), texts)
cards = st.builds(
    ModelCard,
    task=st.text(min_size=1, max_size=12),
    arch=texts,
    image=st.none() | images,
    output=st.none() | outputs,
    weights=st.sampled_from(get_args(WeightsState)),
    fingerprint=st.just("") | st.text("0123456789abcdef", min_size=16, max_size=64),
    precision=texts,
    trained_on=texts,
    licence=texts,
    thresholds=st.lists(thresholds, max_size=3).map(tuple),
    extra=st.dictionaries(texts, texts, max_size=3),
    created_by=texts,
)


@settings(max_examples=200, deadline=None)
@given(cards)
def test_any_card_survives_its_json(card: ModelCard) -> None:
    text = card.to_json()
    assert "\n" not in text
    assert ModelCard.from_json(text) == card
    assert ModelCard.from_json(text).to_json() == text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
places = st.sampled_from(
    [
        *((item.name,) for item in dataclasses.fields(ModelCard)),
        *(("image", item.name) for item in dataclasses.fields(ImageInput)),
        *(("image", "pixels", item.name) for item in dataclasses.fields(Pixels)),
        *(("output", item.name) for item in dataclasses.fields(VectorOutput)),
        *(("thresholds", 0, item.name) for item in dataclasses.fields(Threshold)),
    ]
)


@settings(max_examples=400, deadline=None)
@given(places, json_values)
def test_any_json_in_any_place_is_read_or_refused_as_a_card_error(place: tuple[str | int, ...], value: object) -> None:
    try:
        card = ModelCard.from_json(changed(*place, to=value))
    except CardError:
        return
    assert ModelCard.from_json(card.to_json()) == card


def test_the_json_is_one_line_with_sorted_keys_and_plain_letters() -> None:
    text = ModelCard("reid", "osnet", extra={"b": "ö", "a": ""}, created_by="me").to_json()
    assert text == (
        '{"arch":"osnet","created_by":"me","extra":{"a":"","b":"ö"},"fingerprint":"","image":null,"licence":"",'
        '"output":null,"precision":"float32","task":"reid","thresholds":[],"trained_on":"","version":1,'
        '"weights":"unknown"}'
    )


def test_a_card_of_only_what_must_be_said_is_read_with_defaults() -> None:
    assert ModelCard.from_json('{"task": "ball", "arch": "tracknet", "version": 1}') == ModelCard("ball", "tracknet")


def test_whole_numbers_are_read_where_a_real_one_is_meant() -> None:
    mean = ModelCard.from_json(changed("image", "pixels", "mean", to=[1, 2, 3])).image.pixels.mean
    assert mean == (1.0, 2.0, 3.0)
    assert [type(value) for value in mean] == [float] * 3


# --- what a broken card is told ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (("task",), "card lacks task; add it, or re-export the model"),
        (("image", "name"), "card image lacks name; add it, or re-export the model"),
        (("image", "pixels", "mean"), "card image.pixels lacks mean; add it, or re-export the model"),
        (("output", "dim"), "card output lacks dim; add it, or re-export the model"),
        (("thresholds", 0, "far"), "card thresholds[0] lacks far; add it, or re-export the model"),
    ],
)
def test_a_missing_key_is_named_with_its_place(keys: tuple[str | int, ...], message: str) -> None:
    assert refusal(without(*keys)) == message


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("task",), 5, "card task is 5; expected text"),
        (("task",), "", "card task is empty; expected e.g. 'reid'"),
        (("weights",), "good", "card weights is 'good'; expected one of trained, imagenet, untrained, unknown"),
        (("fingerprint",), "XYZ", "card fingerprint is 'XYZ'; expected lowercase hexadecimal"),
        (("extra",), {"a": 1}, "card extra is {'a': 1}; expected text values by name"),
        (("image",), "images", "card image is text; expected a JSON object"),
        (("image", "name"), "", "card image.name is empty; expected the name of a graph input"),
        (("image", "size_hw"), [256], "card image.size_hw is [256]; expected 2 values"),
        (("image", "size_hw"), [256, 0], "card image.size_hw is (256, 0); expected two positive numbers"),
        (("image", "size_hw"), [256.5, 128], "card image.size_hw[0] is 256.5; expected a whole number"),
        (("image", "size_hw"), "256x128", "card image.size_hw is '256x128'; expected a list"),
        (("image", "batch"), "1", "card image.batch is '1'; expected a whole number"),
        (("image", "batch"), True, "card image.batch is True; expected a whole number"),
        (("image", "batch"), 0, "card image.batch is 0; expected 1 or more"),
        (("image", "folded"), 1, "card image.folded is 1; expected true or false"),
        (("image", "dtype"), "int8", "card image.dtype is 'int8'; expected one of float32, float16, uint8"),
        (("image", "layout"), "HWC", "card image.layout is 'HWC'; expected one of NCHW, NHWC"),
        (("image", "resize"), "cubic", "card image.resize is 'cubic'; expected one of antialias, linear, area"),
        (("image", "pixels", "color"), "GBR", "card image.pixels.color is 'GBR'; expected one of RGB, BGR"),
        (("image", "pixels", "mean"), [1, "2", 3], "card image.pixels.mean[1] is '2'; expected a number"),
        (("image", "pixels", "std"), [1, 0, 1], "card pixels.std is (1.0, 0.0, 1.0); expected positive numbers"),
        (("image", "pixels"), [127.5], "card image.pixels is a list; expected a JSON object"),
        (("output", "dim"), 0, "card output.dim is 0; expected 1 or more"),
        (("output", "name"), "", "card output.name is empty; expected the name of a graph output"),
        (("thresholds",), 0.7, "card thresholds is 0.7; expected a list"),
        (("thresholds", 0), 0.7, "card thresholds[0] is a number; expected a JSON object"),
        (("thresholds", 0, "far"), 1.5, "card threshold.far is 1.5; expected 0..1"),
        (("version",), "1", "card version is '1'; expected a whole number, 1 or more"),
        (("version",), None, "card version is None; expected a whole number, 1 or more"),
        (("version",), 0, "card version is 0; expected a whole number, 1 or more"),
    ],
)
def test_a_wrong_value_is_told_what_was_expected(keys: tuple[str | int, ...], value: object, message: str) -> None:
    assert refusal(changed(*keys, to=value)) == message


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused(number: str) -> None:
    mean = changed("image", "pixels", "mean", to=["?", 0, 0]).replace('"?"', number)
    assert "expected three finite numbers" in refusal(mean)
    value = changed("thresholds", 0, "value", to="?").replace('"?"', number)
    assert "expected a finite number" in refusal(value)


def test_a_number_too_long_for_a_float_is_refused() -> None:
    assert "too large" in refusal(changed("thresholds", 0, "value", to=10**400))


def test_a_mistyped_key_is_named_with_the_known_ones() -> None:
    message = refusal(changed("output", "dims", to=512))
    assert message == "card output has dims, which means nothing here; expected name, dim, normalised"


def test_a_newer_card_is_called_newer_whatever_else_it_says() -> None:
    message = refusal(json.dumps({"version": CARD_VERSION + 1, "new": True}))
    assert message == "model card version 2 is newer than this sightline reads (1); upgrade sightline"


@pytest.mark.parametrize(("text", "kind"), [("[]", "a list"), ('"x"', "text"), ("null", "null"), ("3", "a number")])
def test_json_that_is_no_object_is_refused(text: str, kind: str) -> None:
    assert refusal(text) == f"model card is {kind}; expected a JSON object"


@pytest.mark.parametrize("text", ["", "{", "task: reid", "[" * 100_000, "1" * 5000])
def test_text_that_is_not_json_is_refused(text: str) -> None:
    assert refusal(text).startswith("model card is ")


# --- pixels --------------------------------------------------------------------------------------------------------


def test_the_torchreid_preset_is_imagenet_statistics_in_pixel_units() -> None:
    preset = pixels_named("torchreid")
    assert preset.color == "RGB"
    assert preset.mean == pytest.approx([255 * value for value in (0.485, 0.456, 0.406)])
    assert preset.std == pytest.approx([255 * value for value in (0.229, 0.224, 0.225)])


def test_the_unit_preset_brings_white_to_one() -> None:
    preset = pixels_named("unit")
    assert [(255 - mean) / std for mean, std in zip(preset.mean, preset.std, strict=True)] == [1, 1, 1]


def test_the_face_preset_spans_minus_one_to_one() -> None:
    preset = pixels_named("face")
    assert [(0 - preset.mean[0]) / preset.std[0], (255 - preset.mean[0]) / preset.std[0]] == [-1, 1]


def test_the_scaling_of_the_deepstream_guide_keeps_a_name_of_its_own() -> None:
    scale, offset = 0.0078431372549, 127.5  # as its configuration file writes them
    preset = pixels_named("deepstream-guide")
    for value in (0.0, 64.0, 255.0):
        assert (value - preset.mean[0]) / preset.std[0] == pytest.approx(scale * (value - offset))
    assert preset.color == "RGB"
    assert preset != pixels_named("torchreid")


def test_an_unknown_preset_is_named_with_the_known_ones() -> None:
    with pytest.raises(CardError, match="no pixel preset 'imagenet'; expected one of torchreid, face, "):
        pixels_named("imagenet")


def test_the_presets_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        PIXELS["face"] = Pixels("BGR")  # type: ignore[index]


def test_pixels_say_their_arithmetic() -> None:
    assert str(PIXELS["face"]) == "RGB, (x - 127.5) / 127.5"
    assert str(PIXELS["torchreid"]) == "RGB, (x - 123.675/116.28/103.53) / 58.395/57.12/57.375"


def test_a_graph_that_normalises_is_fed_raw_pixels_in_the_order_it_wants() -> None:
    trained = PIXELS["torchreid"]
    assert ImageInput("x", (8, 8), trained).feed == trained
    assert ImageInput("x", (8, 8), trained, folded=True).feed == Pixels("RGB", (0, 0, 0), (1, 1, 1))
    assert ImageInput("x", (8, 8), trained, folded=True, fed_color="BGR").feed == Pixels("BGR", (0, 0, 0), (1, 1, 1))
    assert ImageInput("x", (8, 8)).feed is None


def test_bytes_cannot_be_fed_where_the_caller_must_normalise() -> None:
    with pytest.raises(CardError, match="uint8 but its pixels are not folded"):
        ImageInput("x", (8, 8), PIXELS["torchreid"], dtype="uint8")
    assert ImageInput("x", (8, 8), PIXELS["omz"], dtype="uint8").feed == Pixels("BGR")


# --- what nobody said ----------------------------------------------------------------------------------------------


def test_a_complete_card_leaves_no_question() -> None:
    assert CARD.unknowns() == ()


def test_every_open_question_is_listed_with_the_flag_that_answers_it() -> None:
    card = ModelCard("reid", "osnet", image=ImageInput("x", None), output=VectorOutput("y", None))
    assert card.unknowns() == (
        "image size (--size HEIGHTxWIDTH)",
        "colour order, mean and std (--pixels PRESET)",
        "feature dimension",
        "whether its vectors are L2-normalised",
        "whether its weights are trained",
    )


def test_a_model_without_image_and_vector_is_asked_nothing_about_them() -> None:
    assert ModelCard("ball", "tracknet", weights="trained").unknowns() == ()
