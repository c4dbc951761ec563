"""The folders of dumps that offline tools leave, one file an input, read back into vectors.

Names differ by tool: `<stem>_1.txt` and `_1.bin` (benchmark), `_0.bin`, `_0.txt`, `_0.npy` (ais_bench),
`_output_0.txt` (msame). A file and its label go through everything together, in order of the stem, so no vector is ever
ranked under the name of another.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tokenize import TokenError
from types import MappingProxyType

import numpy as np

from sightline.deploy.ascend.info import first_of
from sightline.errors import ModelOutputError
from sightline.types import FloatArray

# One digit or "x" for the index: the box number that ends a Market-1501 name has two.
_DUMP = re.compile(r"(?P<stem>.+?)(?:_output)?_(?:\d|x)\.(?P<kind>bin|txt|npy)")


@dataclass(frozen=True, eq=False)
class Dumps:
    """One folder, in order of the stems."""

    folder: Path
    stems: tuple[str, ...]
    vectors: FloatArray  # (N, D)
    notes: tuple[str, ...] = ()  # what was left out


def dump_files(folder: Path) -> list[tuple[str, Path]]:
    """Each dump with the stem of its input, sorted; other files, such as summaries, are passed over."""
    try:
        names = ((_DUMP.fullmatch(path.name), path) for path in folder.iterdir())
        return sorted((said["stem"], path) for said, path in names if said)
    except OSError as exc:
        raise ModelOutputError(f"{folder} cannot be read: {exc.strerror}; expected a folder of dumps") from exc


def read_dumps(folder: Path, *, expected: Sequence[str] | None = None, dim: int | None = None) -> Dumps:
    """Every dump of a folder. `expected` are the stems there should be, `dim` the numbers there should be in each.

    Raises `ModelOutputError` naming what is missing, there twice, or not a vector: figures over fewer images would be
    figures of another test. Dumps that nobody expected are left out, and noted.
    """
    found = dump_files(folder)
    if not found:
        raise ModelOutputError(
            f"{folder} holds no dumps; expected files like 0001_c1s1_001051_00_1.txt, _1.bin or _0.npy"
        )
    _require_once(folder, found)
    files = dict(found)
    kept = sorted(files if expected is None else set(expected))
    _require_all(folder, kept, files)
    rows = list(_vectors((files[stem] for stem in kept), dim))
    _require_different(folder, rows)
    return Dumps(folder, tuple(kept), np.stack(rows), _left_out(folder, files, kept))


def _require_once(folder: Path, found: Sequence[tuple[str, Path]]) -> None:
    names: dict[str, list[str]] = {}
    for stem, path in found:
        names.setdefault(stem, []).append(path.name)
    twice = [" and ".join(paths) for paths in names.values() if len(paths) > 1]
    if twice:
        raise ModelOutputError(
            f"{folder}: {len(twice)} inputs have more than one dump: {first_of(twice)}; "
            "remove those of the other run or output"
        )


def _require_all(folder: Path, expected: Sequence[str], files: Mapping[str, Path]) -> None:
    missing = [stem for stem in expected if stem not in files]
    if missing:
        raise ModelOutputError(f"{folder}: {len(missing)} of {len(expected)} dumps are missing: {first_of(missing)}")


def _left_out(folder: Path, files: Mapping[str, Path], kept: Sequence[str]) -> tuple[str, ...]:
    extra = sorted(files.keys() - set(kept))
    return (f"{folder}: {len(extra)} dumps of no listed input left out: {first_of(extra)}",) if extra else ()


def _vectors(paths: Iterator[Path], dim: int | None) -> Iterator[FloatArray]:
    """One row a file, all as long as the first, or as `dim` says."""
    for path in paths:
        row = read_vector(path, dim=dim)
        dim = len(row) if dim is None else dim
        if len(row) != dim:
            raise ModelOutputError(f"{path} holds {len(row)} numbers; expected {dim}, as the others do")
        yield row


def _require_different(folder: Path, rows: Sequence[FloatArray]) -> None:
    if len(rows) > 1 and all(np.array_equal(rows[0], row) for row in rows):
        raise ModelOutputError(f"{folder}: all {len(rows)} dumps are the same vector; the model never saw its input")


def read_vector(path: Path, *, dim: int | None = None) -> FloatArray:
    """One dump, flat, as float32. Raises `ModelOutputError` when it is damaged, empty or not finite."""
    try:
        row = _READERS[path.suffix](path.read_bytes(), dim)
    except OSError as exc:
        raise ModelOutputError(f"{path} cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise ModelOutputError(f"{path} is not a dump of float32 numbers: {exc}") from exc
    if row.size == 0:
        raise ModelOutputError(f"{path} is empty; run the inference again")
    if not np.isfinite(row).all():
        raise ModelOutputError(f"{path} holds NaN or infinity; the model overflowed, or was fed another precision")
    return row


def _of_text(content: bytes, _: int | None) -> FloatArray:
    with np.errstate(over="ignore"):  # too large for float32 becomes infinity, which is refused by name
        return np.array(content.decode("ascii").replace(",", " ").split(), np.float32)


def _of_bytes(content: bytes, dim: int | None) -> FloatArray:
    """Raw numbers say nothing of their type: it is half precision where that, and only that, gives `dim` of them."""
    if dim is not None and len(content) == 2 * dim:
        return np.frombuffer(content, "<f2").astype(np.float32)
    if len(content) % 4:
        raise ValueError(f"{len(content)} bytes")
    return np.frombuffer(content, "<f4").astype(np.float32)


# What NumPy lets out of a header that is not the one it wrote.
_DAMAGED_NPY = (EOFError, OSError, SyntaxError, TokenError, MemoryError, OverflowError, TypeError)


def _of_npy(content: bytes, _: int | None) -> FloatArray:
    try:
        array = np.lib.format.read_array(BytesIO(content), allow_pickle=False)
    except _DAMAGED_NPY as exc:
        raise ValueError(f"a damaged .npy, {type(exc).__name__}") from exc
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{array.dtype} values")
    return array.astype(np.float32).ravel()


_READERS: Mapping[str, Callable[[bytes, int | None], FloatArray]] = MappingProxyType(
    {".txt": _of_text, ".bin": _of_bytes, ".npy": _of_npy}
)


def dump_name(stem: str, *, binary: bool) -> str:
    """As the benchmark tool calls it."""
    return f"{stem}_1.{'bin' if binary else 'txt'}"


def dump_content(vector: FloatArray, *, binary: bool) -> bytes:
    """Raw little-endian float32, or a line of decimals with every digit float32 has."""
    if binary:
        return vector.astype("<f4").tobytes()
    return (" ".join(f"{value:.9g}" for value in vector.tolist()) + "\n").encode("ascii")
