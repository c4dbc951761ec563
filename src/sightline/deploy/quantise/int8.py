"""Weights and activations in eight bits, as QuantizeLinear/DequantizeLinear pairs that every runtime understands.

Activations are unsigned: ONNX Runtime's kernels for signed ones are four times slower. Their ranges are the smallest
and largest values seen on real crops; histograms that cut the tails (percentile, entropy) were no better or worse.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from sightline.card import ImageInput
from sightline.deploy.quantise.graph import quiet_onnxruntime
from sightline.errors import ExportError
from sightline.images import prepare
from sightline.runtime.session import Feeds
from sightline.types import Array, Image

AT_ONCE = 4  # crops fed together, where the batch is open: all that is kept of them is a range for each tensor

# All others stay as they are. Norms over an image are not among these.
_OPERATORS = (
    *("Conv", "Gemm", "MatMul", "Relu", "Clip", "LeakyRelu", "Add", "Mul", "Concat", "MaxPool"),
    *("AveragePool", "GlobalAveragePool", "Sigmoid"),
)


def feeds_of(crops: Sequence[Image], image: ImageInput) -> Iterator[Feeds]:
    """The crops as the model is fed, in parts; one too short for a fixed batch is filled up with its last crop."""
    size = image.batch or AT_ONCE
    for start in range(0, len(crops), size):
        part = list(crops[start : start + size])
        part += [part[-1]] * ((image.batch or len(part)) - len(part))
        yield {image.name: prepare(part, image)}


def write_int8(
    ready: Path, target: Path, feeds: Iterable[Feeds], *, leave: Collection[str] = (), reduce_range: bool = False
) -> None:
    """Quantise a graph made ready. `leave` names nodes that stay float32; `reduce_range` gives weights seven bits.

    Raises `ExportError` where nothing of the graph can be quantised.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    try:
        with quiet_onnxruntime():
            quantize_static(
                str(ready),
                str(target),
                _Reader(feeds),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(_OPERATORS),
                nodes_to_exclude=sorted(leave),
                per_channel=True,
                reduce_range=reduce_range,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
    except (RuntimeError, ValueError, KeyError) as exc:
        reason = str(exc).strip().partition("\n")[0]
        raise ExportError(f"ONNX Runtime's quantiser gave up on {ready.name}: {reason}") from exc
    if not any(node.op_type == "QuantizeLinear" for node in onnx.load(str(target)).graph.node):
        raise ExportError("nothing was quantised: the model has no layers that can be; it stays as it is")


class _Reader:
    """What the calibration asks for feeds, one after another, until there are none."""

    def __init__(self, feeds: Iterable[Feeds]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> dict[str, Array] | None:
        feed = next(self._feeds, None)
        return None if feed is None else dict(feed)
