"""Checkpoints in and out: whatever envelope the weights come in, read without running code, and loaded in full.

`read_checkpoint` turns a file into named tensors, `load_into` puts them into a network and says how many fitted,
`load_checkpoint` does both. A head named `classifier` belongs to the training identities and never counts.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
import pickle
import re
import struct
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sightline.card import CARD_KEY, ModelCard
from sightline.errors import CheckpointError, ModelFormatError, UnsafeCheckpointError
from sightline.files import replacing, require_model_file, sniff
from sightline.nets.osnet import ARCHS, ArchSpec, Family

_log = logging.getLogger(__name__)

State = Mapping[str, Tensor]

_ENVELOPES = ("state_dict", "model_state_dict", "model", "net", "weights")
_SHOWN = 3  # names of each kind in an error

# How a NumPy number or array is pickled: by NumPy 1, and by NumPy 2, which renamed `core`.
_NUMPY_1 = ("dtype", "ndarray", "core.multiarray.scalar", "core.multiarray._reconstruct")
_NUMPY = (*_NUMPY_1, "_core.multiarray.scalar", "_core.multiarray._reconstruct")

# What torch.load raises, besides UnpicklingError, for damaged files and for classes that are not installed.
_FAILED_LATE = (AssertionError, AttributeError, ImportError, LookupError, TypeError, ValueError)
_DAMAGED = (*_FAILED_LATE, EOFError, MemoryError, OSError, RuntimeError, struct.error)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The weights in a file, their names free of `module.`, and what the file says about them."""

    state: dict[str, Tensor]
    card: ModelCard | None
    envelope: str  # "raw", "module" for a whole pickled network, else the key the weights were under
    origin: str  # for messages


@dataclass(frozen=True)
class Coverage:
    """How much of a network a file filled. `classifier.*` and the step counters of batch norms are not counted."""

    matched: int
    expected: int
    missing: tuple[str, ...] = ()  # in the network only
    unexpected: tuple[str, ...] = ()  # in the file only
    wrong_shape: tuple[str, ...] = ()  # "name: file (a, b), network (c, d)"
    classifier: bool = False  # the head was in both, of one shape, and loaded too

    @property
    def share(self) -> float:
        """Matched over expected, 0..1."""
        return self.matched / self.expected if self.expected else 0.0

    @property
    def complete(self) -> bool:
        """Whether nothing was left over, on either side."""
        return not (self.missing or self.unexpected or self.wrong_shape)

    def __str__(self) -> str:
        percent = math.floor(self.share * 1000) / 10  # never rounded up to 100
        faults = {"missing": self.missing, "unexpected": self.unexpected, "of another shape": self.wrong_shape}
        counted = "".join(f", {len(names)} {fault}" for fault, names in faults.items() if names)
        return f"{self.matched} of {self.expected} tensors matched ({percent:g} %){counted}"


def read_checkpoint(path: Path, *, allow_pickle: bool = False) -> Checkpoint:
    """The weights of a file that `torch.save` wrote, under Python 2 or 3, by the old or the zip format.

    No code of the file runs unless `allow_pickle`. Raises `ModelNotFoundError`; `ModelFormatError` for what is no
    checkpoint or a damaged one; `UnsafeCheckpointError` naming what the file would run; `CheckpointError` for weights
    that are not finite; `CardError`.
    """
    require_model_file(path)
    with path.open("rb") as file:
        kind = sniff(file.read(64))
    if not kind.startswith("a PyTorch checkpoint"):
        raise ModelFormatError(f"{path} is {kind or 'no file torch.save wrote'}; expected a PyTorch checkpoint")
    saved = read_saved(path, allow_pickle=allow_pickle)
    envelope, state = _unwrap(saved, origin=path)
    _require_sound(state, origin=path)
    return Checkpoint(state, _card_in(saved, origin=path), envelope, str(path))


def load_checkpoint(net: nn.Module, path: Path, *, partial: bool = False, allow_pickle: bool = False) -> Coverage:
    """`read_checkpoint`, then `load_into`."""
    return load_into(net, read_checkpoint(path, allow_pickle=allow_pickle), partial=partial)


def load_into(net: nn.Module, checkpoint: Checkpoint, *, partial: bool = False) -> Coverage:
    """Fill `net`. Raises `CheckpointError`, `net` untouched, if a name is left over and not `partial`, or none fits."""
    own, state = net.state_dict(), checkpoint.state
    coverage = _compare(own, state)
    if coverage.matched == 0 or not (coverage.complete or partial):
        raise CheckpointError(_misfit(coverage, checkpoint, own=own))
    if not coverage.complete:
        _log.warning("%s: %s; the rest keeps its initial weights", checkpoint.origin, coverage)
    fitting = {name: tensor for name, tensor in state.items() if name in own and own[name].shape == tensor.shape}
    net.load_state_dict(fitting if coverage.classifier else _without_classifier(fitting), strict=False)
    return coverage


def save_checkpoint(path: Path, net: nn.Module, *, card: ModelCard | None = None) -> None:
    """Write the weights and the card as one file that needs no pickled code to read. Raises `OutputError`."""
    weights = {name: tensor.cpu() for name, tensor in net.state_dict().items()}
    saved = {"state_dict": weights} if card is None else {"state_dict": weights, CARD_KEY: card.to_json()}
    # Through memory: given a path, torch writes the temporary name into the file, and the same weights differ in bytes.
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def weights_fingerprint(state: State) -> str:
    """SHA-256 of the weights that make the vectors: all but `classifier.*` and the step counters.

    Over name, shape and float32 little-endian values of each tensor, by name; so neither order, device, precision of
    storage nor a `module.` prefix changes it.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(_counted(_without_prefix(state)).items()):
        values = tensor.detach().to("cpu", torch.float32).contiguous().numpy().astype("<f4", copy=False)
        digest.update(f"{name}\0{','.join(map(str, tensor.shape))}\0".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def guess_arch(state: State) -> str | None:
    """The name of the OSNet these weights are of, by names and shapes; None when they are of none."""
    shapes = {name: tuple(tensor.shape) for name, tensor in _without_prefix(state).items()}
    family = _family(shapes)
    fitting = (
        name for name, spec in ARCHS.items() if spec.family == family and _widths(spec).items() <= shapes.items()
    )
    return next(fitting, None)


def _widths(spec: ArchSpec) -> dict[str, tuple[int, ...]]:
    """Shapes that only this width has."""
    stem, *stages = spec.channels
    stage_shapes = {f"conv{stage}.0.conv3.conv.weight": (out, out // 4, 1, 1) for stage, out in enumerate(stages, 2)}
    return {"conv1.conv.weight": (stem, 3, 7, 7), **stage_shapes}


def _family(names: Collection[str]) -> Family | None:
    listed_streams = "conv2.0.conv2.0.layers.0.conv1.weight" in names
    batch_norm_stem = "conv1.bn.running_mean" in names
    if "conv2.0.IN.weight" not in names:
        return "plain" if batch_norm_stem and not listed_streams else None
    return None if batch_norm_stem else "ain" if listed_streams else "ibn"


def _compare(own: State, state: State) -> Coverage:
    ours, theirs = _counted(own), _counted(state)
    shared = sorted(ours.keys() & theirs.keys())
    wrong_shape = tuple(
        f"{name}: file {tuple(theirs[name].shape)}, network {tuple(ours[name].shape)}"
        for name in shared
        if theirs[name].shape != ours[name].shape
    )
    return Coverage(
        matched=len(shared) - len(wrong_shape),
        expected=len(ours),
        missing=tuple(sorted(ours.keys() - theirs.keys())),
        unexpected=tuple(sorted(theirs.keys() - ours.keys())),
        wrong_shape=wrong_shape,
        classifier=bool(_head(own)) and _head(own) == _head(state),
    )


def _misfit(coverage: Coverage, checkpoint: Checkpoint, *, own: State) -> str:
    faults = {"missing": coverage.missing, "unexpected": coverage.unexpected, "shapes": coverage.wrong_shape}
    shown = "".join(f"; {fault}: {_first_of(names)}" for fault, names in faults.items() if names)
    arch = guess_arch(checkpoint.state)
    other = arch is not None and arch != guess_arch(own)
    hint = f"these are {arch} weights: use --arch {arch}" if other else "expected weights of this very network"
    return f"{checkpoint.origin}: {coverage}{shown}; {hint}"


def _first_of(names: Collection[object]) -> str:
    return ", ".join([*map(str, list(names)[:_SHOWN]), *(["…"] if len(names) > _SHOWN else [])])


def _without_prefix(state: State) -> dict[str, Tensor]:
    return {re.sub(r"^(module\.)+", "", name): tensor for name, tensor in state.items()}


def _without_classifier(state: State) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith("classifier.")}


def _head(state: State) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items() if name.startswith("classifier.")}


def _counted(state: State) -> dict[str, Tensor]:
    """What makes the vectors. Old files lack the step counters; `n_averaged` is the one of torch's AveragedModel."""
    counters = ("num_batches_tracked", "n_averaged")
    return {name: tensor for name, tensor in _without_classifier(state).items() if not name.endswith(counters)}


def _card_in(saved: object, *, origin: Path) -> ModelCard | None:
    text = saved.get(CARD_KEY) if isinstance(saved, Mapping) else None
    return None if text is None else ModelCard.from_json(str(text), origin=str(origin))


def _unwrap(saved: object, *, origin: Path) -> tuple[str, dict[str, Tensor]]:
    for envelope, content in _candidates(saved).items():
        tensors = _tensors_in(content)
        state = _without_prefix(tensors)
        if len(state) < len(tensors):
            raise ModelFormatError(f"{origin} has a name both with and without `module.`; expected one of the two")
        if state:
            return envelope, state
    found = f"a dict of {_first_of(saved)}" if isinstance(saved, Mapping) else f"a {type(saved).__name__}"
    raise ModelFormatError(f"{origin} holds {found}; expected tensors by name, bare or under {', '.join(_ENVELOPES)}")


def _candidates(saved: object) -> dict[str, object]:
    """What may hold the weights, the outermost last: a trainer may keep tensors of its own beside an envelope."""
    inner = {name: saved[name] for name in _ENVELOPES if name in saved} if isinstance(saved, Mapping) else {}
    return inner | {"module" if isinstance(saved, nn.Module) else "raw": saved}


def _tensors_in(content: object) -> dict[str, Tensor]:
    named = content.state_dict() if isinstance(content, nn.Module) else content
    pairs = named.items() if isinstance(named, Mapping) else ()
    return {name: value.detach() for name, value in pairs if isinstance(name, str) and isinstance(value, Tensor)}


def _require_sound(state: State, *, origin: Path) -> None:
    for name, tensor in state.items():
        dense = tensor.layout is torch.strided and not tensor.is_meta
        if not dense or tensor.is_quantized or tensor.is_complex():
            raise CheckpointError(f"{origin}: {name} is sparse, quantised, complex or absent; expected plain numbers")
        if not torch.isfinite(tensor.float()).all():
            raise CheckpointError(f"{origin}: {name} has NaN or infinite values; expected weights that did not diverge")


def read_saved(path: Path, *, allow_pickle: bool) -> object:
    """All that `torch.save` wrote, as it is."""
    try:
        try:
            return _torch_load(path, weights_only=not allow_pickle, encoding="utf-8")
        except UnicodeDecodeError:  # Python 2 wrote its strings as bytes
            return _torch_load(path, weights_only=not allow_pickle, encoding="latin1")
    except pickle.UnpicklingError as exc:
        raise _unreadable(path, exc) if allow_pickle else _refused(path, exc) from exc
    except _DAMAGED as exc:
        raise _unreadable(path, exc) from exc


def _torch_load(path: Path, *, weights_only: bool, encoding: str) -> object:
    with warnings.catch_warnings(), torch.serialization.safe_globals([(_Unread, f"numpy.{name}") for name in _NUMPY]):
        warnings.simplefilter("ignore")  # torch says that it ignores `encoding` here, and does not
        saved: object = torch.load(path, map_location="cpu", weights_only=weights_only, encoding=encoding)
    return saved


class _Unread:
    """Stands in for the NumPy numbers that trainers save as scores; nobody here reads them.

    Not NumPy's own classes: a dtype takes its flags from the pickle, and a forged one passes floats off as pointers.
    """

    def __init__(self, *parts: object) -> None:
        """Keep nothing."""

    __setstate__ = __init__


def _refused(path: Path, exc: pickle.UnpicklingError) -> ModelFormatError | UnsafeCheckpointError:
    named = re.search(r"GLOBAL (\S+) (?:was not an allowed|whose module)", str(exc))
    if named is None:
        return _unreadable(path, exc)
    return UnsafeCheckpointError(
        f"{path} would run {named[1]} to load; expected tensors only; pass --unsafe-pickle only if you trust the file"
    )


def _unreadable(path: Path, exc: BaseException) -> ModelFormatError:
    reason = str(exc).split("WeightsUnpickler error:")[-1].strip()
    cause = re.split(r"\. |\n", reason)[0] or type(exc).__name__
    return ModelFormatError(f"{path} cannot be read ({cause}): damaged, or more than tensors; download it again")
