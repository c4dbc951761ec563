from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as PillowImage

from sightline.card import PIXELS, ImageInput, ModelCard, VectorOutput
from sightline.errors import CardError, ModelOutputError
from sightline.images import read_image
from sightline.reid import embedder as module
from sightline.reid.embedder import LARGE, READ_AHEAD, Embedder
from sightline.runtime.open import open_session
from sightline.runtime.session import Feeds, Session
from sightline.types import TensorSpec

SIZE_HW = (8, 4)


@dataclass
class HalvesEngine:
    """A network one can do in one's head: the mean of each input plane, over its upper half and over its lower."""

    batch: int | None = None
    lanes: int = 1
    chunk: int = 4
    device: str = "cpu"
    fell_back: str = ""
    precision: str = "float32"
    dim: int | None = 6
    seen: list[tuple[int, ...]] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)

    @property
    def inputs(self) -> Sequence[TensorSpec]:
        return [TensorSpec("x", (self.batch, 3, *SIZE_HW), "float32")]

    @property
    def outputs(self) -> Sequence[TensorSpec]:
        return [TensorSpec("v", (self.batch, self.dim), "float32")]

    def run(self, feeds: Feeds) -> dict[str, NDArray[np.float32]]:
        self.seen.append(feeds["x"].shape)
        self.threads.add(threading.current_thread().name)
        return {"v": feeds["x"].reshape(len(feeds["x"]), 6, -1).mean(axis=2)}

    run_lane = run

    def close(self) -> None:
        pass


def card(**changes: object) -> ModelCard:
    known = {
        "task": "reid",
        "arch": "halves",
        "image": ImageInput("x", SIZE_HW, PIXELS["raw-rgb"]),
        "output": VectorOutput("v", 6, normalised=False),
        "fingerprint": "ab" * 8,
    }
    return ModelCard(**{**known, **changes})


def session_of(engine: HalvesEngine, **changes: object) -> Session:
    return Session(engine, card=card(**changes), path=Path("halves.onnx"), backend="onnxruntime")


def halves(**changes: object) -> Embedder:
    return Embedder(session_of(HalvesEngine(**changes)))


def in_ones_head(crop: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What `HalvesEngine` says of an RGB-fed crop of `SIZE_HW`, normalised."""
    means = [half[:, :, channel].mean() for channel in (2, 1, 0) for half in (crop[:4], crop[4:])]
    return np.array(means) / np.linalg.norm(means)


def crops_of(count: int, *, seed: int = 0) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(1, 256, (*SIZE_HW, 3), np.uint8) for _ in range(count)]


def files_of(folder: Path, crops: Sequence[NDArray[np.uint8]]) -> list[Path]:
    paths = [folder / f"{index:04}.png" for index in range(len(crops))]
    for path, crop in zip(paths, crops, strict=True):
        PillowImage.fromarray(crop[:, :, ::-1]).save(path)
    return paths


class TestVectors:
    @settings(max_examples=40, deadline=None)
    @given(count=st.integers(1, 70), batch=st.sampled_from([None, 1, 4, 16]), lanes=st.integers(1, 4))
    def test_any_number_of_crops_in_any_batch_is_the_arithmetic(
        self, count: int, batch: int | None, lanes: int
    ) -> None:
        crops = crops_of(count, seed=count)
        embeddings = halves(batch=batch, lanes=lanes).embed(crops)
        assert embeddings.vectors.shape == (count, 6) and embeddings.vectors.dtype == np.float32
        np.testing.assert_allclose(embeddings.vectors, [in_ones_head(crop) for crop in crops], rtol=1e-5)

    def test_bgr_becomes_what_the_card_was_trained_on(self) -> None:
        crop = np.zeros((*SIZE_HW, 3), np.uint8)
        crop[:] = (10, 20, 40)  # BGR
        as_rgb = halves().embed([crop]).vectors[0]
        image = ImageInput("x", SIZE_HW, PIXELS["omz"])
        as_bgr = Embedder(session_of(HalvesEngine(), image=image)).embed([crop]).vectors[0]
        norm = np.sqrt(2 * (10**2 + 20**2 + 40**2))
        np.testing.assert_allclose(as_rgb * norm, [40, 40, 20, 20, 10, 10], rtol=1e-6)
        np.testing.assert_allclose(as_bgr * norm, [10, 10, 20, 20, 40, 40], rtol=1e-6)

    def test_every_vector_has_length_one(self) -> None:
        vectors = halves().embed(crops_of(9)).vectors
        np.testing.assert_allclose(np.sqrt((vectors.astype(float) ** 2).sum(axis=1)), 1, rtol=1e-6)

    def test_no_crops_are_no_vectors_of_the_right_length(self) -> None:
        embeddings = halves().embed([])
        assert embeddings.vectors.shape == (0, 6) and embeddings.vectors.dtype == np.float32
        assert embeddings.normalised and embeddings.fingerprint == "ab" * 8

    def test_a_fixed_batch_is_never_fed_anything_else(self) -> None:
        engine = HalvesEngine(batch=4)
        Embedder(session_of(engine)).embed(crops_of(10))
        assert engine.seen == [(4, 3, *SIZE_HW)] * 3

    def test_several_lanes_share_the_work(self) -> None:
        engine = HalvesEngine(lanes=3, chunk=2)
        Embedder(session_of(engine)).embed(crops_of(40))
        assert sum(shape[0] for shape in engine.seen) == 40
        assert all(name.startswith("sightline-lane") for name in engine.threads)

    def test_the_dimension_the_graph_leaves_open_is_found_out(self) -> None:
        embedder = Embedder(session_of(HalvesEngine(dim=None), output=VectorOutput("v", None)))
        assert embedder.dim == 6
        assert embedder.embed([]).vectors.shape == (0, 6)


@pytest.fixture(scope="module")
def embedder(osnet: Path) -> Embedder:
    return Embedder(open_session(osnet))


class TestOnOsnet:
    def test_many_at_once_are_each_alone(self, embedder: Embedder) -> None:
        rng = np.random.default_rng(3)
        sizes = [(256, 128), (64, 32), (300, 90), (5, 4), (128, 128), (511, 260)] * 2
        mixed = [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
        together = embedder.embed(mixed).vectors
        alone = np.concatenate([embedder.embed([crop]).vectors for crop in mixed])
        assert together.shape == (12, 512)
        np.testing.assert_allclose(together, alone, atol=2e-6)

    @pytest.mark.parametrize("backwards", [False, True])
    def test_the_network_is_fed_normalised_rgb(self, embedder: Embedder, osnet: Path, backwards: bool) -> None:
        """The oracle is ONNX Runtime by hand; channels swapped in the crop must be swapped there, too."""
        onnxruntime = pytest.importorskip("onnxruntime")
        crop = np.random.default_rng(4).integers(0, 256, (256, 128, 3), np.uint8)
        crop[:, :, 0] //= 4  # little blue, so that order matters
        given_bgr = crop[:, :, ::-1] if backwards else crop
        mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        fed = ((given_bgr[:, :, ::-1] / 255 - mean) / std).transpose(2, 0, 1)[None].astype(np.float32)
        answer = onnxruntime.InferenceSession(str(osnet)).run(None, {"images": fed})[0][0]
        expected = answer / np.linalg.norm(answer)
        np.testing.assert_allclose(embedder.embed([given_bgr]).vectors[0], expected, atol=2e-6)
        assert np.abs(embedder.embed([given_bgr[:, :, ::-1]]).vectors[0] - expected).max() > 1e-3


class TestFiles:
    def test_vectors_come_in_the_order_of_the_files(self, tmp_path: Path) -> None:
        crops = crops_of(3 * READ_AHEAD + 5)
        paths = files_of(tmp_path, crops)[::-1]
        items = list(halves(lanes=2).embed_files(paths))
        assert [item.path for item in items] == paths
        np.testing.assert_allclose([item.vector for item in items], [in_ones_head(c) for c in crops[::-1]], rtol=1e-5)

    def test_a_file_that_cannot_be_read_has_its_reason_in_its_place(self, tmp_path: Path) -> None:
        crops = crops_of(4)
        paths = files_of(tmp_path, crops)
        paths[1].write_bytes(b"")
        paths[2].unlink()
        items = list(halves().embed_files(paths))
        assert [item.vector is None for item in items] == [False, True, True, False]
        assert [item.reason for item in items] == [
            "",
            f"{paths[1]} is empty (0 bytes)",
            f"{paths[2]} does not exist",
            "",
        ]
        np.testing.assert_allclose(items[3].vector, in_ones_head(crops[3]), rtol=1e-5)

    def test_files_that_are_all_broken_need_no_model(self, tmp_path: Path) -> None:
        engine = HalvesEngine()
        paths = [tmp_path / name for name in ("a.jpg", "b.jpg")]
        assert [item.vector for item in Embedder(session_of(engine)).embed_files(paths)] == [None, None]
        assert engine.seen == []

    def test_no_files_are_nothing(self) -> None:
        assert list(halves().embed_files([])) == []

    def test_a_photograph_gives_the_vector_it_gives_as_a_crop(self, tmp_path: Path) -> None:
        photograph = np.random.default_rng(5).integers(0, 256, (1200, 900, 3), np.uint8)
        assert photograph.size / 3 > LARGE
        (path,) = files_of(tmp_path, [photograph])
        (item,) = halves().embed_files([path])
        assert np.array_equal(item.vector, halves().embed([photograph]).vectors[0])

    @pytest.mark.parametrize("side", [8, 1100])
    def test_few_images_are_in_memory_at_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int) -> None:
        """Two batches of crops, the one embedded and the one read ahead; photographs only while they are shrunk."""
        alive: weakref.WeakSet[object] = weakref.WeakSet()
        most = 0

        class Counted(np.ndarray):
            """An array that can be hashed by who it is."""

            __hash__ = object.__hash__

        def read(_path: Path) -> NDArray[np.uint8]:
            nonlocal most
            image = np.full((side, side, 3), 7, np.uint8).view(Counted)
            alive.add(image)
            most = max(most, len(alive))
            return image

        monkeypatch.setattr(module, "read_image", read)
        count = 0
        for _ in halves().embed_files([tmp_path] * (6 * READ_AHEAD if side == 8 else READ_AHEAD)):
            count += 1
        assert count >= READ_AHEAD
        if side == 8:
            assert READ_AHEAD < most <= 2 * READ_AHEAD
        else:
            assert 1 <= most <= 4  # one per reader, and one each on its way out

    def test_a_caller_that_stops_early_stops_the_reading(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        read: list[Path] = []
        monkeypatch.setattr(module, "read_image", lambda path: read.append(path) or read_image(path))
        paths = files_of(tmp_path, crops_of(4 * READ_AHEAD))
        items = halves().embed_files(paths)
        next(items)
        items.close()
        assert len(read) <= 2 * READ_AHEAD


class Saying(HalvesEngine):
    """Says what it is told to, whatever it sees."""

    said: NDArray[np.float32]

    def run(self, feeds: Feeds) -> dict[str, NDArray[np.float32]]:
        return {"v": self.said[: len(feeds["x"])]}

    run_lane = run


def embedder_saying(said: NDArray[np.float32]) -> Embedder:
    engine = Saying()
    engine.said = said
    return Embedder(session_of(engine, output=VectorOutput("v", None)))


class TestBrokenModels:
    @pytest.mark.parametrize("value", [0, np.nan, np.inf, -np.inf])
    def test_a_vector_that_means_nothing_is_an_error_naming_its_image(self, value: float) -> None:
        said = np.ones((3, 6), np.float32)
        said[1] = value
        with pytest.raises(ModelOutputError, match=r"halves.onnx: image 1 gave a vector that is zero, NaN or infinite"):
            embedder_saying(said).embed(crops_of(3))

    def test_one_number_that_is_not_one_spoils_its_vector(self) -> None:
        said = np.ones((1, 6), np.float32)
        said[0, 4] = np.nan
        with pytest.raises(ModelOutputError, match="image 0"):
            embedder_saying(said).embed(crops_of(1))

    def test_of_files_the_error_names_the_file(self, tmp_path: Path) -> None:
        """A black crop has mean 0 everywhere; it is in the third part of four, after a file that is no image."""
        crops = crops_of(14)
        crops[9][:] = 0
        paths = files_of(tmp_path, crops)
        paths[0].write_bytes(b"")
        with pytest.raises(ModelOutputError, match=r"halves\.onnx: .*0009\.png gave a vector that is zero"):
            list(halves().embed_files(paths))

    @pytest.mark.parametrize("shape", [(2, 6, 1, 1), (2, 3, 2)])
    def test_more_than_one_vector_an_image_is_an_error(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ModelOutputError, match=r"expected one vector per image \(N, D\)"):
            embedder_saying(np.ones(shape, np.float32)).embed(crops_of(2))

    def test_rows_lost_on_the_way_are_an_error(self) -> None:
        with pytest.raises(ModelOutputError, match="has shape \\(1, 6\\) for 2 inputs"):
            embedder_saying(np.ones((1, 6), np.float32)).embed(crops_of(2))

    def test_half_precision_vectors_become_single(self) -> None:
        vectors = embedder_saying(np.full((1, 6), 200, np.float16)).embed(crops_of(1)).vectors
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, 6**-0.5, rtol=1e-6)  # 6 × 200² would be infinite in float16


class TestRefusedModels:
    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ({"image": None}, r"does not take one image: its inputs are x float32\[\?, 3, 8, 4\]"),
            ({"output": None}, r"does not put out one vector an image: its outputs are v float32\[\?, 6\]"),
            ({"image": ImageInput("x", SIZE_HW)}, r"colour order, mean and std \(--pixels PRESET\); pass it to go on"),
            ({"image": ImageInput("x", None, PIXELS["omz"])}, r"image size \(--size HEIGHTxWIDTH\); pass it to go on"),
            ({"image": ImageInput("x", None)}, r"--size HEIGHTxWIDTH\) and colour order"),
            ({"arch": "unknown", "output": VectorOutput("v", 751)}, "751 numbers: class scores of a training head"),
            ({"arch": "unknown", "output": VectorOutput("v", 1000)}, "export the network without its classifier"),
        ],
    )
    def test_a_model_not_known_well_enough_is_refused(self, changes: dict[str, object], told: str) -> None:
        with pytest.raises(CardError, match=f"halves.onnx .*{told}"):
            Embedder(session_of(HalvesEngine(), **changes))

    def test_a_known_network_of_an_unlucky_width_is_taken_at_its_word(self) -> None:
        Embedder(session_of(HalvesEngine(), output=VectorOutput("v", 751)))

    @pytest.mark.parametrize("weights", ["untrained", "imagenet"])
    def test_weights_that_know_nobody_are_warned_of(self, weights: str, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING):
            Embedder(session_of(HalvesEngine(), weights=weights))
        assert f"{weights} weights, which do not tell people apart" in caplog.text

    def test_trained_weights_are_not(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING):
            Embedder(session_of(HalvesEngine(), weights="trained"))
        assert caplog.text == ""
