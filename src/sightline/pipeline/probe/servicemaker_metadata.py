"""DeepStream's metadata as `pyservicemaker` shows it, from DeepStream 8 on: iterators that can be walked once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sightline.errors import BackendError
from sightline.pipeline.probe.records import FrameHead, RawFrame, RawPerson, Wanted
from sightline.pipeline.probe.tally import Tally
from sightline.types import Array


class ServiceMakerReader:
    """Needs nothing of pyservicemaker itself: the metadata objects bring all that is asked of them."""

    def __init__(self, wanted: Wanted, tally: Tally) -> None:
        self._wanted, self._tally = wanted, tally

    def frames(self, batch_meta: Any) -> Iterator[RawFrame]:
        for frame in batch_meta.frame_items:
            people = tuple(self._person(one) for one in frame.object_items if int(one.class_id) in self._wanted.classes)
            yield RawFrame(_head(frame), people)

    def _person(self, one: Any) -> RawPerson:
        rect = one.rect_params
        box = (float(rect.left), float(rect.top), float(rect.width), float(rect.height))
        vector = self._of_tracker(one) if self._wanted.by_tracker else self._of_network(one)
        return RawPerson(int(one.object_id), box, float(one.confidence), vector)

    def _of_tracker(self, one: Any) -> Array | None:
        if not hasattr(one, "obj_reid_items"):
            raise BackendError(
                "this pyservicemaker cannot read nvtracker's vectors: its objects have no obj_reid_items; "
                "use the re-identification network as SGIE instead"
            )
        for meta in one.obj_reid_items:
            reid = meta.as_obj_reid()
            if reid and reid.feature_size:
                return np.array(reid.feature_vector, copy=True).reshape(-1)
        return None

    def _of_network(self, one: Any) -> Array | None:
        """By the layer's name, and by the network's number where this version tells it."""
        for meta in one.tensor_items:
            tensors = meta.as_tensor_output()
            if not tensors or int(getattr(tensors, "unique_id", self._wanted.gie_id)) != self._wanted.gie_id:
                continue
            layers = tensors.get_layers()
            if self._wanted.layer in layers:
                return self._copied(layers[self._wanted.layer])
            names = ", ".join(map(str, layers)) or "nothing"
            self._tally.note("other layer", f"network {self._wanted.gie_id} puts out {names}, and")
        return None

    def _copied(self, tensor: Any) -> Array | None:
        """On the host, and ours: what the tensor points to is used again for the next batch."""
        host = tensor.to("cpu") if hasattr(tensor, "to") else tensor
        found: Array = np.array(np.from_dlpack(host), copy=True).reshape(-1)
        if found.dtype not in (np.float32, np.float16):
            self._tally.note("type", f"layer {self._wanted.layer} is {found.dtype}, which")
            return None
        return found


def _head(frame: Any) -> FrameHead:
    return FrameHead(
        source=int(frame.source_id),
        index=int(frame.frame_number),
        pts_ns=int(frame.buffer_pts),
        ntp_ns=int(frame.ntp_timestamp),
        size_wh=(int(frame.source_width), int(frame.source_height)),
        canvas_wh=(int(frame.pipeline_width), int(frame.pipeline_height)),
    )
