from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from PIL import Image as PillowImage

from gated_block import CHANNELS, SIZE_HW, crops, network
from painted_people import mean_colour_model
from sightline.card import CARD_KEY, PIXELS, ImageInput, ModelCard
from sightline.deploy.compare.labels import labels_in_names
from sightline.deploy.quantise.bench import Plan
from sightline.deploy.quantise.crops import Dealt, dealt
from sightline.deploy.quantise.int8 import feeds_of
from sightline.deploy.quantise.quantise import Outcome, quantise
from sightline.deploy.quantise.sensitive import gates, nodes_of, products, sums
from sightline.errors import BackendError, ConfigError, ExportError, ModelFormatError, OutputError
from sightline.images import image_files, prepare, read_image
from sightline.onnx_file import read_onnx
from sightline.reid.embedder import Embedder
from sightline.runtime.cards import Claims
from sightline.runtime.open import open_session

FLOOR = 0.9  # of networks this small, whose weights nobody trained
Graph = onnx.GraphProto


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return network(tmp_path / "block.onnx")


@pytest.fixture
def pictures(tmp_path: Path) -> Dealt:
    return dealt(crops(tmp_path / "crops", 48), count=16)


def made(model: Path, pictures: Dealt, name: str = "out.onnx", **plan: object) -> Outcome:
    return quantise(model, model.parent / name, pictures, plan=Plan(**{"floor": FLOOR, **plan}))  # type: ignore[arg-type]


def constants(graph: Graph) -> dict[str, NDArray[np.generic]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def feeders(graph: Graph, name: str) -> list[str]:
    """The kinds of nodes that feed the node of that name; "" for what no node makes."""
    makers = {output: node.op_type for node in graph.node for output in node.output}
    node = next(node for node in graph.node if node.name == name)
    return [makers.get(source, "") for source in node.input]


def graph_of(path: Path) -> Graph:
    return onnx.load(str(path)).graph


# --- what is written -----------------------------------------------------------------------------------------------


def test_each_channel_of_a_weight_has_the_scale_of_its_own_largest_value(model: Path, pictures: Dealt) -> None:
    weight = constants(graph_of(model))["w2"]
    found = constants(graph_of(made(model, pictures).path))
    expected = np.abs(weight).max(axis=(1, 2, 3)) / 127
    np.testing.assert_allclose(found["w2_scale"], expected, rtol=1e-5)
    np.testing.assert_array_equal(found["w2_quantized"], np.round(weight / expected[:, None, None, None]))


def test_the_input_has_the_range_of_the_calibration_crops_as_the_model_is_fed(model: Path, pictures: Dealt) -> None:
    found = constants(graph_of(made(model, pictures).path))
    pixels = PIXELS["torchreid"]
    fed = (np.stack([np.asarray(PillowImage.open(path)) for path in pictures.calibration]) - pixels.mean) / pixels.std
    scale = (fed.max() - fed.min()) / 255
    assert found["images_scale"] == pytest.approx(scale, rel=1e-4)
    assert found["images_zero_point"].dtype == np.uint8
    assert int(found["images_zero_point"]) == round(-fed.min() / scale)


def test_what_is_kept_stays_float32_and_the_rest_does_not(model: Path, pictures: Dealt) -> None:
    everything = graph_of(made(model, pictures, keep=()).path)
    assert feeders(everything, "excite") == ["DequantizeLinear", "DequantizeLinear"]
    kept = graph_of(made(model, pictures, keep=("gates", "sums", "products")).path)
    assert feeders(kept, "excite") == ["DequantizeLinear", ""]  # the mean itself is quantised, the weights are not
    assert "DequantizeLinear" not in {*feeders(kept, "gated")[1:], *feeders(kept, "sum")[1:]}
    for graph in (everything, kept):
        assert feeders(graph, "second") == ["DequantizeLinear", "DequantizeLinear"]
        assert feeders(graph, "out") == ["DequantizeLinear", "DequantizeLinear"]


def test_a_norm_over_an_image_is_never_quantised(tmp_path: Path, pictures: Dealt) -> None:
    written = graph_of(made(network(tmp_path / "ibn.onnx", norm=True), pictures).path)
    assert feeders(written, "norm")[1:] == ["", ""]  # its scale and bias
    assert all("norm" not in node.name for node in written.node if node.op_type.endswith("quantizeLinear"))


def test_seven_bits_are_never_more_than_sixty_four(model: Path, pictures: Dealt) -> None:
    full, reduced = (made(model, pictures, f"{name}.onnx", reduce_range=name == "r").path for name in "fr")
    largest = [int(np.abs(constants(graph_of(path))["w2_quantized"].astype(int)).max()) for path in (full, reduced)]
    assert largest[0] == 127
    assert largest[1] in {63, 64}


def test_the_card_says_what_it_is_and_forgets_what_no_longer_holds(model: Path, pictures: Dealt) -> None:
    source = ModelCard.from_json(read_onnx(model).metadata[CARD_KEY])
    outcome = made(model, pictures, keep=("gates",))
    file = read_onnx(outcome.path)
    card = ModelCard.from_json(file.metadata[CARD_KEY])
    assert card.fingerprint == file.fingerprint != source.fingerprint
    assert (card.precision, card.thresholds) == ("int8", ())
    assert card.extra == {
        "note": "kept",
        "quantised.from": source.fingerprint,
        "quantised.by": "int8 on 16 crops, gates in float32",
    }
    assert (card.image, card.output, card.weights) == (source.image, source.output, source.weights)
    assert file.metadata["author"] == "somebody"


def test_the_same_crops_give_the_same_bytes(model: Path, pictures: Dealt) -> None:
    first, second = (made(model, pictures, name).path.read_bytes() for name in ("a.onnx", "b.onnx"))
    assert first == second


def test_the_report_is_of_the_file_that_is_written(model: Path, pictures: Dealt) -> None:
    outcome = made(model, pictures)
    vectors = []
    for path in (model, outcome.path):
        with open_session(path, "onnxruntime", "cpu") as session:
            vectors.append(Embedder(session).embed([read_image(crop) for crop in pictures.judged]).vectors)
    cosines = [float(a @ b) for a, b in zip(*vectors, strict=True)]
    assert outcome.chosen.agreement.names == tuple(map(str, pictures.judged))
    np.testing.assert_allclose(outcome.chosen.agreement.cosines, cosines, atol=1e-5)
    assert outcome.size_bytes == (model.stat().st_size, outcome.path.stat().st_size)
    assert outcome.times_faster > 0


def test_thresholds_of_the_source_are_told_as_scores_of_the_result(tmp_path: Path, model: Path) -> None:
    labelled = [
        path.rename(path.with_name(f"{int(path.stem) % 6 + 1:04}_c{int(path.stem) // 6 % 2}_{path.name}"))
        for path in crops(tmp_path / "crops", 60)
    ]
    pictures = dealt(labelled, count=16)
    outcome = made(model, pictures, labels=labels_in_names(pictures.judged))
    (moved,) = outcome.chosen.agreement.moved
    people = [Path(name).name[:4] for name in outcome.chosen.pairs.names]
    strangers = np.triu(np.not_equal.outer(people, people), 1)
    a, b = (unit @ unit.T for unit in (outcome.chosen.pairs.a, outcome.chosen.pairs.b))
    assert moved.a == 0.5
    assert (b[strangers] >= moved.b).sum() == (a[strangers] >= 0.5).sum() == round(moved.far * strangers.sum())


# --- other kinds of source -----------------------------------------------------------------------------------------


def test_a_fixed_batch_is_fed_whole_batches(tmp_path: Path) -> None:
    pictures = dealt(crops(tmp_path / "crops", 30), count=10)
    outcome = made(network(tmp_path / "four.onnx", batch=4), pictures)
    assert outcome.chosen.card.image is not None
    assert outcome.chosen.card.image.batch == 4
    image = ImageInput("images", SIZE_HW, PIXELS["torchreid"], batch=4)
    read = [read_image(path) for path in pictures.calibration]
    fed = [feed["images"] for feed in feeds_of(read, image)]
    assert [part.shape[0] for part in fed] == [4, 4, 4]
    np.testing.assert_array_equal(fed[2], prepare([read[8], read[9], read[9], read[9]], image))


def test_an_older_opset_is_brought_up_to_one_with_scales_for_channels(tmp_path: Path, pictures: Dealt) -> None:
    outcome = made(network(tmp_path / "old.onnx", opset=11), pictures)
    assert read_onnx(outcome.path).opset >= 13
    assert outcome.chosen.agreement.smallest > FLOOR


def test_weights_kept_beside_the_model_are_taken_in(tmp_path: Path, model: Path, pictures: Dealt) -> None:
    beside = tmp_path / "beside.onnx"
    onnx.save(onnx.load(str(model)), str(beside), save_as_external_data=True, size_threshold=0, location="w.data")
    assert read_onnx(made(beside, pictures).path).external_data == ()


def test_nodes_without_names_can_be_kept_too(tmp_path: Path, model: Path, pictures: Dealt) -> None:
    nameless = onnx.load(str(model))
    for node in nameless.graph.node:
        node.name = ""
    onnx.save(nameless, str(tmp_path / "nameless.onnx"))
    written = graph_of(made(tmp_path / "nameless.onnx", pictures, keep=("gates",)).path)
    sigmoid = next(node.name for node in written.node if node.op_type == "Sigmoid")
    assert feeders(written, sigmoid) == ["Conv"]  # and not through eight bits


def test_a_model_without_a_card_is_told_by_its_user(tmp_path: Path, model: Path, pictures: Dealt) -> None:
    bare = onnx.load(str(model))
    del bare.metadata_props[:]
    onnx.save(bare, str(tmp_path / "foreign.onnx"))
    outcome = quantise(
        tmp_path / "foreign.onnx", tmp_path / "o.onnx", pictures, plan=Plan(floor=FLOOR), claims=Claims("torchreid")
    )
    assert outcome.chosen.card.image is not None
    assert outcome.chosen.card.image.pixels == PIXELS["torchreid"]


@pytest.mark.parametrize(("suffix", "said"), [("int8", "quantised already"), ("half", "half precision already")])
def test_a_model_in_fewer_bits_already_is_refused(
    tmp_path: Path, model: Path, pictures: Dealt, suffix: str, said: str
) -> None:
    if suffix == "int8":
        source = made(model, pictures).path
    else:
        halves = onnx.load(str(model))
        for value in (*halves.graph.input, *halves.graph.output):
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
        source = tmp_path / "half.onnx"
        onnx.save(halves, str(source))
    with pytest.raises(ModelFormatError, match=said):
        made(source, pictures, "again.onnx")


def test_a_checkpoint_is_to_be_exported_first(tmp_path: Path, pictures: Dealt) -> None:
    with pytest.raises(ModelFormatError, match="sightline export"):
        made(tmp_path / "best.pt", pictures)


def test_a_model_with_nothing_to_quantise_is_told_so(tmp_path: Path) -> None:
    pictures = dealt(crops(tmp_path / "crops", 20))
    with pytest.raises(ExportError, match="nothing was quantised"):
        made(mean_colour_model(tmp_path / "colour.onnx"), pictures)


# --- the verdict ---------------------------------------------------------------------------------------------------


def test_below_the_floor_nothing_is_written_and_the_worst_crop_is_named(model: Path, pictures: Dealt) -> None:
    with pytest.raises(ExportError, match=r"the floor is 1\. .*--force") as refused:
        made(model, pictures, floor=1.0)
    assert any(path.name in str(refused.value) for path in pictures.judged)
    assert [path.name for path in model.parent.iterdir() if path.is_file()] == ["block.onnx"]


def test_forced_it_is_written_with_the_best_that_was_found(
    model: Path, pictures: Dealt, caplog: pytest.LogCaptureFixture
) -> None:
    outcome = made(model, pictures, floor=1.0, force=True)
    assert [trial.keep for trial in outcome.tried] == [("gates",), ("gates", "sums"), ("gates", "sums", "products")]
    assert outcome.chosen.agreement.smallest == max(trial.agreement.smallest for trial in outcome.tried)
    assert "below the floor of 1" in caplog.text


def test_the_first_way_that_agrees_ends_the_search(model: Path, pictures: Dealt) -> None:
    outcome = made(model, pictures, floor=-1.0)
    assert [trial.keep for trial in outcome.tried] == [("gates",)]


def test_parts_that_a_network_lacks_are_not_tried(tmp_path: Path, pictures: Dealt) -> None:
    plain = onnx.load(str(network(tmp_path / "block.onnx")))
    nodes = {node.name: node for node in plain.graph.node}
    for name in ("squeeze", "excite", "sigmoid", "gated", "sum"):
        plain.graph.node.remove(nodes[name])
    nodes["pool"].input[0] = "b"
    onnx.save(plain, str(tmp_path / "plain.onnx"))
    outcome = made(tmp_path / "plain.onnx", pictures, floor=1.0, force=True)
    assert [trial.keep for trial in outcome.tried] == [()]


def test_a_gate_is_what_lies_between_a_mean_and_a_product(model: Path) -> None:
    graph = graph_of(model)
    assert gates(graph) == {"excite", "sigmoid"}  # and nothing behind "pool", which ends in the vector
    assert (products(graph), sums(graph)) == ({"gated"}, {"sum"})
    assert nodes_of(graph, ("gates", "sums")) == {"excite", "sigmoid", "sum"}


# --- crops ---------------------------------------------------------------------------------------------------------


def test_no_crop_is_both_measured_and_judged_by() -> None:
    paths = [Path(f"{index}.png") for index in range(300)]
    pictures = dealt(paths)
    assert len(pictures.calibration) == 96
    assert set(pictures.calibration) | set(pictures.judged) == set(paths)
    assert not set(pictures.calibration) & set(pictures.judged)
    assert dealt(paths, seed=1).calibration != pictures.calibration == dealt(paths).calibration


def test_crops_to_judge_by_are_taken_out_of_those_for_ranges() -> None:
    paths = [Path(f"{index}.png") for index in range(40)]
    pictures = dealt(paths, paths[:10], count=96)
    assert pictures.judged == tuple(paths[:10])
    assert pictures.calibration == tuple(paths[10:])


def test_few_crops_are_shared_evenly_and_too_few_refused() -> None:
    paths = [Path(f"{index}.png") for index in range(20)]
    assert len(dealt(paths).calibration) == 10
    with pytest.raises(ConfigError, match="7 crops to measure ranges on and 8 others"):
        dealt(paths[:15])
    with pytest.raises(ConfigError, match="0 crops to measure ranges on"):
        dealt(paths, paths)


def test_a_crop_that_cannot_be_read_is_left_out_of_either_kind(
    model: Path, pictures: Dealt, caplog: pytest.LogCaptureFixture
) -> None:
    broken = pictures.calibration[0], pictures.judged[0]
    for path in broken:
        path.write_bytes(b"\xff\xd8\xff no image")
    outcome = made(model, pictures)
    assert len(outcome.chosen.agreement.names) == len(pictures.judged) - 1
    assert outcome.chosen.card.extra["quantised.by"].startswith("int8 on 15 crops")
    assert all(str(path) in caplog.text for path in broken)


def test_where_hardly_any_crop_can_be_read_there_is_no_verdict(model: Path, pictures: Dealt) -> None:
    for path in pictures.judged:
        path.write_bytes(b"")
    with pytest.raises(ConfigError, match="0 crops to judge by can be read"):
        made(model, pictures)


# --- other forms ---------------------------------------------------------------------------------------------------


def test_float16_is_half_the_weights_and_hardly_another_vector(tmp_path: Path, model: Path, pictures: Dealt) -> None:
    outcome = made(model, pictures, precision="float16", floor=0.999)
    graph = graph_of(outcome.path)
    weight = next(tensor for tensor in graph.initializer if tensor.dims[:] == [CHANNELS, CHANNELS, 3, 3])
    assert weight.data_type == TensorProto.FLOAT16
    assert [spec.dtype for spec in (*read_onnx(outcome.path).inputs, *read_onnx(outcome.path).outputs)] == [
        "float32"
    ] * 2
    assert outcome.chosen.card.precision == "float16"


def test_an_openvino_pair_says_the_same_and_carries_the_card(model: Path, pictures: Dealt) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    outcome = made(model, pictures, "out.xml")
    with open_session(outcome.path) as session:
        assert session.backend == "openvino"
        assert session.card == outcome.chosen.card
        vectors = Embedder(session).embed([read_image(path) for path in pictures.judged]).vectors
    cosines = (vectors * outcome.chosen.pairs.b).sum(axis=1)
    assert cosines.min() > 0.995
    assert outcome.size_bytes[1] == sum(outcome.path.with_suffix(kind).stat().st_size for kind in (".xml", ".bin"))


def test_without_openvino_its_form_is_refused_before_any_work(
    model: Path, pictures: Dealt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sightline.runtime.openvino.missing", lambda: "openvino is not installed: pip install it")
    for path in (*pictures.calibration, *pictures.judged):
        path.unlink()
    with pytest.raises(BackendError, match=r"pip install it; or name a file that ends in \.onnx"):
        made(model, pictures, "out.xml")


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("out.engine", ConfigError, "ends in .onnx"),
        ("block.onnx", ConfigError, "is the source itself"),
        ("nowhere/out.onnx", OutputError, "the folder does not exist"),
    ],
)
def test_a_target_that_cannot_be_is_refused_before_any_work(
    model: Path, pictures: Dealt, name: str, error: type[Exception], said: str
) -> None:
    for path in (*pictures.calibration, *pictures.judged):
        path.unlink()  # none of them may be looked at
    before = model.read_bytes()
    with pytest.raises(error, match=said):
        made(model, pictures, name)
    assert model.read_bytes() == before


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"keep": ("feet",)}, "no part of a network is called 'feet'; expected some of gates, sums, products"),
        ({"floor": 98.0}, "expected -1 to 1"),
        ({"precision": "float16", "keep": ("gates",)}, "nothing to keep in float32"),
    ],
)
def test_a_plan_that_means_nothing_is_refused(plan: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Plan(**plan)  # type: ignore[arg-type]


# --- a network that somebody trained -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def market(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Outcome, Sequence[Path]]]:
    files = image_files(str(shared / "real/crops/market_train_50ids"))[:240]
    pictures = dealt(files)
    target = tmp_path_factory.mktemp("market") / "int8.onnx"
    source = shared / "real/models/osnet_x0_25_market1501_128x64.onnx"
    plan = Plan(labels=labels_in_names(pictures.judged))
    yield quantise(source, target, pictures, plan=plan, claims=Claims("torchreid")), files


def test_a_trained_osnet_stays_itself_in_eight_bits(market: tuple[Outcome, Sequence[Path]]) -> None:
    measured = market[0].chosen.agreement
    assert measured.smallest >= 0.98
    assert measured.rankings is not None
    source, result = (ranking.rank_k(1) for ranking in measured.rankings)
    assert abs(source - result) <= 0.0101
    assert market[0].size_bytes[1] < 0.7 * market[0].size_bytes[0]


def test_every_number_of_the_card_is_json(market: tuple[Outcome, Sequence[Path]]) -> None:
    card = market[0].chosen.card
    assert json.loads(card.to_json())["precision"] == "int8"
    assert replace(card, precision="float32") != card
