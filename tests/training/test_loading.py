"""Images on their way to the network: the same pixels whoever reads them, and an error with a name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from torch.utils.data import BatchSampler, SequentialSampler

from sightline.card import PIXELS, ImageInput
from sightline.errors import ConfigError, ImageError
from sightline.images import prepare, read_image
from sightline.training.augment import Augment
from sightline.training.config import DataSection, ModelSection, TrainingConfig
from sightline.training.loading import (
    Batch,
    EvalImages,
    Sample,
    TrainImages,
    augment_of,
    evaluation_loader,
    make_loader,
    training_loader,
)
from sightline.training.records import Record, labels

SPEC = ImageInput("input", (32, 16), PIXELS["torchreid"])
CONFIG = TrainingConfig(
    model=ModelSection(input_size=[32, 16]), data=DataSection(batch_size=4, num_instances=2, workers=0)
)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """Twelve images of three people under two cameras."""
    folder, rng, made = tmp_path_factory.mktemp("crops"), np.random.default_rng(0), []
    for index in range(12):
        path = folder / f"{index:02}.png"
        PillowImage.fromarray(rng.integers(0, 256, (48, 20, 3), np.uint8)).save(path)
        made.append(Record(path, "cab"[index % 3], index % 2))
    return made


def with_workers(workers: int) -> TrainingConfig:
    return replace(CONFIG, data=replace(CONFIG.data, workers=workers))


def epochs(records: list[Record], config: TrainingConfig, numbers: tuple[int, ...]) -> Iterator[list[Batch]]:
    loader = training_loader(records, labels(records), config)
    for number in numbers:
        loader.batch_sampler.set_epoch(number)
        loader.dataset.set_epoch(number)
        yield list(loader)


def test_an_item_is_what_the_network_is_fed_with_who_and_where(records: list[Record]) -> None:
    sample = EvalImages(records, labels(records), spec=SPEC)[4]
    assert np.array_equal(sample.image.numpy(), prepare([read_image(records[4].path)], SPEC)[0])
    assert sample.image.dtype == torch.float32
    assert (sample.label, sample.camera, sample.name) == (0, 0, str(records[4].path))  # a, b, c are 0, 1, 2


def test_what_training_sees_changes_from_epoch_to_epoch_and_image_to_image(records: list[Record]) -> None:
    images = TrainImages([records[0]] * 2, {"c": 0}, spec=SPEC, augment=Augment(), seed=0)
    first, other = images[0].image, images[1].image
    assert not torch.equal(first, other)
    images.set_epoch(1)
    assert not torch.equal(images[0].image, first)
    images.set_epoch(0)
    assert torch.equal(images[0].image, first)


def test_the_pixels_do_not_depend_on_the_workers_nor_on_the_epochs_before(records: list[Record]) -> None:
    """Workers live through all epochs: they must hear of the next one, too."""
    here = list(epochs(records, with_workers(0), (0, 1, 5)))
    beside = list(epochs(records, with_workers(2), (0, 1, 5)))
    alone = list(epochs(records, with_workers(1), (5,)))
    assert len(here[0]) == 3
    for one, two in zip(chain(*here), chain(*beside), strict=True):
        assert all(map(torch.equal, one[:3], two[:3]))
        assert one.names == two.names
    assert all(torch.equal(one.images, two.images) for one, two in zip(here[2], alone[0], strict=True))
    assert not any(torch.equal(one.images, two.images) for one, two in zip(here[0], here[1], strict=True))


def test_an_image_looks_the_same_to_whichever_rank_gets_it(records: list[Record]) -> None:
    alone = next(epochs(records, CONFIG, (0,)))
    seen = {}
    for rank in range(3):
        loader = training_loader(records, labels(records), CONFIG, rank=rank, world=3)
        seen |= {name: image for batch in loader for name, image in zip(batch.names, batch.images, strict=True)}
    assert len(seen) == 12
    for batch in alone:
        assert all(torch.equal(image, seen[name]) for name, image in zip(batch.names, batch.images, strict=True))


def test_a_batch_keeps_its_rows_together(records: list[Record]) -> None:
    known, by_name = labels(records), {str(record.path): record for record in records}
    for batch in next(epochs(records, CONFIG, (0,))):
        assert batch.images.shape == (4, 3, 32, 16)
        assert batch.labels.dtype == batch.cameras.dtype == torch.int64
        assert batch.labels.tolist() == [known[by_name[name].person] for name in batch.names]
        assert batch.cameras.tolist() == [by_name[name].camera for name in batch.names]


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_sees_every_image_once_in_order_and_unchanged(records: list[Record], workers: int) -> None:
    batches = list(evaluation_loader(records, SPEC, batch_size=5, workers=workers))
    assert [len(batch.images) for batch in batches] == [5, 5, 2]
    assert [name for batch in batches for name in batch.names] == [str(record.path) for record in records]
    expected = prepare([read_image(record.path) for record in records], SPEC)
    assert np.array_equal(torch.cat([batch.images for batch in batches]).numpy(), expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_corrupt_image_is_an_error_of_one_line_with_its_name(
    records: list[Record], workers: int, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    PillowImage.new("RGB", (20, 48), (9, 9, 9)).save(broken)
    broken.write_bytes(broken.read_bytes()[:-200])
    loader = evaluation_loader([*records, Record(broken, "a", 0)], SPEC, batch_size=4, workers=workers)
    with pytest.raises(ImageError) as caught:
        list(loader)
    assert str(broken) in str(caught.value)
    assert "\n" not in str(caught.value)


class Asking(EvalImages):
    """Says in place of the label how many threads OpenCV has where it is."""

    def __getitem__(self, index: int) -> Sample:
        return super().__getitem__(index)._replace(label=cv2.getNumThreads())


def test_opencv_has_one_thread_in_a_worker(records: list[Record]) -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        images = Asking(records, labels(records), spec=SPEC)
        loader = make_loader(images, BatchSampler(SequentialSampler(records), 6, drop_last=False), workers=2)
        assert [batch.labels.tolist() for batch in loader] == [[1] * 6] * 2
    finally:
        cv2.setNumThreads(before)


def test_what_is_erased_gets_the_mean_of_the_networks_pixels_in_bgr() -> None:
    assert augment_of(CONFIG).fill_bgr == (103.53, 116.28, 123.675)
    raw_bgr = replace(CONFIG, model=replace(CONFIG.model, pixels="face"))
    assert augment_of(raw_bgr).fill_bgr == (127.5, 127.5, 127.5)


def test_the_configuration_decides_what_is_changed() -> None:
    data = replace(CONFIG.data, flip=0.1, pad_crop=3, erase=0.2, grey=0.3, blur=0.4, colour_jitter=False)
    augment = augment_of(replace(CONFIG, data=data))
    assert (augment.flip, augment.pad_crop, augment.erase, augment.grey, augment.blur) == (0.1, 3, 0.2, 0.3, 0.4)
    assert augment.colour_jitter.brightness == 0
    assert augment_of(CONFIG).colour_jitter.brightness == 0.2


def test_an_input_without_a_size_is_refused(records: list[Record]) -> None:
    with pytest.raises(ConfigError, match="no fixed size"):
        EvalImages(records, labels(records), spec=replace(SPEC, size_hw=None))
