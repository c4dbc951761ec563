from __future__ import annotations

import hashlib
import io
import logging
import os
import pickle
import pickletools
import random
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from sightline.card import CARD_KEY, ModelCard
from sightline.errors import (
    CardError,
    CheckpointError,
    ModelError,
    ModelFormatError,
    ModelNotFoundError,
    OutputError,
    UnsafeCheckpointError,
)
from sightline.nets.checkpoint import (
    Checkpoint,
    Coverage,
    guess_arch,
    load_checkpoint,
    load_into,
    read_checkpoint,
    save_checkpoint,
    weights_fingerprint,
)
from sightline.nets.osnet import ARCHS, build_osnet

State = dict[str, Tensor]

SMALL: State = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.tensor([0.5, -1.0])}

# Entries of x0_25 but for the classifier (2) and the step counters. Batch norms: stem 1; six blocks of conv1, ten in
# the streams and conv3 = 72; a downsample in each of three stages; two transitions; conv5; fc: 80 in all.
X0_25_TENSORS = 567 - 2 - 80


class Small(nn.Module):
    def __init__(self, *, classes: int = 0) -> None:
        super().__init__()
        self.a = nn.Linear(3, 2)
        if classes:
            self.classifier = nn.Linear(2, classes)


def saved(path: Path, content: object, *, zipped: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def same(first: State, second: State) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


# Envelopes


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("prefix", ["", "module.", "module.module."])
@pytest.mark.parametrize("envelope", ["raw", "state_dict", "model_state_dict", "model", "net", "weights"])
def test_weights_are_found_in_every_envelope(tmp_path: Path, envelope: str, prefix: str, zipped: bool) -> None:
    state = prefixed(SMALL, prefix)
    path = saved(tmp_path / "any.pth", state if envelope == "raw" else {envelope: state, "epoch": 3}, zipped=zipped)
    checkpoint = read_checkpoint(path)
    assert checkpoint.envelope == envelope
    assert same(checkpoint.state, SMALL)
    assert checkpoint.origin == str(path)


def test_an_envelope_is_preferred_to_tensors_beside_it(tmp_path: Path) -> None:
    path = saved(tmp_path / "any.pth", {"centres": torch.ones(3), "state_dict": SMALL, "optimizer": {"state": {}}})
    assert same(read_checkpoint(path).state, SMALL)


def test_numbers_of_numpy_beside_the_weights_are_safe_to_read(tmp_path: Path) -> None:
    scores = {"rank1": np.float32(0.942), "mAP": np.float64(0.826), "epoch": np.int64(150), "cmc": np.linspace(0, 1, 5)}
    assert same(read_checkpoint(saved(tmp_path / "any.pth.tar", {"state_dict": SMALL, **scores})).state, SMALL)


def test_numbers_of_the_other_numpy_are_read_too(tmp_path: Path) -> None:
    path = saved(tmp_path / "any.pth", {"state_dict": SMALL, "rank1": np.float32(0.942)}, zipped=False)
    data = path.read_bytes()
    here, there = (b"numpy._core.", b"numpy.core.") if b"numpy._core." in data else (b"numpy.core.", b"numpy._core.")
    path.write_bytes(data.replace(here, there))
    assert there in path.read_bytes()
    assert same(read_checkpoint(path).state, SMALL)


@pytest.mark.parametrize("call", [(np.dtype, ("no such type",)), (np.ndarray, ((2**60,),))], ids=["type", "array"])
def test_nothing_of_numpy_is_called_with_what_a_file_says(
    tmp_path: Path, call: tuple[Callable[..., object], tuple]
) -> None:
    class Forged:
        def __reduce__(self) -> tuple[Callable[..., object], tuple]:
            return call

    function, arguments = call
    with pytest.raises((TypeError, ValueError, MemoryError)):
        function(*arguments)
    assert same(read_checkpoint(saved(tmp_path / "any.pth", {"state_dict": SMALL, "forged": Forged()})).state, SMALL)


def as_python_2(data: bytes) -> bytes:
    """An old-format checkpoint with every text as the byte string that Python 2 pickled, in Latin-1."""
    stream, result = io.BytesIO(data), bytearray()
    for _ in range(5):  # magic number, version, system, the object, the names of the storages
        start = stream.tell()
        positions = [(operation, value, position) for operation, value, position in pickletools.genops(stream)]
        ends = [position for _, _, position in positions[1:]] + [stream.tell()]
        for (operation, value, position), end in zip(positions, ends, strict=True):
            text = value.encode("latin1") if operation.name == "BINUNICODE" else None
            result += data[position:end] if text is None else b"U" + struct.pack("B", len(text)) + text
        assert positions[0][2] == start
    return bytes(result) + data[stream.tell() :]


@pytest.mark.parametrize("allow_pickle", [False, True])
def test_a_python_2_checkpoint_with_an_accented_name_is_read(tmp_path: Path, allow_pickle: bool) -> None:
    path = saved(tmp_path / "any.pth", {"state_dict": SMALL, "author": "Zoë"}, zipped=False)
    path.write_bytes(as_python_2(path.read_bytes()))
    assert b"U\x03Zo\xeb" in path.read_bytes()
    with pytest.raises(UnicodeDecodeError):  # so the test is about something
        torch.load(path, weights_only=True)
    assert same(read_checkpoint(path, allow_pickle=allow_pickle).state, SMALL)


def test_the_copy_of_an_averaged_model_is_read_without_its_counter(tmp_path: Path) -> None:
    net = Small()
    averaged = torch.optim.swa_utils.AveragedModel(net)
    path = saved(tmp_path / "ema.pt", averaged.state_dict())
    assert str(load_checkpoint(Small(), path)) == "2 of 2 tensors matched (100 %)"


def test_a_name_with_and_without_prefix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match="both with and without `module"):
        read_checkpoint(saved(tmp_path / "any.pth", SMALL | prefixed(SMALL, "module.")))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"epoch": 3, "loss": 0.1}, "a dict of epoch, loss;"),
        (dict.fromkeys("abcdefgh"), "a dict of a, b, c, …;"),
        ([1, 2], "a list;"),
        (torch.ones(2), "a Tensor;"),
        ({0: torch.ones(2)}, "a dict of 0;"),
    ],
)
def test_a_file_without_weights_is_told_what_it_holds(tmp_path: Path, content: object, found: str) -> None:
    with pytest.raises(ModelFormatError) as caught:
        read_checkpoint(saved(tmp_path / "any.pth", content))
    assert f"holds {found} expected tensors by name, bare or under state_dict, " in str(caught.value)


# Files that are something else


def assert_one_line(error: BaseException) -> None:
    assert "\n" not in str(error)
    assert "\033" not in str(error)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"the weights are in the other folder\n", "no file torch.save wrote"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "a PNG image"),
        (b"\xff\xd8\xff\xe0" + bytes(40), "a JPEG image"),
        (b"\x1f\x8b\x08" + bytes(40), "a gzip archive"),
        (b"\x08\x08\x12\x07pytorch" + bytes(40), "expected a PyTorch checkpoint"),
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    ],
    ids=["text", "png", "jpeg", "gzip", "onnx", "empty", "lfs"],
)
def test_another_kind_of_file_is_named(tmp_path: Path, data: bytes, what: str) -> None:
    path = tmp_path / "osnet.pth"
    path.write_bytes(data)
    with pytest.raises(ModelFormatError, match=what) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    assert_one_line(caught.value)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        read_checkpoint(tmp_path / "osnet.pth")


@pytest.mark.parametrize("allow_pickle", [False, True])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kept", [0.05, 0.3, 0.6, 0.95])
def test_a_truncated_file_is_called_damaged(tmp_path: Path, kept: float, zipped: bool, allow_pickle: bool) -> None:
    path = saved(tmp_path / "any.pth", {"state_dict": {"a": torch.ones(500)}}, zipped=zipped)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(ModelFormatError, match=r"cannot be read .*damaged") as caught:
        read_checkpoint(path, allow_pickle=allow_pickle)
    assert_one_line(caught.value)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_torchscript_archive_is_called_one(tmp_path: Path) -> None:
    path = tmp_path / "any.pt"
    torch.jit.save(torch.jit.trace(nn.ReLU(), torch.ones(1)), path)
    with pytest.raises(ModelFormatError, match="TorchScript") as caught:
        read_checkpoint(path)
    assert_one_line(caught.value)


# Code in the file


class Touch:
    """Leaves a file behind when unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch '{self.marker}'",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_a_command_is_refused_and_the_command_named(tmp_path: Path, zipped: bool) -> None:
    marker = tmp_path / "ran"
    path = saved(tmp_path / "any.pth", {"state_dict": SMALL, "extra": Touch(marker)}, zipped=zipped)
    with pytest.raises(
        UnsafeCheckpointError, match=r"run (posix|nt)\.system to load.*--unsafe-pickle only if"
    ) as caught:
        read_checkpoint(path)
    assert_one_line(caught.value)
    assert not marker.exists()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_no_protocol_of_pickle_gets_a_command_run(tmp_path: Path, protocol: int) -> None:
    marker, path = tmp_path / "ran", tmp_path / "any.pth"
    path.write_bytes(pickle.dumps(Touch(marker), protocol=protocol))
    with pytest.raises(ModelError) as caught:
        read_checkpoint(path)
    assert_one_line(caught.value)
    assert not marker.exists()


@pytest.mark.skipif(os.name == "nt", reason="runs touch")
def test_the_marker_does_appear_when_code_is_allowed(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = saved(tmp_path / "any.pth", {"state_dict": SMALL, "extra": Touch(marker)})
    assert same(read_checkpoint(path, allow_pickle=True).state, SMALL)
    assert marker.exists()


def test_a_whole_network_is_read_only_where_its_code_may_run(tmp_path: Path) -> None:
    net = Small()
    path = saved(tmp_path / "whole.pth", net)
    with pytest.raises(UnsafeCheckpointError, match=rf"run {Small.__module__}\.Small to load"):
        read_checkpoint(path)
    checkpoint = read_checkpoint(path, allow_pickle=True)
    assert checkpoint.envelope == "module"
    assert same(checkpoint.state, dict(net.state_dict()))


def test_a_network_under_a_key_is_read_where_its_code_may_run(tmp_path: Path) -> None:
    net = Small()
    checkpoint = read_checkpoint(saved(tmp_path / "whole.pth", {"model": net, "epoch": 1}), allow_pickle=True)
    assert checkpoint.envelope == "model"
    assert same(checkpoint.state, dict(net.state_dict()))


def test_a_network_whose_code_is_not_installed_says_which(tmp_path: Path) -> None:
    path = saved(tmp_path / "whole.pth", Small(), zipped=False)
    here = f"c{Small.__module__}\nSmall\n".encode()
    assert here in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(here, b"cabsent_package.models\nSmall\n"))
    with pytest.raises(ModelFormatError, match="No module named 'absent_package'"):
        read_checkpoint(path, allow_pickle=True)


# Values


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_diverged_are_refused_by_name(tmp_path: Path, value: float) -> None:
    state = SMALL | {"a.bias": torch.tensor([1.0, value])}
    path = saved(tmp_path / "any.pth", {"state_dict": state})
    net = Small()
    for attempt in (lambda: read_checkpoint(path), lambda: load_checkpoint(net, path, partial=True)):
        with pytest.raises(CheckpointError, match=r"any\.pth: a\.bias has NaN or infinite values"):
            attempt()


def test_a_number_too_large_for_float32_counts_as_infinite(tmp_path: Path) -> None:
    path = saved(tmp_path / "any.pth", {"a": torch.tensor([1e300], dtype=torch.float64)})
    with pytest.raises(CheckpointError, match="infinite"):
        read_checkpoint(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_read_into_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    net = Small()
    load_checkpoint(net, saved(tmp_path / "any.pth", {name: tensor.to(dtype) for name, tensor in SMALL.items()}))
    assert same(dict(net.state_dict()), SMALL)  # small whole numbers and a half: exact in each


@pytest.mark.filterwarnings("ignore:.*quantize_per_tensor:UserWarning")
@pytest.mark.parametrize(
    "make",
    [
        lambda plain: plain.to_sparse(),
        lambda plain: plain.to("meta"),
        lambda plain: plain.to(torch.complex64),
        lambda plain: torch.quantize_per_tensor(plain, 1.0, 0, torch.qint8),
    ],
    ids=["sparse", "meta", "complex", "quantised"],
)
def test_tensors_that_are_no_plain_numbers_are_refused(tmp_path: Path, make: Callable[[Tensor], Tensor]) -> None:
    path = saved(tmp_path / "any.pth", {"weight": make(torch.ones(2, 3))})
    with pytest.raises(CheckpointError, match="weight is sparse, quantised, complex or absent"):
        read_checkpoint(path)


# Coverage


def checkpoint_of(state: State) -> Checkpoint:
    return Checkpoint(state, None, "raw", "any.pth")


def test_every_tensor_of_a_network_arrives(tmp_path: Path) -> None:
    source, target = (build_osnet("osnet_x0_25", seed=seed) for seed in (1, 2))
    images = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(3))
    source(images)  # moves the running statistics and the step counters
    save_checkpoint(tmp_path / "any.pth", source)
    coverage = load_checkpoint(target, tmp_path / "any.pth")
    assert coverage == Coverage(X0_25_TENSORS, X0_25_TENSORS)
    assert coverage.share == 1
    assert same(dict(target.state_dict()), dict(source.state_dict()))
    assert torch.equal(source.eval()(images), target.eval()(images))


def test_the_head_of_other_identities_is_left_out_on_either_side() -> None:
    head = {"classifier.weight": torch.ones(751, 2), "classifier.bias": torch.ones(751)}
    assert load_into(Small(), checkpoint_of(SMALL | head)) == Coverage(2, 2)
    assert load_into(Small(classes=3), checkpoint_of(SMALL)) == Coverage(2, 2)
    net = Small(classes=3)
    before = net.classifier.weight.clone()
    assert load_into(net, checkpoint_of(SMALL | head)) == Coverage(2, 2)
    assert torch.equal(net.classifier.weight, before)


def test_the_head_of_the_same_identities_is_loaded() -> None:
    head = {"classifier.weight": torch.ones(3, 2), "classifier.bias": torch.ones(3)}
    net = Small(classes=3)
    assert load_into(net, checkpoint_of(SMALL | head)) == Coverage(2, 2, classifier=True)
    assert torch.equal(net.classifier.weight, torch.ones(3, 2))


def test_half_a_head_is_not_loaded() -> None:
    net = Small(classes=3)
    assert not load_into(net, checkpoint_of(SMALL | {"classifier.bias": torch.ones(3)})).classifier
    assert not torch.equal(net.classifier.bias, torch.ones(3))


def test_a_file_from_before_step_counters_is_complete() -> None:
    state = build_osnet("osnet_x0_25", seed=1).state_dict()
    old = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    assert len(state) - len(old) == 80
    assert load_into(build_osnet("osnet_x0_25"), checkpoint_of(old)).complete


def test_a_wrong_shape_is_shown_with_both_shapes_and_nothing_is_loaded() -> None:
    net = Small()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_into(net, checkpoint_of(SMALL | {"a.weight": torch.ones(2, 5)}))
    assert str(caught.value) == (
        "any.pth: 1 of 2 tensors matched (50 %), 1 of another shape; "
        "shapes: a.weight: file (2, 5), network (2, 3); expected weights of this very network"
    )
    assert same(dict(net.state_dict()), before)


def test_an_unread_tensor_in_the_file_is_an_error_too() -> None:
    with pytest.raises(
        CheckpointError, match=r"2 of 2 tensors matched \(100 %\), 1 unexpected; unexpected: neck\.weight;"
    ):
        load_into(Small(), checkpoint_of(SMALL | {"neck.weight": torch.ones(2)}))


def test_a_long_list_of_names_is_cut_short() -> None:
    extra = {f"extra.{i}": torch.ones(1) for i in range(9)}
    with pytest.raises(CheckpointError, match=r"9 unexpected; unexpected: extra\.0, extra\.1, extra\.2, …;"):
        load_into(Small(), checkpoint_of(SMALL | extra))


def test_a_partial_load_fills_what_fits_and_warns(caplog: pytest.LogCaptureFixture) -> None:
    net = Small()
    before = net.a.bias.clone()
    with caplog.at_level(logging.WARNING):
        coverage = load_into(net, checkpoint_of({"a.weight": SMALL["a.weight"]}), partial=True)
    assert coverage == Coverage(1, 2, missing=("a.bias",))
    assert "any.pth: 1 of 2 tensors matched (50 %), 1 missing" in caplog.text
    assert torch.equal(net.a.weight, SMALL["a.weight"])
    assert torch.equal(net.a.bias, before)


def test_a_full_load_does_not_warn(caplog: pytest.LogCaptureFixture) -> None:
    load_into(Small(), checkpoint_of(SMALL))
    assert caplog.text == ""


@pytest.mark.parametrize("partial", [True, False])
def test_a_file_of_which_nothing_fits_is_an_error_even_when_partial(partial: bool) -> None:
    with pytest.raises(CheckpointError, match=r"0 of 2 tensors matched \(0 %\)"):
        load_into(Small(), checkpoint_of({"b": torch.ones(1)}), partial=partial)


def test_a_head_alone_does_not_make_a_match() -> None:
    head = {"classifier.weight": torch.ones(3, 2), "classifier.bias": torch.ones(3)}
    with pytest.raises(CheckpointError):
        load_into(Small(classes=3), checkpoint_of(head), partial=True)


def test_the_share_is_never_rounded_up_to_all() -> None:
    coverage = Coverage(4999, 5000, missing=("a",))
    assert str(coverage) == "4999 of 5000 tensors matched (99.9 %), 1 missing"
    assert Coverage(0, 0).share == 0


@pytest.mark.parametrize("arch", ["osnet_x0_25", "osnet_ibn_x1_0", "osnet_ain_x1_0"])
def test_weights_of_another_network_are_named_with_what_to_pass(arch: str) -> None:
    state = dict(build_osnet(arch).state_dict())
    with pytest.raises(CheckpointError, match=rf"these are {arch} weights: use --arch {arch}$") as caught:
        load_into(build_osnet("osnet_x1_0"), checkpoint_of(state))
    assert_one_line(caught.value)


# Which network


@pytest.mark.parametrize("arch", ARCHS)
def test_each_network_is_told_by_its_weights_alone(arch: str) -> None:
    state = dict(build_osnet(arch, num_classes=4).state_dict())
    assert guess_arch(state) == arch
    assert guess_arch(prefixed(state, "module.")) == arch


def test_foreign_weights_are_no_osnet() -> None:
    narrow = dict(build_osnet("osnet_x0_25").state_dict())
    assert guess_arch(SMALL) is None
    assert guess_arch({}) is None
    assert guess_arch(narrow | {"conv1.conv.weight": torch.ones(())}) is None
    assert guess_arch(narrow | {"conv3.0.conv3.conv.weight": torch.ones(192, 48, 1, 1)}) is None  # a stage of x0_5
    assert (
        guess_arch(narrow | {"conv2.0.IN.weight": torch.ones(64)}) is None
    )  # an instance norm behind a batch-norm stem


# Fingerprint


def test_the_fingerprint_is_what_its_description_says() -> None:
    text = b"a.bias\0" + b"2\0" + struct.pack("<2f", 0.5, -1) + b"a.weight\0" + b"2,3\0" + struct.pack("<6f", *range(6))
    assert weights_fingerprint(SMALL) == hashlib.sha256(text).hexdigest()


names = st.text("abcdefgh.", min_size=1, max_size=8)
floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
states = st.dictionaries(names, st.lists(floats, min_size=1, max_size=4), min_size=1, max_size=5)


@given(values=states, prefix=st.sampled_from(["", "module.", "module.module."]), order=st.randoms())
def test_order_prefix_head_and_counters_do_not_change_the_fingerprint(
    values: dict[str, list[float]], prefix: str, order: random.Random
) -> None:
    state = {name: torch.tensor(numbers) for name, numbers in values.items()}
    shuffled = list(state.items())
    order.shuffle(shuffled)
    others = {"classifier.weight": torch.rand(3), "a.num_batches_tracked": torch.tensor(7)}
    assert weights_fingerprint(prefixed(dict(shuffled) | others, prefix)) == weights_fingerprint(state)


@given(values=states, data=st.data())
def test_a_changed_value_changes_the_fingerprint(values: dict[str, list[float]], data: st.DataObject) -> None:
    state = {name: torch.tensor(numbers) for name, numbers in values.items()}
    name = data.draw(st.sampled_from(sorted(state)))
    index = data.draw(st.integers(0, len(values[name]) - 1))
    other = data.draw(floats.filter(lambda value: value != values[name][index]))
    changed = state[name].clone()
    changed[index] = other
    assert weights_fingerprint(state | {name: changed}) != weights_fingerprint(state)


def test_names_and_shapes_are_part_of_the_fingerprint() -> None:
    weight = torch.zeros(4)
    prints = [{"a": weight}, {"b": weight}, {"a": weight.reshape(2, 2)}, {"a": weight[:2], "b": weight[:2]}, {}]
    assert len({weights_fingerprint(state) for state in prints}) == len(prints)


def test_how_a_tensor_is_stored_does_not_change_the_fingerprint() -> None:
    transposed = SMALL["a.weight"].t().contiguous().t()
    assert not transposed.is_contiguous()
    stored = {"a.weight": transposed, "a.bias": nn.Parameter(SMALL["a.bias"].double())}
    assert weights_fingerprint(stored) == weights_fingerprint(SMALL)


# Writing


CARD = ModelCard(task="reid", arch="osnet_x0_25", weights="trained", trained_on="synthetic", licence="Apache-2.0")


def test_a_saved_network_comes_back_with_its_card_and_the_same_bytes(tmp_path: Path) -> None:
    net = Small()
    for name in ("one.pth", "two.pth"):
        save_checkpoint(tmp_path / name, net, card=CARD)
    checkpoint = read_checkpoint(tmp_path / "one.pth")
    assert (checkpoint.card, checkpoint.envelope) == (CARD, "state_dict")
    assert same(checkpoint.state, dict(net.state_dict()))
    assert (tmp_path / "one.pth").read_bytes() == (tmp_path / "two.pth").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.pth", "two.pth"]


def test_torch_alone_reads_a_saved_network(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "any.pth", Small(), card=CARD)
    content = torch.load(tmp_path / "any.pth", weights_only=True)
    assert ModelCard.from_json(content[CARD_KEY]) == CARD
    Small().load_state_dict(content["state_dict"], strict=True)


def test_a_file_without_a_card_has_none(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "any.pth", Small())
    assert read_checkpoint(tmp_path / "any.pth").card is None
    assert CARD_KEY not in torch.load(tmp_path / "any.pth", weights_only=True)


@pytest.mark.parametrize(
    "card", ["not a card", 7, replace(CARD, task="reid").to_json().replace('"version":1', '"version":99')]
)
def test_a_broken_or_newer_card_is_an_error_that_names_the_file(tmp_path: Path, card: object) -> None:
    path = saved(tmp_path / "any.pth", {"state_dict": SMALL, CARD_KEY: card})
    with pytest.raises(CardError, match=r"any\.pth"):
        read_checkpoint(path)


def test_a_folder_that_is_not_there_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="folder does not exist"):
        save_checkpoint(tmp_path / "absent" / "any.pth", Small())
