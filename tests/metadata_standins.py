"""DeepStream's metadata as its two Python bindings show it, traps included, made from one plain description.

pyds: linked lists whose end is a `StopIteration`, casts, host pointers into memory that is used again. pyservicemaker:
iterators without a length that can be walked once, tensors on another device that speak DLPack.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from sightline.types import Array, FloatArray

PERSON, CAR = 2, 0
GIE, LAYER = 4, "embedding"
TENSOR_META, REID_META, TERMINATED_META, OTHER_META = 12, 7, 8, 99
TYPES = {"float32": 0, "float16": 1, "int8": 2, "int32": 3}


@dataclass
class Tensors:
    """What one network left on an object."""

    layers: dict[str, Array]
    gie: int = GIE


@dataclass
class Somebody:
    track: int
    ltwh: tuple[float, float, float, float] = (100, 100, 100, 300)
    tensors: Sequence[Tensors] = ()
    class_id: int = PERSON
    score: float = 0.9
    reid: FloatArray | None = None  # nvtracker's own


@dataclass
class Picture:
    index: int
    people: Sequence[Somebody] = ()
    source: int = 0
    pts_ns: int | None = None  # by default 25 frames a second
    ntp_ns: int = 0
    size_wh: tuple[int, int] = (1920, 1080)
    canvas_wh: tuple[int, int] = (1920, 1080)
    ended: Sequence[int] = ()

    @property
    def pts(self) -> int:
        return self.index * 40_000_000 if self.pts_ns is None else self.pts_ns


def with_vector(track: int, vector: Array, **changes: Any) -> Somebody:
    return Somebody(track, tensors=[Tensors({LAYER: vector})], **changes)


# pyds


class Node:
    """A cell of a GList. Beyond the last there is no `None` but an exception; who looks at one for ever is stopped."""

    def __init__(self, items: Sequence[Any]) -> None:
        self._items = items
        self._looks = 0

    @property
    def data(self) -> Any:
        self._looks += 1
        assert self._looks < 10, "the cursor of a list does not move"
        return self._items[0]

    @property
    def next(self) -> Node:
        if len(self._items) == 1:
            raise StopIteration
        return Node(self._items[1:])


def glist(items: Sequence[Any]) -> Node | None:
    return Node(items) if items else None


@dataclass
class Pool:
    """Host memory that every tensor lies in, and that is used again when the callback has returned."""

    blocks: list[Any] = field(default_factory=list)

    def hold(self, array: Array) -> Any:
        block = (ctypes.c_uint8 * array.nbytes).from_buffer_copy(np.ascontiguousarray(array).tobytes())
        self.blocks.append(block)
        return block

    def use_again(self) -> None:
        for block in self.blocks:
            ctypes.memset(ctypes.addressof(block), 0x7F, len(block))


def as_is(data: Any) -> Any:
    return data


class _Castable:
    cast = staticmethod(as_is)


def make_pyds(*, reads_reid: bool = True) -> SimpleNamespace:
    """The module."""

    class MiscBatch(_Castable):
        list = staticmethod(iter)

    class MiscStream(_Castable):
        list = staticmethod(lambda stream: iter(stream.targets))

    found = SimpleNamespace(
        NvDsMetaType=SimpleNamespace(
            NVDSINFER_TENSOR_OUTPUT_META=TENSOR_META,
            NVDS_TRACKER_OBJ_REID_META=REID_META,
            NVDS_TRACKER_TERMINATED_LIST_META=TERMINATED_META,
        ),
        NvDsFrameMeta=_Castable,
        NvDsObjectMeta=_Castable,
        NvDsUserMeta=_Castable,
        NvDsInferTensorMeta=_Castable,
        NvDsTargetMiscDataBatch=MiscBatch,
        NvDsTargetMiscDataStream=MiscStream,
        get_nvds_LayerInfo=lambda tensors, number: tensors.infos[number],
        get_ptr=ctypes.addressof,
    )
    if reads_reid:
        found.NvDsObjReid = _Castable
    return found


def pyds_batch(pictures: Sequence[Picture], pool: Pool) -> SimpleNamespace:
    ended = [
        SimpleNamespace(streamID=one.source, targets=[SimpleNamespace(uniqueId=track) for track in one.ended])
        for one in pictures
        if one.ended
    ]
    return SimpleNamespace(
        frame_meta_list=glist([_pyds_frame(one, pool) for one in pictures]),
        batch_user_meta_list=glist([_user(OTHER_META, None), *([_user(TERMINATED_META, ended)] if ended else [])]),
    )


def _user(kind: int, data: Any) -> SimpleNamespace:
    return SimpleNamespace(base_meta=SimpleNamespace(meta_type=kind), user_meta_data=data)


def _pyds_frame(one: Picture, pool: Pool) -> SimpleNamespace:
    return SimpleNamespace(
        source_id=one.source,
        frame_num=one.index,
        buf_pts=one.pts,
        ntp_timestamp=one.ntp_ns,
        source_frame_width=one.size_wh[0],
        source_frame_height=one.size_wh[1],
        pipeline_width=one.canvas_wh[0],
        pipeline_height=one.canvas_wh[1],
        obj_meta_list=glist([_pyds_object(person, pool) for person in one.people]),
    )


def _pyds_object(person: Somebody, pool: Pool) -> SimpleNamespace:
    metas = [_user(OTHER_META, None)]
    for tensors in person.tensors:
        infos = [_layer(name, array, pool) for name, array in tensors.layers.items()]
        data = SimpleNamespace(unique_id=tensors.gie, num_output_layers=len(infos), infos=infos)
        metas.append(_user(TENSOR_META, data))
    if person.reid is not None:
        vector = person.reid
        metas.append(_user(REID_META, SimpleNamespace(featureSize=len(vector), get_host_reid_vector=lambda: vector)))
    return SimpleNamespace(**_object(person), obj_user_meta_list=glist(metas))


def _layer(name: str, array: Array, pool: Pool) -> SimpleNamespace:
    return SimpleNamespace(
        layerName=name,
        dataType=TYPES[array.dtype.name],
        inferDims=SimpleNamespace(numElements=array.size, numDims=1),
        buffer=pool.hold(array),
    )


def _object(person: Somebody) -> dict[str, Any]:
    left, top, width, height = person.ltwh
    return {
        "object_id": person.track,
        "class_id": person.class_id,
        "confidence": person.score,
        "rect_params": SimpleNamespace(left=left, top=top, width=width, height=height),
    }


# pyservicemaker


class DeviceTensor:
    """On the GPU: NumPy cannot look at it, and a copy has to be asked for. `to` shares its memory, as a pool would."""

    def __init__(self, block: Array, device: str = "cuda") -> None:
        self._block, self._device = block, device

    def to(self, device: str) -> DeviceTensor:
        return DeviceTensor(self._block, device)

    def __dlpack__(self, **how: Any) -> Any:
        if self._device != "cpu":
            raise BufferError("CUDA memory")
        return self._block.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1 if self._device == "cpu" else 2, 0)


@dataclass
class DevicePool:
    blocks: list[Array] = field(default_factory=list)

    def hold(self, array: Array) -> DeviceTensor:
        self.blocks.append(array.copy())
        return DeviceTensor(self.blocks[-1])

    def use_again(self) -> None:
        for block in self.blocks:
            block[...] = 77


def once(items: Sequence[Any]) -> Iterator[Any]:
    """An iterator: no length, and nothing the second time."""
    yield from items


def maker_batch(
    pictures: Sequence[Picture], pool: DevicePool, *, tells_gie: bool = True, reads_reid: bool = True
) -> SimpleNamespace:
    frames = [_maker_frame(one, pool, tells_gie=tells_gie, reads_reid=reads_reid) for one in pictures]
    return SimpleNamespace(frame_items=once(frames))


def _maker_frame(one: Picture, pool: DevicePool, *, tells_gie: bool, reads_reid: bool) -> SimpleNamespace:
    return SimpleNamespace(
        source_id=one.source,
        pad_index=one.source,
        frame_number=one.index,
        buffer_pts=one.pts,
        ntp_timestamp=one.ntp_ns,
        source_width=one.size_wh[0],
        source_height=one.size_wh[1],
        pipeline_width=one.canvas_wh[0],
        pipeline_height=one.canvas_wh[1],
        object_items=once(
            [_maker_object(person, pool, tells_gie=tells_gie, reads_reid=reads_reid) for person in one.people]
        ),
    )


def _maker_object(person: Somebody, pool: DevicePool, *, tells_gie: bool, reads_reid: bool) -> SimpleNamespace:
    found = SimpleNamespace(**_object(person))
    metas = []
    for tensors in person.tensors:
        layers = {name: pool.hold(array) for name, array in tensors.layers.items()}
        output = SimpleNamespace(get_layers=_giving(layers))
        if tells_gie:
            output.unique_id = tensors.gie
        metas.append(SimpleNamespace(as_tensor_output=_giving(output)))
    found.tensor_items = once(metas)
    if reads_reid:
        vectors = (
            [] if person.reid is None else [SimpleNamespace(feature_size=len(person.reid), feature_vector=person.reid)]
        )
        found.obj_reid_items = once([SimpleNamespace(as_obj_reid=_giving(vector)) for vector in vectors])
    return found


def _giving(value: Any) -> Callable[[], Any]:
    return lambda: value
