"""One camera's people: boxes of a frame in, visits that have ended out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from sightline.pipeline.people.gathering import Book, GatherRules
from sightline.pipeline.people.scene import FEWEST_PLACES, empty_places, seen_from
from sightline.pipeline.people.shots import Shot, jpeg_of
from sightline.pipeline.people.visits import Visit
from sightline.pipeline.timing import Stopwatch
from sightline.reid.sightings import BORDER
from sightline.reid.tracklets import CLEAR_HW, CROWDED, Setting, crop_quality
from sightline.tracking.assignment import iou_matrix
from sightline.tracking.tracker import AppearanceTracker, Tracker
from sightline.types import Array, Detections, Embeddings, FloatArray, Frame, Image, IntArray, Tracks

SAME_PLACE = 0.5  # IoU of a box with one of the last frame from which on it is the same person, for now
SURE = 0.3  # score of a detection that is worth a look
LEAST_WH = (10, 24)  # pixels of somebody who can be told from others at all
SCENE_WITHIN = 25  # frames in which the empty place is looked for
NOBODY = Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64))
NOWHERE = Tracks(np.empty(0, np.int64), NOBODY)


class Embeds(Protocol):
    """Crops to vectors, as `Embedder` does."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def dim(self) -> int: ...

    def embed(self, crops: Sequence[Image]) -> Embeddings: ...


class Watch:
    """A tracker and a book: feed it every frame of one camera, in order."""

    def __init__(
        self, camera: str, *, tracker: Tracker, embedder: Embeds, rules: GatherRules | None = None, clock: Stopwatch
    ) -> None:
        self.camera, self.tracker, self._embedder, self._clock = camera, tracker, embedder, clock
        self.book = Book(camera, fingerprint=embedder.fingerprint, rules=rules)
        self._last = NOWHERE
        self._looked_for_scene = 0  # frames
        self.size_hw: tuple[int, int] | None = None

    @property
    def scene(self) -> FloatArray | None:
        """The mean vector (D,) of the place without anybody, once it was seen."""
        return self.book.scene

    @property
    def present(self) -> Tracks:
        """Who was in the last frame."""
        return self._last

    def see(self, frame: Frame, detections: Detections) -> list[Visit]:
        """Take in a frame; the visits that ended by it."""
        self._follow_size(frame.image)
        with self._clock("embed"):
            self._look_for_scene(frame.image, detections)
            rows = self._worth_a_look(detections, frame)
            shots = self._shots(frame, detections.boxes_xyxy, rows)
        with self._clock("track"):
            vectors = np.full((len(detections), self._embedder.dim), np.nan, np.float32)
            for row, shot in shots.items():
                vectors[row] = seen_from(self.scene, shot.vector[None])[0]
            tracks = self.tracker.update(
                detections, frame=frame.index, time_s=frame.time_s, embeddings=vectors, image=frame.image
            )
            taken = {place: shots[row] for place, row in enumerate(self.tracker.rows.tolist()) if row in shots}
            self.book.add(tracks, taken, frame=frame.index, time_s=frame.time_s)
            self._last = tracks
            return self.book.close(self.tracker.ended()) + self.book.cut_long(frame.time_s)

    def end(self) -> list[Visit]:
        """The stream is over: everybody's visit ends. Another may begin, at a time of its own."""
        self.tracker.reset()
        self._last = NOWHERE
        return self.book.close_all()

    def _follow_size(self, image: Image) -> None:
        """After a change of the frame's size, as after a reconnect, the last places mean nothing."""
        size_hw = (image.shape[0], image.shape[1])
        if self.size_hw not in (None, size_hw):
            self._last = NOWHERE
        self.size_hw = size_hw

    def _look_for_scene(self, image: Image, detections: Detections) -> None:
        """In the first frames. Tracks are compared by one centre for good, so what is not known by then stays so."""
        if self.scene is not None or self._looked_for_scene >= SCENE_WITHIN:
            return
        self._looked_for_scene += 1
        places = empty_places(image, detections.boxes_xyxy)
        if len(places) >= FEWEST_PLACES:
            self.book.scene = self._embedder.embed(places).vectors.mean(axis=0)

    # Whom to look at

    def _worth_a_look(self, detections: Detections, frame: Frame) -> IntArray:
        """The rows to embed: sure and large enough, not half hidden, and somebody new or not looked at for a while."""
        boxes = detections.boxes_xyxy
        sides = boxes[:, 2:] - boxes[:, :2]
        with np.errstate(invalid="ignore"):
            fit = (detections.scores >= SURE) & (sides >= LEAST_WH).all(axis=1)
        return np.array([row for row in np.flatnonzero(fit).tolist() if self._is_due(boxes[row], frame.time_s)], int)

    def _is_due(self, box: FloatArray, time_s: float) -> bool:
        if not len(self._last):
            return True
        overlap = iou_matrix(box[None], self._last.detections.boxes_xyxy)[0]
        nearest = int(overlap.argmax())
        return bool(overlap[nearest] < SAME_PLACE) or self.book.is_due(int(self._last.ids[nearest]), time_s)

    def _shots(self, frame: Frame, boxes: FloatArray, rows: IntArray) -> dict[int, Shot]:
        """All crops of the frame in one batch."""
        settings = settings_in(boxes, (frame.image.shape[0], frame.image.shape[1]))
        crops = {row: cropped(frame.image, boxes[row]) for row in rows.tolist() if settings[row].crowding <= CROWDED}
        crops = {
            row: crop for row, crop in crops.items() if crop.shape[0] >= LEAST_WH[1] and crop.shape[1] >= LEAST_WH[0]
        }
        if not crops:
            return {}
        vectors = self._embedder.embed(list(crops.values())).vectors
        return {
            row: _shot(frame, crop, vector, settings[row])
            for (row, crop), vector in zip(crops.items(), vectors, strict=True)
        }

    # To be stored, and gone on from

    def state(self) -> dict[str, Array]:
        """All that is open, as plain arrays."""
        found = self._last.detections
        last: dict[str, Array] = {
            "ids": self._last.ids,
            "boxes": found.boxes_xyxy,
            "scores": found.scores,
            "classes": found.classes,
        }
        tracker = self.tracker.state() if isinstance(self.tracker, AppearanceTracker) else {}
        scene: dict[str, Array] = {"looked": np.array(self._looked_for_scene)}
        if self.scene is not None:
            scene["vector"] = self.scene
        return {
            **_under("scene", scene),
            **_under("book", self.book.state()),
            **_under("last", last),
            **_under("tracker", tracker),
        }

    def restore(self, state: Mapping[str, Array]) -> None:
        """Go on from there, exactly so if `is_exact`; else the tracker starts anew, and the open visits should end."""
        self.book.restore(_within("book", state))
        self._looked_for_scene, self.book.scene = int(_within("scene", state)["looked"]), scene_in(state)
        if isinstance(self.tracker, AppearanceTracker):
            self.tracker.restore(_within("tracker", state))
            last = _within("last", state)
            self._last = Tracks(last["ids"], Detections(last["boxes"], last["scores"], last["classes"]))

    @property
    def is_exact(self) -> bool:
        """Whether what was stored goes on as if it had never been."""
        return isinstance(self.tracker, AppearanceTracker)


def scene_in(state: Mapping[str, Array]) -> FloatArray | None:
    """The `scene` of a watch that was stored."""
    return _within("scene", state).get("vector")


def _under(name: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {f"{name}.{key}": array for key, array in arrays.items()}


def _within(name: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {key.removeprefix(f"{name}."): array for key, array in arrays.items() if key.startswith(f"{name}.")}


def settings_in(boxes: FloatArray, size_hw: tuple[int, int]) -> list[Setting]:
    """Of each box: how much of it lies in another, and whether the picture ends where it does."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    np.fill_diagonal(shared, 0)
    areas = np.maximum(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), 1e-6)
    crowding = (shared.max(axis=1, initial=0) / areas).clip(0, 1)
    far = np.array([size_hw[1], size_hw[0]]) - BORDER
    outside = np.concatenate([boxes[:, :2] <= BORDER, boxes[:, 2:] >= far], axis=1)
    return [Setting(float(share), bool(row.any())) for share, row in zip(crowding, outside, strict=True)]


def cropped(image: Image, box: FloatArray) -> Image:
    """What is in the box, as far as the picture reaches; a view."""
    left, top, right, bottom = np.rint(np.nan_to_num(box)).astype(int).tolist()
    return image[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]


def _shot(frame: Frame, crop: Image, vector: FloatArray, setting: Setting) -> Shot:
    clear = crop.shape[0] >= CLEAR_HW[0] and crop.shape[1] >= CLEAR_HW[1] and not setting.cut
    return Shot(frame.index, frame.time_s, vector, crop_quality(crop, setting), clear, jpeg_of(crop))
