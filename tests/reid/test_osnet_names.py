"""`load_osnet_model` and `extract_osnet_features`: the names and promises of the OSNet clustering notes."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from sightline.errors import ImageError, ModelFormatError, ModelNotFoundError, NoBackendError
from sightline.nets.checkpoint import save_checkpoint
from sightline.nets.osnet import OSNet, build_osnet
from sightline.reid.osnet import MODEL_TYPES, extract_osnet_features, load_osnet_model
from sightline.runtime.open import BACKENDS
from sightline.types import FloatArray, Image

SIZE_HW = (64, 32)
MEAN, STD = np.array([0.485, 0.456, 0.406]) * 255, np.array([0.229, 0.224, 0.225]) * 255  # of ImageNet, RGB
COUNTS = (0, 1, 15, 16, 17, 33)


@pytest.fixture(scope="module")
def net() -> OSNet:
    return build_osnet("osnet_x0_25", seed=0).eval()


@pytest.fixture(scope="module")
def any_batch(net: OSNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(net, tmp_path_factory.mktemp("models") / "osnet_x0_25_msmt17.onnx", batch=None)


@pytest.fixture(scope="module")
def batch_of_16(net: OSNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(net, tmp_path_factory.mktemp("models") / "osnet_x0_25_msmt17_b16.onnx", batch=16)


def exported(net: OSNet, path: Path, *, batch: int | None) -> Path:
    """As published files are: no card, any names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        torch.onnx.export(
            net,
            (torch.zeros(batch or 1, 3, *SIZE_HW),),
            str(path),
            input_names=["base_images"],
            output_names=["vectors"],
            dynamic_axes=None if batch else {"base_images": {0: "n"}, "vectors": {0: "n"}},
            dynamo=False,
        )
    return path


def crops(count: int, *, size_hw: tuple[int, int] = SIZE_HW) -> list[Image]:
    rng = np.random.default_rng(7)
    return [rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8) for _ in range(count)]


def features_by_hand(model: Path, images: list[Image]) -> FloatArray:
    """One crop at a time, as torchreid prepares them, straight through ONNX Runtime."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    rows = [np.empty((0, 512))]
    for image in images:
        fed = ((image[:, :, ::-1] - MEAN) / STD).transpose(2, 0, 1)[None].astype(np.float32)
        vector = session.run(None, {"base_images": fed})[0].astype(np.float64)
        rows.append(vector / np.linalg.norm(vector))
    return np.concatenate(rows).astype(np.float32)


# Loading


def test_an_onnx_file_loads_as_onnx(any_batch: Path) -> None:
    model, device, model_type = load_osnet_model(any_batch, device="cpu")
    assert (model.backend, device, model_type) == ("onnxruntime", "cpu", "onnx")


def test_a_path_may_be_text(any_batch: Path) -> None:
    assert load_osnet_model(str(any_batch), "cpu")[0].path == any_batch


def test_a_checkpoint_beside_a_missing_onnx_loads_as_pytorch(net: OSNet, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "osnet_x0_25.pth", net)
    model, device, model_type = load_osnet_model(tmp_path / "osnet_x0_25.onnx", "cpu")
    assert (model.path, device, model_type) == (tmp_path / "osnet_x0_25.pth", "cpu", "pytorch")


def test_with_neither_file_the_model_is_random_and_a_warning_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, device, model_type = load_osnet_model(tmp_path / "osnet_x0_5_msmt17.onnx", "cpu")
    assert (model.card.arch, device, model_type) == ("osnet_x0_5", "cpu", "random")
    assert any("UNTRAINED" in record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)


def test_without_a_path_the_model_is_a_small_random_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model, _, model_type = load_osnet_model(device="cpu")
    assert (model.card.arch, model.card.weights, model_type) == ("osnet_x0_25", "untrained", "random")


def test_random_weights_can_be_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"model file not found: .*osnet\.onnx \(nor .*osnet\.pth"):
        load_osnet_model(tmp_path / "osnet.onnx", "cpu", allow_random=False)


def test_random_weights_never_replace_a_file_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "osnet.onnx").write_bytes(b"")
    with pytest.raises(ModelFormatError, match="is empty"):
        load_osnet_model(tmp_path / "osnet.onnx", "cpu")


def test_a_device_that_is_not_there_becomes_the_cpu_and_is_said_in_the_words_of_the_notes(
    any_batch: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA, so nothing falls back")
    model, device, _ = load_osnet_model(any_batch)  # the default is cuda
    assert (device, model.device) == ("cpu", "cpu")
    assert "CUDA not available, falling back to CPU" in caplog.text
    assert len(model.fallbacks) == 1


@pytest.mark.parametrize("path", ["there", "nowhere"])
def test_with_no_backend_installed_it_is_the_runtime_error_of_the_notes(
    path: str, any_batch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("onnxruntime", "openvino", "torch"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RuntimeError, match=r"^No OSNet backend available") as caught:
        load_osnet_model(any_batch if path == "there" else tmp_path / "osnet.onnx", "cpu")
    assert isinstance(caught.value, NoBackendError)


def test_every_backend_has_one_of_the_three_model_types() -> None:
    assert set(MODEL_TYPES) == set(BACKENDS)
    assert set(MODEL_TYPES.values()) == {"onnx", "pytorch", "random"}


def test_a_foreign_model_keeps_the_size_its_graph_has(any_batch: Path) -> None:
    image = load_osnet_model(any_batch, "cpu")[0].card.image
    assert image is not None
    assert image.size_hw == SIZE_HW


def test_that_a_foreign_model_is_fed_as_torchreid_does_is_said(
    any_batch: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    load_osnet_model(any_batch, "cpu")
    assert "carries no model card: fed as the published OSNet person models are (torchreid)" in caplog.text


# Features


@pytest.mark.parametrize("count", COUNTS)
def test_any_number_of_crops_has_the_features_of_one_at_a_time(any_batch: Path, count: int) -> None:
    model, device, model_type = load_osnet_model(any_batch, "cpu")
    features = extract_osnet_features(crops(count), model, device, model_type)
    assert (features.shape, features.dtype) == ((count, 512), np.float32)
    np.testing.assert_allclose(features, features_by_hand(any_batch, crops(count)), atol=2e-6)


@pytest.mark.parametrize("count", COUNTS)
def test_a_fixed_batch_of_16_has_the_features_of_an_open_one_and_no_others(
    any_batch: Path, batch_of_16: Path, count: int
) -> None:
    model, device, model_type = load_osnet_model(batch_of_16, "cpu")
    assert model.fixed_batch == 16
    features = extract_osnet_features(crops(count), model, device, model_type)
    assert features.shape == (count, 512)
    np.testing.assert_allclose(features, features_by_hand(any_batch, crops(count)), atol=2e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 16, 100])
@pytest.mark.parametrize("model", ["any_batch", "batch_of_16"])
def test_the_batch_size_changes_nothing_but_memory(model: str, batch_size: int, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(model)
    session, device, model_type = load_osnet_model(path, "cpu")
    features = extract_osnet_features(crops(17), session, device, model_type, batch_size=batch_size)
    expected = features_by_hand(request.getfixturevalue("any_batch"), crops(17))
    np.testing.assert_allclose(features, expected, atol=2e-6)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_size_that_holds_nothing_is_refused(any_batch: Path, batch_size: int) -> None:
    model, device, model_type = load_osnet_model(any_batch, "cpu")
    with pytest.raises(ValueError, match=f"batch_size is {batch_size}; expected 1 or more"):
        extract_osnet_features(crops(2), model, device, model_type, batch_size=batch_size)


def test_pytorch_gives_the_features_that_onnx_gives(net: OSNet, any_batch: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "osnet_x0_25.pth", net)
    model, device, model_type = load_osnet_model(tmp_path / "osnet_x0_25.pth", "cpu")
    features = extract_osnet_features(crops(3, size_hw=(256, 128)), model, device, model_type)
    onnx_model = exported_at_full_size(net, tmp_path)
    np.testing.assert_allclose(features, features_by_hand(onnx_model, crops(3, size_hw=(256, 128))), atol=5e-6)


def exported_at_full_size(net: OSNet, folder: Path) -> Path:
    """A checkpoint leaves the size open, and is then fed what all published models were trained on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, (torch.zeros(1, 3, 256, 128),), str(folder / "full.onnx"), input_names=["base_images"], dynamo=False
        )
    return folder / "full.onnx"


def test_random_features_are_features_all_the_same(tmp_path: Path) -> None:
    model, device, model_type = load_osnet_model(tmp_path / "osnet_x0_25.onnx", "cpu")
    features = extract_osnet_features(crops(3), model, device, model_type)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), np.ones(3), atol=1e-6)
    again = extract_osnet_features(crops(3), *load_osnet_model(tmp_path / "osnet_x0_25.onnx", "cpu"))
    assert features.tobytes() == again.tobytes()


def test_a_foreign_model_sees_rgb_less_the_imagenet_mean_over_its_deviation(tmp_path: Path) -> None:
    means = helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)
    taken = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, *SIZE_HW])
    given = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph([means], "means", [taken], [given])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(proto, str(tmp_path / "means.onnx"))
    bgr = (10, 120, 250)
    seen = np.array([(250 - 123.675) / 58.395, (120 - 116.28) / 57.12, (10 - 103.53) / 57.375])
    model, device, model_type = load_osnet_model(tmp_path / "means.onnx", "cpu")
    features = extract_osnet_features([np.full((*SIZE_HW, 3), bgr, np.uint8)], model, device, model_type)
    np.testing.assert_allclose(features, [seen / np.linalg.norm(seen)], atol=1e-6)


def test_crops_of_any_size_may_be_mixed_and_keep_their_order(any_batch: Path) -> None:
    model, device, model_type = load_osnet_model(any_batch, "cpu")
    mixed = [image for size in ((300, 90), (20, 40), SIZE_HW) for image in crops(2, size_hw=size)]
    together = extract_osnet_features(mixed, model, device, model_type)
    alone = [extract_osnet_features([image], model, device, model_type)[0] for image in mixed]
    np.testing.assert_allclose(together, alone, atol=2e-6)
    np.testing.assert_allclose(together[4:], features_by_hand(any_batch, mixed[4:]), atol=2e-6)


def test_a_crop_that_is_no_picture_is_refused(any_batch: Path) -> None:
    model, device, model_type = load_osnet_model(any_batch, "cpu")
    with pytest.raises(ImageError, match=r"expected BGR uint8 \(H, W, 3\)"):
        extract_osnet_features([np.zeros((64, 32), np.uint8)], model, device, model_type)


@pytest.mark.parametrize("claimed", ["pytorch", "random", "tensorflow", ""])
def test_a_model_type_that_is_not_that_of_the_model_is_refused(any_batch: Path, claimed: str) -> None:
    model, device, _ = load_osnet_model(any_batch, "cpu")
    with pytest.raises(ValueError, match=f"model_type is '{claimed}', but .* is 'onnx'"):
        extract_osnet_features(crops(1), model, device, claimed)
