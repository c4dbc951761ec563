from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf.message import EncodeError
from onnx import TensorProto, helper, numpy_helper

from sightline.card import CARD_KEY, ImageInput, ModelCard, VectorOutput
from sightline.deploy.onnx_weights import embed_weights
from sightline.errors import ExportError, ModelFormatError, ModelNotFoundError, OutputError
from sightline.onnx_file import read_onnx

CARD = ModelCard(
    task="reid",
    arch="tiny",
    image=ImageInput("x", (2, 2)),
    output=VectorOutput("out", 4),
    fingerprint="cd" * 32,
    trained_on="nothing",
)
WEIGHTS = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)


def tiny_model() -> onnx.ModelProto:
    """`out = flatten(x) @ w`, with a card in its metadata."""
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["out"]),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 2, 2])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.metadata_props.add(key=CARD_KEY, value=CARD.to_json())
    return model


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """The model as the onnx package saves it with its weights in a file of their own, alone in a folder."""
    path = tmp_path / "split" / "m.onnx"
    path.parent.mkdir()
    onnx.save(tiny_model(), str(path), save_as_external_data=True, location="m.data", size_threshold=0)
    assert sorted(file.name for file in path.parent.iterdir()) == ["m.data", "m.onnx"]
    return path


def answers(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    images = np.random.default_rng(1).normal(size=(3, 3, 2, 2)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": images})[0])


def test_two_files_become_one_that_answers_alike_and_keeps_its_card(split: Path, tmp_path: Path) -> None:
    whole = tmp_path / "alone" / "whole.onnx"
    whole.parent.mkdir()
    embed_weights(split, whole)
    assert [file.name for file in whole.parent.iterdir()] == ["whole.onnx"]
    assert np.array_equal(answers(whole), answers(split))
    file = read_onnx(whole)
    assert file.external_data == ()
    assert ModelCard.from_json(file.metadata[CARD_KEY]) == CARD
    onnx.checker.check_model(str(whole), full_check=True)


def test_the_two_files_stay_as_they_were(split: Path, tmp_path: Path) -> None:
    before = {file: file.read_bytes() for file in split.parent.iterdir()}
    embed_weights(split, tmp_path / "whole.onnx")
    assert {file: file.read_bytes() for file in split.parent.iterdir()} == before


def test_a_file_can_take_its_weights_in_under_its_own_name(split: Path) -> None:
    expected = answers(split)
    embed_weights(split, split)
    (split.parent / "m.data").unlink()
    assert np.array_equal(answers(split), expected)


def test_a_file_already_whole_comes_out_the_same(tmp_path: Path) -> None:
    source = tmp_path / "m.onnx"
    onnx.save(tiny_model(), str(source))
    embed_weights(source, tmp_path / "copy.onnx")
    assert (tmp_path / "copy.onnx").read_bytes() == source.read_bytes()


def test_doing_it_twice_gives_the_same_bytes(split: Path, tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        embed_weights(split, tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


# --- weights that are not there, not whole, or somewhere else ---------------------------------------------------------


def with_entry(path: Path, key: str, value: str) -> None:
    model = onnx.load(str(path), load_external_data=False)
    entries = model.graph.initializer[0].external_data
    next(entry for entry in entries if entry.key == key).value = value
    path.write_bytes(model.SerializeToString())


def remove(path: Path) -> None:
    (path.parent / "m.data").unlink()


def shorten(path: Path) -> None:
    data = path.parent / "m.data"
    data.write_bytes(data.read_bytes()[:100])


def empty(path: Path) -> None:
    (path.parent / "m.data").write_bytes(b"")


def escape_upwards(path: Path) -> None:
    (path.parent / "m.data").rename(path.parent.parent / "m.data")
    with_entry(path, "location", "../m.data")


def escape_by_root(path: Path) -> None:
    secret = path.parent.parent / "secret"
    (path.parent / "m.data").rename(secret)
    with_entry(path, "location", str(secret))


def escape_through_a_link(path: Path) -> None:
    secret = path.parent.parent / "secret"
    (path.parent / "m.data").rename(secret)
    (path.parent / "m.data").symlink_to(secret)


def link_to_a_neighbour(path: Path) -> None:
    (path.parent / "m.data").rename(path.parent / "other.data")
    (path.parent / "m.data").symlink_to("other.data")


def start_past_the_end(path: Path) -> None:
    with_entry(path, "offset", "1000000")


def start_before_the_beginning(path: Path) -> None:
    with_entry(path, "offset", "-8")


def start_nowhere(path: Path) -> None:
    with_entry(path, "offset", "here")


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (remove, "weights file m.data is missing beside"),
        (empty, "is empty"),
        (shorten, "its weights cannot be taken in"),
        (escape_upwards, "names weights outside its own folder"),
        (escape_by_root, "names weights outside its own folder"),
        (escape_through_a_link, "names weights outside its own folder"),
        (link_to_a_neighbour, "its weights cannot be taken in.*as plain files, into one folder"),
        (start_past_the_end, "its weights cannot be taken in"),
        (start_before_the_beginning, "its weights cannot be taken in"),
        (start_nowhere, "its weights cannot be taken in"),
    ],
)
def test_weights_that_cannot_be_had_are_refused_and_nothing_is_written(
    split: Path, tmp_path: Path, harm: Callable[[Path], None], reason: str
) -> None:
    harm(split)
    target = tmp_path / "alone" / "whole.onnx"
    target.parent.mkdir()
    with pytest.raises(ModelFormatError, match=reason) as caught:
        embed_weights(split, target)
    assert "\n" not in str(caught.value)
    assert list(target.parent.iterdir()) == []


def test_a_model_that_onnx_runtime_cannot_load_is_not_given_its_name(tmp_path: Path) -> None:
    model = tiny_model()
    model.graph.node[1].op_type = "NoSuchOperator"
    source, target = tmp_path / "m.onnx", tmp_path / "whole.onnx"
    onnx.save(model, str(source))
    target.write_bytes(b"the old model")
    with pytest.raises(ModelFormatError, match="onnxruntime cannot load it"):
        embed_weights(source, target)
    assert target.read_bytes() == b"the old model"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.onnx", "whole.onnx"]


@pytest.mark.parametrize("error", [ValueError, EncodeError])
def test_more_than_one_file_can_hold_is_an_export_error(
    split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """What old and new versions of protobuf raise above 2 GB, without the 2 GB."""

    class TooLarge:
        def SerializeToString(self) -> bytes:
            raise error

    monkeypatch.setattr(onnx, "load", lambda *_, **__: TooLarge())
    with pytest.raises(ExportError, match="at most 2 GB"):
        embed_weights(split, tmp_path / "whole.onnx")
    assert not (tmp_path / "whole.onnx").exists()


def test_a_model_that_is_not_there_and_a_folder_that_is_not_there(split: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        embed_weights(tmp_path / "none.onnx", tmp_path / "whole.onnx")
    with pytest.raises(OutputError, match="the folder does not exist"):
        embed_weights(split, tmp_path / "none" / "whole.onnx")
