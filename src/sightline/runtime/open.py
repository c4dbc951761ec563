"""From a path to a `Session`, on the best backend that is really there, saying what was tried."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import cast

from sightline.errors import BackendError, ModelNotFoundError, NoBackendError
from sightline.files import ModelKind, model_kind, require_model_file
from sightline.runtime.backend import Backend, Request
from sightline.runtime.cards import NO_CLAIMS, Claims, require_agreement
from sightline.runtime.session import Attempt, Engine, Session

log = logging.getLogger(__name__)

# Which backends read a kind of file, in the order "auto" tries them.
READERS: dict[ModelKind, tuple[str, ...]] = {
    "onnx": ("onnxruntime", "openvino"),
    "checkpoint": ("torch",),
    "openvino": ("openvino",),
    "tensorrt": ("tensorrt",),
}
BACKENDS = ("onnxruntime", "openvino", "tensorrt", "torch", "untrained")
SIBLINGS = (".pth", ".pt")  # where the weights of a missing .onnx may lie

NO_BACKEND = "No OSNet backend available"
NOT_FOUND = "not found"


def backend_named(name: str) -> Backend:
    """The module of one backend, imported when it is first needed."""
    if name not in BACKENDS:
        raise BackendError(f"no backend {name!r}; expected auto, {', '.join(BACKENDS)}")
    return cast(Backend, import_module(f"sightline.runtime.{name}"))


def open_session(
    path: str | Path,
    backend: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    *,
    claims: Claims = NO_CLAIMS,
    fallback: bool = True,
    allow_untrained: bool = False,
    allow_pickle: bool = False,
    seed: int = 0,
) -> Session:
    """Open a model file.

    With `backend="auto"` the first installed backend that reads the file runs it; a missing .onnx is looked for as a
    .pth or .pt beside it; and with `allow_untrained` a model that is nowhere becomes random weights, loudly. What was
    tried is in `session.attempts`. `claims` says what a file without a card cannot. `fallback=False` refuses another
    device, and another file, than the one asked for.

    Raises `ModelNotFoundError`, `ModelFormatError` or `CardError` about the file, and `NoBackendError` when nothing
    that could run it is installed.
    """
    request = Request(device, precision, threads, fallback, claims, seed, allow_pickle)
    search = _Search(Path(path), request)
    if backend == "auto":
        return search.any_backend(allow_untrained=allow_untrained)
    if backend == "untrained" and not allow_untrained:
        raise BackendError("backend 'untrained' is random weights; it must be allowed (allow_untrained=True)")
    return search.one_backend(backend)


@dataclass
class _Search:
    """One call of `open_session`: what is looked for, and what has been tried."""

    path: Path
    request: Request
    attempts: list[Attempt] = field(default_factory=list)

    def one_backend(self, name: str) -> Session:
        backend_named(name)
        if name != "untrained":
            require_model_file(self.path)
            readers = READERS[model_kind(self.path)]
            if name not in readers:
                raise BackendError(f"{self.path}: {name} does not read it; expected {' or '.join(readers)}")
        session = self.with_backend(name, self.path)
        if session is None:
            raise NoBackendError(self.summary(f"backend {name!r} is not available"))
        return session

    def any_backend(self, *, allow_untrained: bool) -> Session:
        for candidate in self.candidates():
            for backend in READERS[model_kind(candidate)]:
                session = self.with_backend(backend, candidate)
                if session is not None:
                    return session
        found = any(attempt.reason != NOT_FOUND for attempt in self.attempts)
        if allow_untrained and not found:
            session = self.with_backend("untrained", self.path)
            if session is not None:
                return session
        if found or allow_untrained:
            raise NoBackendError(self.summary(NO_BACKEND))
        raise ModelNotFoundError(self._not_found())

    def candidates(self) -> list[Path]:
        """The file itself, and for an .onnx that is not there the checkpoint beside it."""
        if model_kind(self.path) != "onnx" or not self.request.fallback:
            return [self.path]
        return [self.path, *(self.path.with_suffix(suffix) for suffix in SIBLINGS)]

    def with_backend(self, name: str, path: Path) -> Session | None:
        """A session, or None with the reason on record when the file or the backend is not there.

        A file that is there but broken is an error at once: opening something else in its place would hide it.
        """
        backend = backend_named(name)
        reason = "" if name == "untrained" or _is_there(path) else NOT_FOUND
        reason = reason or backend.missing()
        if reason:
            self.attempts.append(Attempt(name, str(path), reason))
            return None
        engine, card = backend.open_model(path, self.request)
        self._settle_device(engine, name, path)
        require_agreement(card, engine.inputs, engine.outputs, origin=str(path))
        self._tell_substitute(name, path)
        self.attempts.append(Attempt(name, str(path)))
        return Session(engine, card=card, path=path, backend=name, attempts=self.attempts)

    def summary(self, headline: str) -> str:
        reasons = dict.fromkeys(f"{attempt.backend}: {attempt.reason} ({attempt.path})" for attempt in self.attempts)
        return f"{headline} for {self.path}: {'; '.join(reasons)}"

    def _settle_device(self, engine: Engine, backend: str, path: Path) -> None:
        """Accept another device than the one asked for, in the open, or refuse it."""
        if not engine.fell_back:
            return
        lost = f"{self.request.device.upper()} not available"
        if not self.request.fallback:
            raise BackendError(f"{path}: {lost}: {engine.fell_back}")
        log.warning("%s, falling back to %s: %s (%s)", lost, engine.device.upper(), engine.fell_back, path)
        self.attempts.append(Attempt(backend, str(path), f"{lost}: {engine.fell_back}"))

    def _tell_substitute(self, backend: str, path: Path) -> None:
        """Say in one line that a second choice is used. Random weights say so themselves."""
        refused = [attempt for attempt in self.attempts if (attempt.backend, attempt.path) != (backend, str(path))]
        if refused and backend != "untrained":
            log.warning("%s; using %s %s instead", refused[0], backend, path)

    def _not_found(self) -> str:
        looked = [str(candidate) for candidate in self.candidates()[1:]]
        also = f" (nor {', '.join(looked)})" if looked else ""
        return f"model file not found: {self.path}{also}; see `sightline models list` for models to pull"


def _is_there(path: Path) -> bool:
    """Whether there is a file to open. One that is there but cannot be a model is an error."""
    try:
        require_model_file(path)
    except ModelNotFoundError:
        return False
    return True
