from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from osnets import SMALL_HW, Osnets
from tiny_models import conv_mean, images

from sightline.errors import (
    BackendError,
    CheckpointError,
    ModelFormatError,
    ModelNotFoundError,
    NoBackendError,
)
from sightline.runtime.backend import DEVICES, missing_package
from sightline.runtime.onnxruntime import PROVIDERS, choose_device
from sightline.runtime.open import BACKENDS, READERS, backend_named, open_session

ARCH = "osnet_x0_25"


@pytest.fixture
def uninstall(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes packages look as absent as they do to `import` and to `find_spec` where nobody installed them."""

    def hide(*names: str) -> None:
        for name in names:
            monkeypatch.setitem(sys.modules, name, None)
            assert find_spec(name) is None

    return hide


@pytest.fixture
def checkpoint(osnets: Osnets, tmp_path: Path) -> Path:
    path = tmp_path / f"{ARCH}_msmt17.pth"
    path.write_bytes(osnets.checkpoint(ARCH).read_bytes())
    return path


# The three scenarios of the clustering notes


def test_a_missing_onnx_is_replaced_by_the_checkpoint_beside_it_and_that_is_on_record(
    checkpoint: Path, osnets: Osnets, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = checkpoint.with_suffix(".onnx")
    fed = images(2, SMALL_HW)
    with open_session(wanted) as session, open_session(osnets.onnx(ARCH, size_hw=SMALL_HW)) as reference:
        assert (session.backend, session.path) == ("torch", checkpoint)
        right = reference.run({"input": fed})["features"]
        np.testing.assert_allclose(session.run({"input": fed})["features"], right, atol=1e-4 * np.abs(right).max())
    tried = [(attempt.backend, attempt.path, attempt.reason) for attempt in session.attempts]
    assert tried == [
        ("onnxruntime", str(wanted), "not found"),
        ("openvino", str(wanted), "not found"),
        ("torch", str(checkpoint), ""),
    ]
    assert session.fallbacks == session.attempts[:2]
    assert f"onnxruntime {wanted}: not found; using torch {checkpoint} instead" in caplog.text


def test_the_second_suffix_of_a_checkpoint_is_found_too(checkpoint: Path) -> None:
    beside = checkpoint.rename(checkpoint.with_suffix(".pt"))
    with open_session(checkpoint.with_suffix(".onnx")) as session:
        assert session.path == beside


def test_with_neither_file_the_model_is_not_found_and_everything_looked_for_is_named(tmp_path: Path) -> None:
    wanted = tmp_path / "osnet_x0_25_msmt17.onnx"
    with pytest.raises(ModelNotFoundError) as caught:
        open_session(wanted)
    for name in (wanted, wanted.with_suffix(".pth"), wanted.with_suffix(".pt")):
        assert str(name) in str(caught.value)
    assert "sightline models list" in str(caught.value)


def test_with_neither_file_random_weights_are_drawn_where_they_are_allowed_and_said_out_loud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = tmp_path / "osnet_ain_x0_25_msmt17.onnx"
    with open_session(wanted, allow_untrained=True) as session:
        assert (session.backend, session.card.weights) == ("untrained", "untrained")
        assert session.card.arch == "osnet_ain_x0_25"
        assert session.run({"input": images(2, SMALL_HW)})["features"].shape == (2, 512)
    assert [attempt.reason for attempt in session.fallbacks] == ["not found"] * 4
    [warning] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "UNTRAINED random weights (osnet_ain_x0_25, seed 0)" in warning.getMessage()


def test_a_model_that_is_there_is_opened_however_much_random_weights_are_allowed(tmp_path: Path) -> None:
    with open_session(conv_mean(tmp_path / "here.onnx").path, allow_untrained=True) as session:
        assert session.backend == "onnxruntime"


def test_with_no_backend_installed_each_is_listed_with_its_reason(
    checkpoint: Path, uninstall: Callable[..., None]
) -> None:
    uninstall("onnxruntime", "openvino", "torch")
    model = conv_mean(checkpoint.with_suffix(".onnx")).path
    with pytest.raises(RuntimeError) as caught:
        open_session(model)
    message = str(caught.value)
    assert isinstance(caught.value, NoBackendError)
    assert message.startswith(f"No OSNet backend available for {model}: ")
    assert f"onnxruntime: onnxruntime is not installed: pip install onnxruntime ({model})" in message
    assert f"openvino: openvino is not installed: pip install 'sightline[openvino]' ({model})" in message
    assert f"torch: torch is not installed: pip install 'sightline[export]' ({checkpoint})" in message
    assert "\n" not in message


def test_where_nothing_was_ever_installed_the_error_is_the_same(tmp_path: Path) -> None:
    model = conv_mean(tmp_path / "osnet.onnx").path
    program = (
        "import sys\n"
        "for name in ('onnxruntime', 'openvino', 'torch'): sys.modules[name] = None\n"
        "from sightline import open_session\n"
        "open_session(sys.argv[1])\n"
    )
    ran = subprocess.run([sys.executable, "-c", program, str(model)], capture_output=True, text=True, check=False)
    last = ran.stderr.strip().splitlines()[-1]
    assert last.startswith(f"sightline.errors.NoBackendError: No OSNet backend available for {model}: onnxruntime: ")


def test_random_weights_need_torch_as_well(tmp_path: Path, uninstall: Callable[..., None]) -> None:
    uninstall("torch")
    with pytest.raises(NoBackendError, match=r"^No OSNet backend available .* untrained: torch is not installed"):
        open_session(tmp_path / "nowhere.onnx", allow_untrained=True)


def test_without_onnxruntime_openvino_reads_the_file_and_the_reason_is_on_record(
    tmp_path: Path, uninstall: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    uninstall("onnxruntime")
    model = conv_mean(tmp_path / "conv.onnx")
    with open_session(model.path) as session:
        feeds = model.feeds(2)
        np.testing.assert_allclose(session.run(feeds)["features"], model.answer(feeds)["features"], atol=1e-5)
    assert session.backend == "openvino"
    assert [attempt.reason for attempt in session.fallbacks] == [
        "onnxruntime is not installed: pip install onnxruntime"
    ]
    assert "onnxruntime is not installed" in caplog.text


def test_without_an_onnx_runtime_the_checkpoint_beside_the_model_is_used(
    checkpoint: Path, uninstall: Callable[..., None]
) -> None:
    uninstall("onnxruntime", "openvino")
    conv_mean(checkpoint.with_suffix(".onnx"))
    with open_session(checkpoint.with_suffix(".onnx")) as session:
        assert (session.backend, session.path) == ("torch", checkpoint)


def test_a_named_backend_that_is_not_installed_is_not_replaced(tmp_path: Path, uninstall: Callable[..., None]) -> None:
    uninstall("onnxruntime")
    model = conv_mean(tmp_path / "conv.onnx").path
    with pytest.raises(NoBackendError, match=r"backend 'onnxruntime' is not available .* is not installed"):
        open_session(model, "onnxruntime")


def test_only_absence_counts_as_missing(uninstall: Callable[..., None]) -> None:
    assert missing_package("onnxruntime", "onnxruntime") == ""
    uninstall("onnxruntime")
    assert missing_package("onnxruntime", "it") == "onnxruntime is not installed: pip install it"


# Files that are there, but broken


def test_a_corrupt_onnx_is_an_error_although_a_good_checkpoint_lies_beside_it(checkpoint: Path) -> None:
    corrupt = checkpoint.with_suffix(".onnx")
    corrupt.write_bytes(b"not a model at all, whatever its name says")
    with pytest.raises(ModelFormatError, match=f"{corrupt.name}: not an ONNX file"):
        open_session(corrupt)


BROKEN = {
    "is empty": b"",
    "is a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 1\n",
    "is a web page": b"<!DOCTYPE html><html><body>Please log in</body></html>",
}


@pytest.mark.parametrize("reason", BROKEN)
@pytest.mark.parametrize("name", ["model.onnx", "model.pth", "model.xml", "model.engine"])
def test_a_file_that_cannot_be_a_model_is_refused_with_what_it_is(
    tmp_path: Path, name: str, reason: str, uninstall: Callable[..., None]
) -> None:
    path = tmp_path / name
    path.write_bytes(BROKEN[reason])
    with pytest.raises(ModelFormatError, match=rf"{name} {reason}"):
        open_session(path)
    uninstall("onnxruntime", "openvino", "torch")  # what a file is does not depend on what could read it
    with pytest.raises(ModelFormatError, match=rf"{name} {reason}"):
        open_session(path)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_truncated_onnx_is_called_truncated(osnets: Osnets, tmp_path: Path, backend: str, kept: float) -> None:
    whole = osnets.onnx(ARCH, size_hw=SMALL_HW).read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ModelFormatError, match=r"cut.onnx is truncated: .* bytes are missing"):
        open_session(path, backend)


def test_a_truncated_checkpoint_is_refused(checkpoint: Path) -> None:
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelFormatError, match=f"{checkpoint.name} cannot be read"):
        open_session(checkpoint)


def test_a_folder_is_refused_as_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ModelFormatError, match=r"folder.onnx is a folder; expected a model file"):
        open_session(tmp_path / "folder.onnx", allow_untrained=True)


def test_a_name_no_system_can_hold_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match="cannot be read: File name too long"):
        open_session(tmp_path / ("x" * 300 + ".onnx"))
    with pytest.raises(ModelNotFoundError, match="model file not found"):
        open_session(f"{tmp_path}/zero\0.onnx")


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_an_operator_nobody_knows_is_refused_with_the_file(tmp_path: Path, backend: str) -> None:
    path = conv_mean(tmp_path / "odd.onnx").path
    model = onnx.load(path)
    model.graph.node[0].op_type = "Divination"
    onnx.save(model, str(path))
    with pytest.raises(ModelFormatError, match=f"odd.onnx: {backend} cannot load it: .*Divination"):
        open_session(path, backend)


def external(path: Path, location: str) -> Path:
    """A model whose weights lie in `weights.bin`, and that says they lie at `location`."""
    model = onnx.load(conv_mean(path).path)
    onnx.save(model, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    outline = onnx.load(path, load_external_data=False)
    for weights in outline.graph.initializer:
        for entry in weights.external_data:
            entry.value = location if entry.key == "location" else entry.value
    path.write_bytes(outline.SerializeToString())
    return path


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_weights_in_a_file_beside_the_model_are_found(tmp_path: Path, backend: str) -> None:
    path = external(tmp_path / "two_files.onnx", "weights.bin")
    plain = conv_mean(tmp_path / "plain.onnx")
    feeds = plain.feeds(2)
    with open_session(path, backend) as session:
        np.testing.assert_allclose(session.run(feeds)["features"], plain.answer(feeds)["features"], atol=1e-5)


@pytest.mark.parametrize("backend", ["auto", "onnxruntime", "openvino"])
def test_weights_that_are_not_beside_the_model_are_named(tmp_path: Path, backend: str) -> None:
    path = external(tmp_path / "two_files.onnx", "weights.bin")
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelFormatError, match=r"weights file weights\.bin is missing beside .*two_files\.onnx"):
        open_session(path, backend)


@pytest.mark.parametrize("backend", ["auto", "onnxruntime", "openvino"])
@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "C:\\weights.bin"])
def test_weights_outside_the_folder_are_refused_although_they_are_there(
    tmp_path: Path, backend: str, location: str
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = external(folder / "escaping.onnx", location)
    (folder / "weights.bin").rename(tmp_path / "weights.bin")
    with pytest.raises(ModelFormatError, match="names weights outside its own folder"):
        open_session(path, backend)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    import torch

    torch.save({"state_dict": {"fc.weight": torch.zeros(2, 2)}}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other.pth: these tensors fit no network sightline knows"):
        open_session(tmp_path / "other.pth")


# What the caller may ask for


def test_every_backend_of_a_kind_of_file_is_a_backend() -> None:
    assert {backend for readers in READERS.values() for backend in readers} | {"untrained"} == set(BACKENDS)
    for name in BACKENDS:
        module = backend_named(name)
        assert isinstance(module.missing(), str)
        assert callable(module.open_model)


def test_an_unknown_backend_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    model = conv_mean(tmp_path / "conv.onnx").path
    for path in (model, tmp_path / "nowhere.onnx"):
        with pytest.raises(BackendError, match="no backend 'caffe'; expected auto, onnxruntime, openvino, tensorrt,"):
            open_session(path, "caffe")


@pytest.mark.parametrize(
    ("backend", "name", "readers"),
    [
        ("onnxruntime", "model.pth", "torch"),
        ("openvino", "model.pth", "torch"),
        ("torch", "model.onnx", "onnxruntime or openvino"),
        ("tensorrt", "model.onnx", "onnxruntime or openvino"),
        ("onnxruntime", "model.xml", "openvino"),
    ],
)
def test_a_backend_is_not_given_a_file_it_does_not_read(tmp_path: Path, backend: str, name: str, readers: str) -> None:
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(BackendError, match=f"{name}: {backend} does not read it; expected {readers}$"):
        open_session(tmp_path / name, backend)


def test_a_file_no_runtime_reads_is_refused_with_the_suffixes_that_are_read(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match=r"no runtime reads '\.txt'; expected \.onnx, \.pth"):
        open_session(tmp_path / "model.txt", allow_untrained=True)


def test_refusing_another_file_refuses_the_checkpoint_beside_a_missing_onnx(checkpoint: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="model file not found"):
        open_session(checkpoint.with_suffix(".onnx"), fallback=False)


# Devices

NO_CUDA = "this test wants a machine without CUDA"


@pytest.fixture
def opened_anywhere(
    request: pytest.FixtureRequest, osnets: Osnets, tmp_path: Path
) -> tuple[Path, str, dict[str, object]]:
    backend: str = request.param
    if backend == "torch":
        return osnets.checkpoint(ARCH), backend, {}
    if backend == "untrained":
        return tmp_path / "nowhere.onnx", backend, {"allow_untrained": True}
    return conv_mean(tmp_path / "conv.onnx").path, backend, {}


everywhere = pytest.mark.parametrize(
    "opened_anywhere", ["onnxruntime", "openvino", "torch", "untrained"], indirect=True
)


@everywhere
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "tensorrt", "ascend"])
def test_a_device_that_is_not_there_becomes_the_cpu_with_its_reason_in_the_log_and_on_record(
    opened_anywhere: tuple[Path, str, dict[str, bool]], device: str, caplog: pytest.LogCaptureFixture
) -> None:
    path, backend, how = opened_anywhere
    if backend in {"torch", "untrained"} and has_torch_cuda():
        pytest.skip(NO_CUDA)
    with open_session(path, backend, device=device, **how) as session:
        assert (session.backend, session.device) == (backend, "cpu")
    assert f"{device.upper()} not available, falling back to CPU" in caplog.text
    [lost] = session.fallbacks
    assert (lost.backend, lost.path) == (backend, str(path))
    assert lost.reason.startswith(f"{device.upper()} not available: ")


@everywhere
def test_a_device_that_is_not_there_is_an_error_where_another_will_not_do(
    opened_anywhere: tuple[Path, str, dict[str, bool]],
) -> None:
    path, backend, how = opened_anywhere
    if backend in {"torch", "untrained"} and has_torch_cuda():
        pytest.skip(NO_CUDA)
    with pytest.raises(BackendError, match=f"{path.name}: CUDA not available: "):
        open_session(path, backend, device="cuda", fallback=False, **how)


@everywhere
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_getting_the_device_asked_for_is_no_fallback(
    opened_anywhere: tuple[Path, str, dict[str, bool]], device: str, caplog: pytest.LogCaptureFixture
) -> None:
    path, backend, how = opened_anywhere
    with open_session(path, backend, device=device, fallback=False, **how) as session:
        assert session.fallbacks == ()
    assert "falling back" not in caplog.text


def test_without_onnxruntime_the_default_device_of_the_clustering_notes_still_falls_back(
    tmp_path: Path, uninstall: Callable[..., None]
) -> None:
    uninstall("onnxruntime")
    with open_session(conv_mean(tmp_path / "conv.onnx").path, device="cuda") as session:
        assert (session.backend, session.device) == ("openvino", "cpu")


def has_torch_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def test_the_providers_of_each_device_and_their_order_are_these() -> None:
    assert PROVIDERS == {
        "cpu": ("CPUExecutionProvider",),
        "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
        "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"),
        "ascend": ("CANNExecutionProvider", "CPUExecutionProvider"),
        "openvino": ("OpenVINOExecutionProvider", "CPUExecutionProvider"),
        "coreml": ("CoreMLExecutionProvider", "CPUExecutionProvider"),
        "directml": ("DmlExecutionProvider", "CPUExecutionProvider"),
    }
    assert tuple(PROVIDERS) == DEVICES


@pytest.mark.parametrize(
    ("available", "chosen"),
    [
        ([], "cpu"),
        (["CPUExecutionProvider"], "cpu"),
        (["AzureExecutionProvider", "CPUExecutionProvider"], "cpu"),
        (["CUDAExecutionProvider", "CPUExecutionProvider"], "cuda"),
        (["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"], "cuda"),
        (["TensorrtExecutionProvider", "CPUExecutionProvider"], "cpu"),
        (["CANNExecutionProvider", "CPUExecutionProvider"], "ascend"),
        (["DmlExecutionProvider", "CPUExecutionProvider"], "directml"),
        (["CoreMLExecutionProvider", "CPUExecutionProvider"], "cpu"),
        (["OpenVINOExecutionProvider", "CPUExecutionProvider"], "cpu"),
    ],
)
def test_auto_takes_the_first_accelerator_that_is_there_and_never_one_that_changes_the_model(
    available: list[str], chosen: str
) -> None:
    assert choose_device("auto", available) == (chosen, 0)


def test_a_named_device_is_asked_for_whether_it_is_there_or_not() -> None:
    assert choose_device("cuda", []) == ("cuda", 0)
    assert choose_device("cuda:3", []) == ("cuda", 3)
    assert choose_device("cpu", ["CUDAExecutionProvider"]) == ("cpu", 0)


def test_an_onnxruntime_without_any_provider_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", list)
    with pytest.raises(RuntimeError, match="No ONNX Runtime execution providers available"):
        open_session(conv_mean(tmp_path / "conv.onnx").path, "onnxruntime")
