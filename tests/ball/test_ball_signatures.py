"""What the seed's acceptance check asks of the four classes.

The check as written reads the parameters of `__init__`, whose first is `self` for every class there is; here it is left
out, which is what looking at the class does.
"""

from __future__ import annotations

import inspect

import pytest

from sightline.ball.inpaint import InpaintStream
from sightline.ball.onnx import InpaintModuleONNX, TrackNetModuleONNX
from sightline.ball.stream import TrackNetStream
from sightline.ball.torch import InpaintModule, TrackNetModule


def parameters(cls: type) -> dict[str, object]:
    """Names in order, with their defaults."""
    named = inspect.signature(cls.__init__).parameters.values()
    return {each.name: each.default for each in named if each.name != "self"}


NONE = inspect.Parameter.empty
AFTER_DEVICE = {"eval_mode": "weight", "median": None, "median_warmup": 0}


def test_the_parameters_are_the_promised_ones() -> None:
    assert list(parameters(TrackNetModule).items()) == [
        ("tracknet", NONE), ("seq_len", NONE), ("bg_mode", NONE), ("device", NONE), *AFTER_DEVICE.items()
    ]  # fmt: skip
    assert list(parameters(TrackNetModuleONNX).items()) == [
        ("model_path", NONE), ("seq_len", NONE), ("bg_mode", NONE), ("device", None), *AFTER_DEVICE.items()
    ]  # fmt: skip
    after = [("seq_len", NONE), ("device", NONE), ("img_scaler", NONE)]
    assert list(parameters(InpaintModule).items()) == [("inpaintnet", NONE), *after]
    assert list(parameters(InpaintModuleONNX).items()) == [("model_path", NONE), *after]


@pytest.mark.parametrize(("onnx", "torch"), [(TrackNetModuleONNX, TrackNetModule), (InpaintModuleONNX, InpaintModule)])
def test_after_the_first_parameter_the_twins_are_alike(onnx: type, torch: type) -> None:
    assert list(parameters(onnx))[1:] == list(parameters(torch))[1:]
    assert list(inspect.signature(onnx).parameters) == list(parameters(onnx))


@pytest.mark.parametrize("cls", [TrackNetModule, TrackNetModuleONNX, InpaintModule, InpaintModuleONNX])
def test_all_four_have_the_same_verbs(cls: type) -> None:
    core = TrackNetStream if issubclass(cls, TrackNetStream) else InpaintStream
    for verb in ("push", "flush", "reset"):
        assert getattr(cls, verb) is getattr(core, verb)
    assert issubclass(cls, core)


def test_the_onnx_classes_are_no_torch_classes() -> None:
    assert not issubclass(TrackNetModuleONNX, TrackNetModule) and not issubclass(InpaintModuleONNX, InpaintModule)


def test_push_and_flush_take_what_the_predecessors_took() -> None:
    assert list(inspect.signature(TrackNetModule.push).parameters) == ["self", "frame_bgr", "frame_id"]
    assert inspect.signature(TrackNetModule.push).parameters["frame_id"].default is None
    assert list(inspect.signature(InpaintModule.push).parameters) == ["self", "pred"]


@pytest.mark.parametrize("name", ["_process_one", "_ensure_scaler", "_maybe_build_median", "_heatmap_to_xy"])
def test_the_steps_keep_their_names(name: str) -> None:
    assert callable(getattr(TrackNetModule, name)) and callable(getattr(TrackNetModuleONNX, name))
