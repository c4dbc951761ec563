"""DeepStream's metadata as `pyds` shows it, up to DeepStream 8: linked lists of C structures, to be cast one by one."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from sightline.errors import BackendError
from sightline.pipeline.probe.records import FrameHead, RawFrame, RawPerson, Wanted
from sightline.pipeline.probe.tally import Tally
from sightline.types import Array

DTYPES = ("float32", "float16", "int8", "int32")  # by number, NvDsInferDataType
NUMBERS = frozenset({"float32", "float16"})


def listed(node: Any, cast: Callable[[Any], Any]) -> Iterator[Any]:
    """The items of a list of the C side.

    The cursor moves in here, so that no `continue` of a caller can forget it and stay on one item for ever. Both the
    cast and the step say the end by `StopIteration`, which inside a generator would become an error.
    """
    while node is not None:
        try:
            item = cast(node.data)
        except StopIteration:
            return
        yield item
        try:
            node = node.next
        except StopIteration:
            return


class PydsReader:
    """`pyds` is the module, or what speaks like it."""

    def __init__(self, pyds: Any, wanted: Wanted, tally: Tally) -> None:
        self._pyds, self._wanted, self._tally = pyds, wanted, tally
        if wanted.by_tracker and not hasattr(pyds, "NvDsObjReid"):
            raise BackendError(
                "this pyds cannot read nvtracker's vectors, it has no NvDsObjReid (1.2.0 and later do); "
                "use the re-identification network as SGIE instead"
            )

    def frames(self, batch_meta: Any) -> Iterator[RawFrame]:
        pyds = self._pyds
        ended = self._ended(batch_meta)
        for frame in listed(batch_meta.frame_meta_list, pyds.NvDsFrameMeta.cast):
            objects = listed(frame.obj_meta_list, pyds.NvDsObjectMeta.cast)
            people = tuple(self._person(one) for one in objects if int(one.class_id) in self._wanted.classes)
            yield RawFrame(_head(frame), people, frozenset(ended.get(int(frame.source_id), ())))

    def _person(self, one: Any) -> RawPerson:
        rect = one.rect_params
        box = (float(rect.left), float(rect.top), float(rect.width), float(rect.height))
        return RawPerson(int(one.object_id), box, float(one.confidence), self._vector(one))

    def _vector(self, one: Any) -> Array | None:
        kinds = self._pyds.NvDsMetaType
        by_tracker = self._wanted.by_tracker
        wanted = kinds.NVDS_TRACKER_OBJ_REID_META if by_tracker else kinds.NVDSINFER_TENSOR_OUTPUT_META
        for meta in listed(one.obj_user_meta_list, self._pyds.NvDsUserMeta.cast):
            if meta.base_meta.meta_type == wanted:
                found = self._of_tracker(meta) if by_tracker else self._of_network(meta)
                if found is not None:
                    return found
        return None

    def _of_tracker(self, meta: Any) -> Array | None:
        reid = self._pyds.NvDsObjReid.cast(meta.user_meta_data)
        return np.array(reid.get_host_reid_vector(), copy=True).reshape(-1) if reid.featureSize else None

    def _of_network(self, meta: Any) -> Array | None:
        """None of another network's tensors: every network of the pipeline may leave some on the same object."""
        tensors = self._pyds.NvDsInferTensorMeta.cast(meta.user_meta_data)
        if int(tensors.unique_id) != self._wanted.gie_id:
            return None
        names = []
        for number in range(tensors.num_output_layers):
            layer = self._pyds.get_nvds_LayerInfo(tensors, number)
            names.append(str(layer.layerName))
            if names[-1] == self._wanted.layer:
                return self._copied(layer)
        self._tally.note("other layer", f"network {self._wanted.gie_id} puts out {', '.join(names) or 'nothing'}, and")
        return None

    def _copied(self, layer: Any) -> Array | None:
        """The layer's own count and type decide: a half read as a float is noise, and reads beyond its end."""
        number = int(layer.dataType)
        dtype = DTYPES[number] if number in range(len(DTYPES)) else f"type {number}"
        if dtype not in NUMBERS:
            self._tally.note("type", f"layer {layer.layerName} is {dtype}, which")
            return None
        dims = layer.inferDims if hasattr(layer, "inferDims") else layer.dims
        address = self._pyds.get_ptr(layer.buffer) if layer.buffer else 0
        if not address:
            self._tally.note("empty layer", f"layer {layer.layerName}")
            return None
        size = int(dims.numElements) * np.dtype(dtype).itemsize
        return np.frombuffer(ctypes.string_at(int(address), size), dtype)  # a copy: `bytes` of our own

    def _ended(self, batch_meta: Any) -> dict[int, set[int]]:
        """By source, the tracks that nvtracker has given up, where its outputTerminatedTracks is 1."""
        pyds = self._pyds
        kind = getattr(pyds.NvDsMetaType, "NVDS_TRACKER_TERMINATED_LIST_META", None)
        ended: dict[int, set[int]] = {}
        if kind is None:
            return ended
        for meta in listed(batch_meta.batch_user_meta_list, pyds.NvDsUserMeta.cast):
            if meta.base_meta.meta_type == kind:
                batch = pyds.NvDsTargetMiscDataBatch.cast(meta.user_meta_data)
                for stream in pyds.NvDsTargetMiscDataBatch.list(batch):
                    targets = pyds.NvDsTargetMiscDataStream.list(stream)
                    ended.setdefault(int(stream.streamID), set()).update(int(target.uniqueId) for target in targets)
        return ended


def _head(frame: Any) -> FrameHead:
    return FrameHead(
        source=int(frame.source_id),
        index=int(frame.frame_num),
        pts_ns=int(frame.buf_pts),
        ntp_ns=int(frame.ntp_timestamp),
        size_wh=(int(frame.source_frame_width), int(frame.source_frame_height)),
        canvas_wh=(int(getattr(frame, "pipeline_width", 0)), int(getattr(frame, "pipeline_height", 0))),
    )
