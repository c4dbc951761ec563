from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from sightline.nets.osnet import ARCHS
from sightline.reid.embedder import Embedder
from sightline.reid.probe import STRANGERS, TOO_ALIKE, Probe, painted_strangers, probe_weights
from sightline.runtime.cards import Claims
from sightline.runtime.open import open_session
from sightline.types import Embeddings, FloatArray, Image


class Answers(Embedder):
    """An embedder that gives these vectors, whatever it is shown."""

    def __init__(self, vectors: FloatArray) -> None:
        self._vectors = vectors

    def embed(self, crops: object) -> Embeddings:
        return Embeddings(self._vectors, fingerprint="", normalised=True)


@pytest.mark.parametrize("arch", ARCHS)
def test_random_weights_of_no_network_tell_people_apart(arch: str, tmp_path: Path) -> None:
    with open_session(tmp_path / f"{arch}.onnx", allow_untrained=True) as session:
        assert session.card.arch == arch
        probe = probe_weights(Embedder(session))
    assert not probe.tells_apart
    assert "do NOT tell people apart" in str(probe)


def test_a_published_model_tells_people_apart(shared: Path) -> None:
    model = shared / "real/models/osnet_x0_25_market1501_128x64.onnx"
    if not model.exists():
        pytest.skip(f"{model} is not here")
    with open_session(model, claims=Claims(pixels="torchreid")) as session:
        probe = probe_weights(Embedder(session))
    assert probe.tells_apart
    assert probe.mean_cosine < 0.7  # well clear of the line
    assert "these weights tell people apart" in str(probe)


def test_the_cosines_are_of_every_pair_but_none_with_itself() -> None:
    angles = np.linspace(0, np.pi / 2, STRANGERS)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    pairs = [np.cos(a - b) for i, a in enumerate(angles) for b in angles[:i]]
    probe = probe_weights(Answers(vectors))
    assert probe.mean_cosine == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)
    assert probe.lowest_cosine == pytest.approx(0.0, abs=1e-6)
    assert probe.tells_apart


def test_the_same_vector_for_everybody_tells_nobody_apart() -> None:
    probe = probe_weights(Answers(np.tile(np.array([0.6, 0.8], np.float32), (STRANGERS, 1))))
    assert probe.mean_cosine == pytest.approx(1.0)
    assert not probe.tells_apart


def test_the_line_itself_is_on_the_wrong_side() -> None:
    assert not Probe(TOO_ALIKE, 0.0).tells_apart
    assert Probe(TOO_ALIKE - 0.001, 0.0).tells_apart


def test_the_verdict_says_how_many_were_compared_and_how_alike_they_are() -> None:
    assert str(Probe(0.9512, 0.1)).startswith("24 unlike figures have mean cosine 0.95 (these weights do NOT")


def test_strangers_are_pictures_of_a_person_s_shape_and_each_is_new() -> None:
    strangers = painted_strangers(STRANGERS)
    assert [(image.shape, image.dtype.name) for image in strangers] == [((256, 128, 3), "uint8")] * STRANGERS
    for one, other in pairwise(strangers):
        assert np.abs(one.astype(int) - other.astype(int)).mean() > 10


def test_the_same_strangers_come_every_time_and_others_with_another_seed() -> None:
    def bytes_of(images: list[Image]) -> list[bytes]:
        return [image.tobytes() for image in images]

    assert bytes_of(painted_strangers(3)) == bytes_of(painted_strangers(3))
    assert bytes_of(painted_strangers(5))[:3] == bytes_of(painted_strangers(3))
    assert bytes_of(painted_strangers(3)) != bytes_of(painted_strangers(3, seed=1))
