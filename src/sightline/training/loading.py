"""Images on their way into a network: read, changed, normalised and batched, in processes beside the training.

What is drawn at random for an image depends on the seed, the epoch and the image alone: not on how many workers read,
nor on which of them, nor in which order. So a run with other workers, or a resumed one, sees the same pixels.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler, SequentialSampler

from sightline.card import ImageInput
from sightline.errors import ConfigError, ImageError
from sightline.images import prepare, read_image, resize
from sightline.training.augment import NO_AUGMENT, STILL, Augment, Jitter
from sightline.training.config import TrainingConfig
from sightline.training.records import Record, labels
from sightline.training.sampler import IdentitySampler


class Sample(NamedTuple):
    """One image as the network wants it."""

    image: Tensor  # (3, H, W) float32, normalised
    label: int
    camera: int
    name: str  # of the file


class Batch(NamedTuple):
    """A named tuple, for DataLoader pins the memory of those and of no other class."""

    images: Tensor  # (N, 3, H, W) float32
    labels: Tensor  # (N,) int64
    cameras: Tensor  # (N,) int64
    names: tuple[str, ...]


class TrainImages(Dataset[Sample]):
    """Augmented images of an epoch. Raises `ImageError`, which names the file, for one that cannot be decoded."""

    def __init__(
        self, records: Sequence[Record], labels: Mapping[str, int], *, spec: ImageInput, augment: Augment, seed: int
    ) -> None:
        if spec.size_hw is None:
            raise ConfigError("the network's input has no fixed size; pass input_size")
        self._records, self._labels = records, labels
        self._size_hw, self._spec, self._augment, self._seed = spec.size_hw, spec, augment, seed
        # Shared: workers that live on between epochs keep their copy of the rest of this object.
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]  # torch does not annotate it

    def set_epoch(self, epoch: int) -> None:
        """Draw other changes. To be called between epochs, not while a loader is being read."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Sample:
        record = self._records[index]
        resized = resize(read_image(record.path), self._size_hw, how=self._spec.resize)
        rng = np.random.default_rng((self._seed, int(self._epoch), index))
        image = torch.from_numpy(prepare([self._augment.apply(resized, rng)], self._spec)[0])
        return Sample(image, self._labels[record.person], record.camera, str(record.path))

    def __getitems__(self, indices: Sequence[int]) -> list[Sample] | ImageError:
        """A batch at once, as DataLoader asks for it.

        An unreadable image is handed over, not raised: out of a worker DataLoader lets exceptions go with the worker's
        traceback in their message. `BatchLoader` raises it on the other side.
        """
        try:
            return [self[index] for index in indices]
        except ImageError as exc:
            return ImageError(str(exc))


class EvalImages(TrainImages):
    """Images as they are."""

    def __init__(self, records: Sequence[Record], labels: Mapping[str, int], *, spec: ImageInput) -> None:
        super().__init__(records, labels, spec=spec, augment=NO_AUGMENT, seed=0)


AnyBatch = TypeVar("AnyBatch")


class EpochSampler(Protocol):
    """A batch sampler with epochs of its own."""

    def set_epoch(self, epoch: int, *, skip: int = 0) -> None: ...


class Epochs(Protocol):
    """A dataset whose samples differ from epoch to epoch."""

    def set_epoch(self, epoch: int) -> None: ...


class BatchLoader(DataLoader[AnyBatch]):
    """A DataLoader that raises `ImageError` as it was in the worker, in one line."""

    def set_epoch(self, epoch: int, *, skip: int = 0) -> None:
        """Of its sampler and of its dataset, which must have epochs. Not while it is being read."""
        cast(EpochSampler, self.batch_sampler).set_epoch(epoch, skip=skip)
        cast(Epochs, self.dataset).set_epoch(epoch)

    def __iter__(self) -> Iterator[AnyBatch]:  # type: ignore[override]  # a plain iterator over batches is all we promise
        failure = None
        for batch in super().__iter__():
            if isinstance(batch, ImageError):
                failure = batch
                break
            yield batch
        if failure is not None:
            raise failure  # only here, so that its traceback does not keep the workers waiting for work


def make_loader(
    images: TrainImages, batches: Sampler[list[int]], *, workers: int, keep_workers: bool = False
) -> BatchLoader[Batch]:
    """Batches of `images`."""
    return loader_of(images, batches, collated=_collated, workers=workers, keep_workers=keep_workers)


def loader_of(
    samples: Dataset[Any],
    batches: Sampler[list[int]],
    *,
    collated: Callable[[Any], AnyBatch | ImageError],
    workers: int,
    keep_workers: bool = False,
) -> BatchLoader[AnyBatch]:
    """Batches of `samples`, read by so many processes; 0 reads them in this one.

    `keep_workers` between epochs saves starting them again; what is read once only ends them when it has been read.
    """
    return BatchLoader(
        cast("Dataset[AnyBatch]", samples),  # torch takes what is collated for what it is collated from
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collated,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=keep_workers and workers > 0,
        worker_init_fn=_begin_worker,
        multiprocessing_context=_CLEAN_START if workers else None,
        generator=torch.Generator(),  # else it draws from the global one, and a resumed run has another state
    )


# Not forked from this process: a copy of one whose runtimes have threads is now and then a crash.
_CLEAN_START = "spawn" if sys.platform == "win32" else "forkserver"


def _begin_worker(number: int) -> None:
    """One thread for OpenCV, as for torch: the workers are the parallelism. Ctrl-C is for the trainer to answer."""
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _collated(samples: list[Sample] | ImageError) -> Batch | ImageError:
    if isinstance(samples, ImageError):
        return samples
    images, numbers, cameras, names = zip(*samples, strict=True)
    return Batch(torch.stack(images), torch.tensor(numbers), torch.tensor(cameras), names)


def training_loader(
    records: Sequence[Record], known: Mapping[str, int], config: TrainingConfig, *, rank: int = 0, world: int = 1
) -> BatchLoader[Batch]:
    """Augmented P×K batches."""
    data, seed = config.data, config.train.seed
    images = TrainImages(records, known, spec=config.image, augment=augment_of(config), seed=seed)
    sampler = IdentitySampler(
        [known[record.person] for record in records],
        batch_size=data.batch_size,
        num_instances=data.num_instances,
        seed=seed,
        rank=rank,
        world=world,
    )
    return make_loader(images, sampler, workers=data.workers, keep_workers=True)


def evaluation_loader(
    records: Sequence[Record], spec: ImageInput, *, batch_size: int, workers: int
) -> BatchLoader[Batch]:
    """All images once, in their order, as they are. Labels count the people of these records from 0."""
    images = EvalImages(records, labels(records), spec=spec)
    batches = BatchSampler(SequentialSampler(records), batch_size, drop_last=False)
    return make_loader(images, batches, workers=min(workers, len(batches)))


def augment_of(config: TrainingConfig) -> Augment:
    """The changes that a configuration asks for. What is erased gets the mean colour the network is trained with."""
    data, pixels = config.data, config.image.feed
    mean = pixels.mean if pixels is not None else (0.0, 0.0, 0.0)
    return Augment(
        flip=data.flip,
        pad_crop=data.pad_crop,
        colour_jitter=Jitter() if data.colour_jitter else STILL,
        grey=data.grey,
        blur=data.blur,
        erase=data.erase,
        fill_bgr=mean if pixels is None or pixels.color == "BGR" else (mean[2], mean[1], mean[0]),
    )
