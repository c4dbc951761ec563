"""The same weights give the same vectors, whatever runs them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from osnets import Osnets
from tiny_models import images

from sightline.runtime.open import open_session
from sightline.runtime.session import Session, run_batched
from sightline.types import FloatArray

SIZE_HW = (256, 128)
ARCHS = ("osnet_x0_25", "osnet_ibn_x1_0", "osnet_ain_x0_25")
RAW_DIFFERENCE = 1e-4  # of the largest number in the vectors
COSINE = 0.99999
REAL = Path(__file__).resolve().parents[3] / "shared/real/models/osnet_x0_25_market1501_128x64.onnx"


def structured(size_hw: tuple[int, int]) -> FloatArray:
    """What random numbers are not: black, white, a ramp each way, stripes, one bright pixel."""
    height, width = size_hw
    rows, columns = np.linspace(-2, 2, height)[:, None], np.linspace(-2, 2, width)[None, :]
    pixel = np.zeros(size_hw)
    pixel[height // 3, width // 3] = 100.0
    planes = [np.full(size_hw, -2.1), np.full(size_hw, 2.6), rows + 0 * columns, 0 * rows + columns]
    planes += [np.sign(np.sin(30 * rows)) + 0 * columns, pixel]
    pictures = np.stack([np.stack([plane, plane * 0.5, -plane]) for plane in planes])
    return pictures.astype(np.float32)


def vectors(session: Session, fed: FloatArray) -> FloatArray:
    [(_, answer)] = run_batched(session, {session.inputs[0].name: fed}).items()
    return np.asarray(answer, dtype=np.float32)


def assert_the_same(ours: FloatArray, theirs: FloatArray) -> None:
    assert np.abs(ours - theirs).max() <= RAW_DIFFERENCE * np.abs(theirs).max()
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    assert (np.sum(ours * theirs, axis=1) / norms).min() >= COSINE


@pytest.fixture(scope="module", params=ARCHS)
def sessions(request: pytest.FixtureRequest, osnets: Osnets) -> Iterator[dict[str, Session]]:
    onnx, checkpoint = osnets.onnx(request.param), osnets.checkpoint(request.param)
    with ExitStack() as opened:
        yield {
            "torch": opened.enter_context(open_session(checkpoint, "torch")),
            "onnxruntime": opened.enter_context(open_session(onnx, "onnxruntime")),
            "openvino": opened.enter_context(open_session(onnx, "openvino")),
        }


@pytest.mark.parametrize("fed", [images(3, SIZE_HW, seed=5), structured(SIZE_HW)], ids=["random", "structured"])
def test_all_backends_give_the_vectors_that_torch_gives(sessions: dict[str, Session], fed: FloatArray) -> None:
    answers = {name: vectors(session, fed) for name, session in sessions.items()}
    assert np.abs(answers["torch"]).max() > 0.1
    assert_the_same(answers["onnxruntime"], answers["torch"])
    assert_the_same(answers["openvino"], answers["torch"])


def test_unlike_images_have_unlike_vectors_so_that_being_the_same_means_something(
    sessions: dict[str, Session],
) -> None:
    fed = structured(SIZE_HW)
    answer = vectors(sessions["onnxruntime"], fed)
    with pytest.raises(AssertionError):
        assert_the_same(answer, np.roll(answer, 1, axis=0))


def test_a_published_model_gives_the_same_vectors_on_both_onnx_backends() -> None:
    if not REAL.exists():
        pytest.skip(f"{REAL} is not here")
    fed = np.concatenate([images(9, (128, 64)), structured((128, 64))])
    with open_session(REAL, "onnxruntime") as one, open_session(REAL, "openvino") as other:
        assert_the_same(vectors(other, fed), vectors(one, fed))
