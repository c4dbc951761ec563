"""Vectors of crops seen before, so that a second run on the same people embeds only what is new.

A vector is found by what it depends on and nothing else: the model with the way it is fed, and the pixels of the crop.
Files may be renamed, moved or encoded again; a changed picture is a new one.
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from sightline.files import replacing
from sightline.types import FloatArray

log = logging.getLogger(__name__)

_BROKEN = (OSError, EOFError, KeyError, TypeError, ValueError, MemoryError, zipfile.BadZipFile)


class VectorCache:
    """Vectors by the digest of their crop (`tracklets.digest_of`), of one model.

    `identity` is all that makes vectors comparable: the card of the model and its precision. A file of another
    identity counts as empty, and so does one that cannot be read: a cache is never worth an error. Without a path
    nothing outlives the run.
    """

    def __init__(self, path: Path | None, *, identity: str, dim: int) -> None:
        self._path = path
        self._identity = identity
        self._dim = dim
        self._vectors: dict[str, FloatArray] = {} if path is None else _read(path, identity=identity, dim=dim)
        self._saved = frozenset(self._vectors)

    def __contains__(self, digest: str) -> bool:
        return digest in self._vectors

    def add(self, vectors: Mapping[str, FloatArray]) -> None:
        self._vectors.update(vectors)

    def rows(self, digests: Sequence[str]) -> FloatArray:
        """The vectors of these crops, (N, D). A `KeyError` for one that was never added."""
        return np.stack([self._vectors[digest] for digest in digests]).astype(np.float32, copy=False)

    @property
    def unsaved(self) -> int:
        return len(self._vectors.keys() - self._saved)

    def save(self, *, only: Collection[str] | None = None) -> None:
        """Write the file, where there is anything to change. `only` forgets all other crops."""
        if only is not None:
            self._vectors = {digest: self._vectors[digest] for digest in only}
        if self._path is None or self._vectors.keys() == self._saved:
            return
        digests = sorted(self._vectors)
        vectors = self.rows(digests) if digests else np.empty((0, self._dim), np.float32)
        with replacing(self._path) as temporary, temporary.open("wb") as file:
            np.savez(file, digests=np.array(digests, "U64"), vectors=vectors, identity=np.array(self._identity))
        self._saved = frozenset(digests)


def _read(path: Path, *, identity: str, dim: int) -> dict[str, FloatArray]:
    if not path.exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            if str(archive["identity"]) != identity:
                log.info("%s holds vectors of another model; all crops are embedded again", path)
                return {}
            digests, vectors = archive["digests"], archive["vectors"]
        if vectors.dtype != np.float32 or vectors.shape != (len(digests), dim) or not np.isfinite(vectors).all():
            raise ValueError(f"{vectors.dtype} {vectors.shape} for {len(digests)} crops; expected float32 (N, {dim})")
    except _BROKEN as exc:
        log.warning("%s is no cache of vectors (%s); all crops are embedded again", path, exc)
        return {}
    return dict(zip(map(str, digests), vectors, strict=True))
