from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from sightline.card import CARD_KEY, PIXELS, ImageInput, ModelCard, Pixels, Threshold, VectorOutput
from sightline.deploy import export as export_module
from sightline.deploy.export import PRESETS, ExportPlan, Preset, export_osnet, probe_network, verify
from sightline.errors import ConfigError, ExportError, OutputError
from sightline.nets.checkpoint import weights_fingerprint
from sightline.nets.osnet import OSNet, build_osnet
from sightline.onnx_file import read_onnx

HEIGHT, WIDTH = 64, 32
DIM = 512
Plan = tuple[str, str, int | None]  # arch, preset or preset and fold as "ascend+uint8", batch

PLAIN, IBN, AIN = "osnet_x0_25", "osnet_ibn_x1_0", "osnet_ain_x0_25"
OPEN_PLANS: tuple[Plan, ...] = (
    (PLAIN, "sightline", None),
    (PLAIN, "ascend", None),
    (PLAIN, "deepstream", None),
    (PLAIN, "ascend+uint8", None),
    (IBN, "ascend", None),
    (IBN, "deepstream", None),
    (IBN, "ascend+uint8", None),
    (AIN, "ascend", None),
    (AIN, "deepstream", None),
    (AIN, "ascend+uint8", None),
)
FIXED_PLAN: Plan = (PLAIN, "sightline", 4)
PLANS = (*OPEN_PLANS, FIXED_PLAN)


# --- networks, cards and files -------------------------------------------------------------------------------------


def lived_in(arch: str, *, feature_dim: int = DIM) -> OSNet:
    """A network whose norms have statistics of their own: fresh ones are 0 and 1, and folding them wrongly hides."""
    net = build_osnet(arch, feature_dim=feature_dim, seed=3).eval()
    random = torch.Generator().manual_seed(5)
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.InstanceNorm2d)):
            module.weight.data = 0.7 + 0.6 * torch.rand(module.weight.shape, generator=random)
            module.bias.data = 0.2 * torch.randn(module.bias.shape, generator=random)
            if isinstance(module.running_mean, torch.Tensor) and isinstance(module.running_var, torch.Tensor):
                module.running_mean.copy_(0.2 * torch.randn(module.running_mean.shape, generator=random))
                module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=random))
    return net


def card_of(net: OSNet, pixels: Pixels = PIXELS["torchreid"]) -> ModelCard:
    return ModelCard(
        task="reid",
        arch=net.spec.name,
        image=ImageInput("anything", (HEIGHT, WIDTH), pixels),
        fingerprint=weights_fingerprint(net.state_dict()),
    )


def plan_of(form: str, batch: int | None = None) -> ExportPlan:
    name, _, fold = form.partition("+")
    preset = PRESETS[name]
    return ExportPlan(replace(preset, fold="uint8") if fold else preset, batch=batch)


@dataclass(frozen=True)
class Exported:
    path: Path
    net: OSNet
    plan: ExportPlan

    @property
    def model(self) -> onnx.ModelProto:
        return onnx.load(str(self.path))

    def card(self) -> ModelCard:
        text = {entry.key: entry.value for entry in self.model.metadata_props}[CARD_KEY]
        return ModelCard.from_json(text)

    def run(self, feed: NDArray[np.generic]) -> NDArray[np.float32]:
        """ONNX Runtime with nothing of ours around it."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        (vectors,) = session.run(None, {self.plan.preset.input_name: feed})
        return np.asarray(vectors)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Plan], Exported]:
    """Each file is written once, into a folder of its own."""
    done: dict[Plan, Exported] = {}
    nets: dict[str, OSNet] = {}

    def get(plan: Plan) -> Exported:
        arch, form, batch = plan
        if plan not in done:
            net = nets.setdefault(arch, lived_in(arch))
            path = tmp_path_factory.mktemp("exported") / "model.onnx"
            export_osnet(net, path, card=card_of(net), plan=plan_of(form, batch))
            done[plan] = Exported(path, net, plan_of(form, batch))
        return done[plan]

    return get


def noise(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, HEIGHT, WIDTH, 3), dtype=np.uint8)


def telling_images() -> NDArray[np.uint8]:
    """BGR images on which a wrong border, channel order or mean shows: flat ones, and one lit pixel at each border."""
    flat = [np.full((HEIGHT, WIDTH, 3), value, np.uint8) for value in (0, 255)]
    places = [(0, 0), (0, WIDTH - 1), (HEIGHT - 1, 0), (HEIGHT - 1, WIDTH - 1), (0, WIDTH // 2), (HEIGHT // 2, 0)]
    lit = []
    for index, (y, x) in enumerate(places):
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        image[y, x, index % 3] = 255
        lit.append(image)
    return np.stack([*flat, *lit, *noise(2)])


def slowly_normalised(images: NDArray[np.uint8], pixels: Pixels) -> NDArray[np.float32]:
    """BGR bytes to what the network was trained on, pixel by pixel in double precision."""
    out = np.zeros((len(images), 3, HEIGHT, WIDTH), np.float64)
    bgr_index = {"RGB": (2, 1, 0), "BGR": (0, 1, 2)}[pixels.color]
    for n, y, x, channel in product(range(len(images)), range(HEIGHT), range(WIDTH), range(3)):
        value = float(images[n, y, x, bgr_index[channel]])
        out[n, channel, y, x] = (value - pixels.mean[channel]) / pixels.std[channel]
    return out.astype(np.float32)


def feed_for(plan: ExportPlan, images: NDArray[np.uint8]) -> NDArray[np.generic]:
    """The same images as a caller who reads the card would feed them."""
    if plan.preset.fold == "uint8":
        return images
    if plan.preset.fold == "float":
        return np.ascontiguousarray(images[..., ::-1].transpose(0, 3, 1, 2)).astype(np.float32)
    return slowly_normalised(images, PIXELS["torchreid"])


def relative_difference(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.abs(a - b).max() / np.abs(a).max())


def smallest_cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def declared(value: onnx.ValueInfoProto) -> tuple[str, int, list[str | int]]:
    tensor = value.type.tensor_type
    return value.name, tensor.elem_type, [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]


# --- what each destination was promised ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "opset", "takes", "gives"),
    [
        ("sightline", 13, ("input", TensorProto.FLOAT, ["batch", 3, HEIGHT, WIDTH]), "reid_features"),
        ("ascend", 11, ("image", TensorProto.FLOAT, ["batch", 3, HEIGHT, WIDTH]), "feature"),
        ("deepstream", 17, ("input", TensorProto.FLOAT, ["batch", 3, HEIGHT, WIDTH]), "embedding"),
        ("ascend+uint8", 11, ("image", TensorProto.UINT8, ["batch", HEIGHT, WIDTH, 3]), "feature"),
    ],
)
def test_a_preset_gives_the_promised_names_types_shapes_and_opset(
    exported: Callable[[Plan], Exported], form: str, opset: int, takes: tuple[str, int, list[str | int]], gives: str
) -> None:
    model = exported((PLAIN, form, None)).model
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
    assert [declared(value) for value in model.graph.input] == [takes]
    assert [declared(value) for value in model.graph.output] == [(gives, TensorProto.FLOAT, ["batch", DIM])]


def test_only_the_preset_that_promises_it_normalises_its_vectors(exported: Callable[[Plan], Exported]) -> None:
    for form in ("sightline", "ascend", "deepstream"):
        file = exported((PLAIN, form, None))
        norms = np.linalg.norm(file.run(feed_for(file.plan, noise(3))), axis=1)
        assert file.card().output == VectorOutput(file.plan.preset.output_name, DIM, normalised=form == "sightline")
        assert np.allclose(norms, 1, atol=1e-5) == (form == "sightline"), norms


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_the_graph_is_valid_and_has_its_batch_norms_folded(exported: Callable[[Plan], Exported], plan: Plan) -> None:
    model = exported(plan).model
    onnx.checker.check_model(model, full_check=True)
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}


@pytest.mark.parametrize("plan", [OPEN_PLANS[0], OPEN_PLANS[3], FIXED_PLAN], ids=str)
def test_the_file_is_all_there_is_in_its_folder(exported: Callable[[Plan], Exported], plan: Plan) -> None:
    path = exported(plan).path
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]
    assert read_onnx(path).external_data == ()


def test_an_open_batch_gives_each_image_the_same_vector_in_any_company(exported: Callable[[Plan], Exported]) -> None:
    file = exported((PLAIN, "sightline", None))
    feed = feed_for(file.plan, noise(5))
    five, two = file.run(feed), file.run(feed[:2])
    alone = np.concatenate([file.run(feed[index : index + 1]) for index in range(5)])
    assert five.shape == (5, DIM)
    assert relative_difference(five, alone) < 1e-5
    assert relative_difference(five[:2], two) < 1e-5


def test_a_fixed_batch_is_declared_and_insisted_on(exported: Callable[[Plan], Exported]) -> None:
    fixed, free = exported(FIXED_PLAN), exported((PLAIN, "sightline", None))
    feed = feed_for(fixed.plan, noise(4))
    assert [declared(value)[2] for value in (*fixed.model.graph.input, *fixed.model.graph.output)] == [
        [4, 3, HEIGHT, WIDTH],
        [4, DIM],
    ]
    image = fixed.card().image
    assert image is not None
    assert image.batch == 4
    assert relative_difference(fixed.run(feed), free.run(feed)) < 1e-5
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument):
        fixed.run(feed[:3])


# --- the card ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "image"),
    [
        ("sightline", ImageInput("input", (HEIGHT, WIDTH), PIXELS["torchreid"])),
        ("ascend", ImageInput("image", (HEIGHT, WIDTH), PIXELS["torchreid"])),
        ("deepstream", ImageInput("input", (HEIGHT, WIDTH), PIXELS["torchreid"], folded=True)),
        (
            "ascend+uint8",
            ImageInput(
                "image",
                (HEIGHT, WIDTH),
                PIXELS["torchreid"],
                folded=True,
                fed_color="BGR",
                layout="NHWC",
                dtype="uint8",
            ),
        ),
    ],
)
def test_the_card_says_what_the_file_is_to_be_fed(
    exported: Callable[[Plan], Exported], form: str, image: ImageInput
) -> None:
    file = exported((PLAIN, form, None))
    assert file.card() == replace(card_of(file.net), image=image, output=file.card().output)
    assert file.card().fingerprint == weights_fingerprint(file.net.state_dict())


def test_a_card_keeps_every_fact_that_the_export_does_not_change(tmp_path: Path) -> None:
    net = lived_in(PLAIN)
    told = ModelCard(
        task="reid",
        arch=PLAIN,
        image=ImageInput("x", (HEIGHT, WIDTH), PIXELS["face"], resize="linear", batch=9),
        output=VectorOutput("y", 77, normalised=True),
        weights="trained",
        fingerprint="ab" * 32,
        trained_on="msmt17",
        licence="CC-BY-NC-4.0",
        thresholds=(Threshold(0.6, far=0.01, aggregation="single", pairs=1000),),
        extra={"epochs": "80"},
        created_by="another program",
    )
    path = tmp_path / "m.onnx"
    export_osnet(net, path, card=told, plan=ExportPlan())
    assert Exported(path, net, ExportPlan()).card() == replace(
        told,
        image=ImageInput("input", (HEIGHT, WIDTH), PIXELS["face"], resize="linear"),
        output=VectorOutput("reid_features", DIM, normalised=True),
    )


def test_the_dimension_is_that_of_the_network_whatever_the_card_says(tmp_path: Path) -> None:
    net = lived_in(PLAIN, feature_dim=96)
    card = replace(card_of(net), output=VectorOutput("y", 512))
    export_osnet(net, tmp_path / "m.onnx", card=card, plan=plan_of("ascend"))
    file = Exported(tmp_path / "m.onnx", net, plan_of("ascend"))
    assert [declared(value) for value in file.model.graph.output] == [("feature", TensorProto.FLOAT, ["batch", 96])]
    assert file.card().output == VectorOutput("feature", 96, normalised=False)


@pytest.mark.parametrize(
    ("image", "asked_for"),
    [
        (ImageInput("x", (HEIGHT, WIDTH)), "colour order, mean and std (--pixels PRESET)"),
        (ImageInput("x", None, PIXELS["face"]), "image size (--size HEIGHTxWIDTH)"),
        (None, "its input"),
    ],
)
def test_a_card_too_vague_to_feed_the_network_is_refused(
    tmp_path: Path, image: ImageInput | None, asked_for: str
) -> None:
    net = lived_in(PLAIN)
    with pytest.raises(ExportError) as caught:
        export_osnet(net, tmp_path / "m.onnx", card=replace(card_of(net), image=image), plan=ExportPlan())
    assert str(caught.value) == f"cannot export {PLAIN}: its card leaves open {asked_for}"
    assert list(tmp_path.iterdir()) == []


# --- the arithmetic ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["deepstream", "ascend+uint8"])
@pytest.mark.parametrize("arch", [PLAIN, IBN, AIN])
def test_a_folded_normalisation_is_exact_to_the_border(
    exported: Callable[[Plan], Exported], arch: str, form: str
) -> None:
    images = telling_images()
    folded, bare = exported((arch, form, None)), exported((arch, "ascend", None))
    expected = bare.run(slowly_normalised(images, PIXELS["torchreid"]))
    got = folded.run(feed_for(folded.plan, images))
    assert relative_difference(expected, got) < 2e-5
    assert smallest_cosine(expected, got) > 0.999999


def test_the_pixels_of_a_network_trained_on_bgr_are_not_swapped(tmp_path: Path) -> None:
    net = lived_in(PLAIN)
    pixels = Pixels("BGR", (10.0, 120.0, 240.0), (30.0, 60.0, 90.0))
    plan = plan_of("ascend+uint8")
    export_osnet(net, tmp_path / "m.onnx", card=card_of(net, pixels), plan=plan)
    images = telling_images()
    with torch.inference_mode():
        expected = net(torch.from_numpy(slowly_normalised(images, pixels))).numpy()
    assert relative_difference(expected, Exported(tmp_path / "m.onnx", net, plan).run(images)) < 2e-5


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_openvino_gives_the_vectors_that_pytorch_gives(exported: Callable[[Plan], Exported], plan: Plan) -> None:
    file = exported(plan)
    images = noise(4, seed=9)
    with torch.inference_mode():
        vectors = file.net(torch.from_numpy(slowly_normalised(images, PIXELS["torchreid"])))
    expected = (nn.functional.normalize(vectors, dim=1) if file.plan.preset.l2 else vectors).numpy()
    compiled = openvino.Core().compile_model(
        str(file.path), "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    )
    got = compiled(feed_for(file.plan, images))[0]
    assert smallest_cosine(expected, got) >= 0.99999
    assert relative_difference(expected, got) < 1e-3


def test_the_same_export_twice_gives_the_same_bytes(exported: Callable[[Plan], Exported], tmp_path: Path) -> None:
    first = exported((PLAIN, "ascend+uint8", None))
    again = tmp_path / "elsewhere.onnx"
    export_osnet(first.net, again, card=card_of(first.net), plan=first.plan)
    assert again.read_bytes() == first.path.read_bytes()


@pytest.mark.parametrize("arch", [PLAIN, AIN])
def test_a_network_exported_in_every_form_is_still_what_it_was(exported: Callable[[Plan], Exported], arch: str) -> None:
    before = lived_in(arch).state_dict()
    for form in ("ascend", "deepstream", "ascend+uint8"):
        after = exported((arch, form, None)).net.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)


def test_random_weights_are_probed_as_such() -> None:
    net = build_osnet(PLAIN, feature_dim=64, seed=0)
    probe = probe_network(net, card_of(net))
    assert not probe.tells_apart
    assert "do NOT tell people apart" in str(probe)


# --- files that are wrong, and disks that are full ------------------------------------------------------------------


Spoil = Callable[[Callable[[onnx.ModelProto], None]], None]


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch, exported: Callable[[Plan], Exported]) -> Spoil:
    """Let the simplifier return a graph that is not the one it was given. To save time, it is one traced before."""

    def with_change(change: Callable[[onnx.ModelProto], None]) -> None:
        def spoiling(model: onnx.ModelProto) -> onnx.ModelProto:
            change(model)
            return model

        traced = exported((PLAIN, "ascend", None)).model
        traced.ClearField("metadata_props")
        monkeypatch.setattr(export_module, "_traced", lambda *_: traced)
        monkeypatch.setattr(export_module, "_simplified", spoiling)

    return with_change


def perturb_one_weight(model: onnx.ModelProto) -> None:
    """The largest value of the first filter bank, a tenth larger."""
    weights = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 4)
    values = numpy_helper.to_array(weights).copy()
    values.flat[np.abs(values).argmax()] *= 1.1
    weights.CopyFrom(numpy_helper.from_array(values, weights.name))


def break_batches_of_more_than_one(model: onnx.ModelProto) -> None:
    """Add 0 × √(1.5 − rows) to the output, which is 0 for one row and NaN for more."""
    output = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["sound" if name == output else name for name in node.output]
    constants = {"first": np.array([0]), "limit": np.float32([1.5]), "zero": np.float32([0])}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    model.graph.node.extend(
        [
            helper.make_node("Shape", ["sound"], ["shape"]),
            helper.make_node("Gather", ["shape", "first"], ["rows"]),
            helper.make_node("Cast", ["rows"], ["count"], to=TensorProto.FLOAT),
            helper.make_node("Sub", ["limit", "count"], ["room"]),
            helper.make_node("Sqrt", ["room"], ["root"]),
            helper.make_node("Mul", ["root", "zero"], ["nothing"]),
            helper.make_node("Add", ["sound", "nothing"], [output]),
        ]
    )


@pytest.mark.parametrize("change", [perturb_one_weight, break_batches_of_more_than_one])
def test_a_file_that_disagrees_with_pytorch_is_refused_and_leaves_nothing(
    spoil: Spoil, tmp_path: Path, change: Callable[[onnx.ModelProto], None]
) -> None:
    net = lived_in(PLAIN)
    spoil(change)
    with pytest.raises(ExportError, match=r"m\.onnx was not written: the file disagrees with PyTorch on 9 random"):
        export_osnet(net, tmp_path / "m.onnx", card=card_of(net), plan=plan_of("ascend"))
    assert list(tmp_path.iterdir()) == []


def test_the_file_whose_spoiling_is_refused_is_accepted_unspoilt(spoil: Spoil, tmp_path: Path) -> None:
    net = lived_in(PLAIN)
    spoil(lambda _model: None)
    assert export_osnet(net, tmp_path / "m.onnx", card=card_of(net), plan=plan_of("ascend")).passed


def test_a_refused_file_does_not_touch_the_old_one_of_its_name(spoil: Spoil, tmp_path: Path) -> None:
    net = lived_in(PLAIN)
    spoil(perturb_one_weight)
    target = tmp_path / "m.onnx"
    target.write_bytes(b"the old model")
    with pytest.raises(ExportError):
        export_osnet(net, target, card=card_of(net), plan=plan_of("ascend"))
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]
    assert target.read_bytes() == b"the old model"


def test_verification_sees_the_weights_of_another_network(exported: Callable[[Plan], Exported]) -> None:
    file = exported((PLAIN, "ascend", None))
    other = build_osnet(PLAIN, seed=99).eval()
    assert verify(file.path, file.net, file.card()).passed
    assert not verify(file.path, other, file.card()).passed


@pytest.fixture
def little_room() -> Iterator[Callable[[], None]]:
    """Call it, and no file of this process may grow past 64 KiB."""
    resource = pytest.importorskip("resource", reason="limits on file size are POSIX")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_no_room_for_the_file_is_one_error_and_leaves_the_old_one(
    spoil: Spoil, tmp_path: Path, little_room: Callable[[], None]
) -> None:
    net = lived_in(PLAIN)
    target = tmp_path / "m.onnx"
    target.write_bytes(b"the old model")
    spoil(lambda _model: little_room())
    with pytest.raises(OutputError) as caught:
        export_osnet(net, target, card=card_of(net), plan=plan_of("ascend"))
    assert str(caught.value).startswith(f"cannot write {target}: ")
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EFBIG
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("m.onnx", b"the old model")]


def test_no_room_for_the_traced_graph_is_one_error_too(tmp_path: Path, little_room: Callable[[], None]) -> None:
    net = lived_in(PLAIN)
    little_room()
    with pytest.raises(OutputError, match=r"cannot write .*traced\.onnx: "):
        export_osnet(net, tmp_path / "m.onnx", card=card_of(net), plan=plan_of("ascend"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "reason"), [("none/m.onnx", "the folder does not exist"), ("file/m.onnx", "its parent is not a folder")]
)
def test_a_place_that_cannot_be_written_is_named_before_any_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, reason: str
) -> None:
    net = lived_in(PLAIN)
    (tmp_path / "file").touch()
    monkeypatch.setattr(export_module, "_traced", lambda *_: pytest.fail("the network was traced for nothing"))
    with pytest.raises(OutputError, match=reason):
        export_osnet(net, tmp_path / name, card=card_of(net), plan=plan_of("ascend"))


def test_images_too_small_for_the_network_are_refused(tmp_path: Path) -> None:
    net = lived_in(PLAIN)
    card = replace(card_of(net), image=ImageInput("x", (8, 8), PIXELS["torchreid"]))
    with pytest.raises(ExportError, match=rf"^torch cannot trace {PLAIN} on \(8, 8\) images: Given input size"):
        export_osnet(net, tmp_path / "m.onnx", card=card, plan=ExportPlan())


@pytest.mark.parametrize("opset", [8, 21, 99])
def test_an_opset_the_exporter_cannot_write_is_refused_at_once(opset: int) -> None:
    with pytest.raises(ConfigError, match=f"^cannot write ONNX opset {opset}; expected 9 to 20$"):
        Preset("input", "output", l2=True, opset=opset)


@pytest.mark.parametrize("opset", [9, 20])
def test_the_outermost_opsets_are_written(tmp_path: Path, opset: int) -> None:
    net = lived_in(PLAIN)
    plan = ExportPlan(replace(PRESETS["sightline"], opset=opset, fold="uint8"))
    assert export_osnet(net, tmp_path / "m.onnx", card=card_of(net), plan=plan).passed
    assert read_onnx(tmp_path / "m.onnx").opset == opset
