"""A tracker or a repair network, whatever file it is in and whatever runs it, ready for the streaming core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sightline.ball.heatmap import HEIGHT, WIDTH
from sightline.ball.inpaint import InpaintForward
from sightline.ball.onnx import coords_of, heats_of, open_whole
from sightline.ball.planes import PLANES_PER_FRAME, BgMode, bg_mode_named, input_planes
from sightline.ball.stream import Forward
from sightline.errors import ModelFormatError
from sightline.onnx_file import read_onnx
from sightline.runtime import onnxruntime
from sightline.runtime.backend import Request
from sightline.runtime.open import open_session
from sightline.runtime.session import Session


def open_ball_model(
    path: Path, *, backend: str = "auto", device: str = "auto", threads: int | None = None, precision: str = "auto"
) -> Session:
    """A tracker or a repair network from any file that `open_session` takes.

    On ONNX Runtime it is run whole: see `ball.onnx`.
    """
    if path.suffix.lower() == ".onnx" and backend in {"auto", "onnxruntime"} and not onnxruntime.missing():
        return open_whole(path, Request(device=device, threads=threads, precision=precision))
    return open_session(path, backend, device, precision, threads)


@dataclass(frozen=True)
class Tracker:
    """An open TrackNet, and what its windows are made of."""

    session: Session
    forward: Forward
    seq_len: int
    bg_mode: BgMode


@dataclass(frozen=True)
class Repairer:
    """An open InpaintNet."""

    session: Session
    forward: InpaintForward
    seq_len: int


def tracker_of(session: Session) -> Tracker:
    """What the file says of itself, else what follows from the shapes of its graph. Raises `ModelFormatError`."""
    taken, given = session.inputs, session.outputs
    if len(taken) != 1 or len(given) != 1 or not _is_maps(taken[0].shape) or not _is_maps(given[0].shape):
        raise ModelFormatError(
            f"{session.path} is not a TrackNet: it takes {', '.join(map(str, taken))}; "
            f"expected one input [batch, planes, {HEIGHT}, {WIDTH}]"
        )
    said = _said(session)
    seq_len = _seq_len(session, said, drawn=given[0].shape[1])
    return Tracker(session, heats_of(session), seq_len, _bg_mode(session, said, seq_len))


def repairer_of(session: Session) -> Repairer:
    if {spec.name for spec in session.inputs} != {"coords", "mask"}:
        raise ModelFormatError(
            f"{session.path} is not an InpaintNet: it takes {', '.join(map(str, session.inputs))}; "
            "expected coords [batch, seq_len, 2] and mask [batch, seq_len, 1]"
        )
    return Repairer(session, coords_of(session), _seq_len(session, _said(session), drawn=session.outputs[0].shape[1]))


def _is_maps(shape: tuple[int | None, ...]) -> bool:
    return len(shape) == 4 and shape[2] in {None, HEIGHT} and shape[3] in {None, WIDTH}


def _said(session: Session) -> Mapping[str, str]:
    """What the card has beside the usual, or, in a file of another tool, the metadata."""
    if "seq_len" in session.card.extra or session.path.suffix.lower() != ".onnx":
        return session.card.extra
    return read_onnx(session.path).metadata


def _seq_len(session: Session, said: Mapping[str, str], *, drawn: int | None) -> int:
    text = said.get("seq_len", "" if drawn is None else str(drawn))
    if not text.isdecimal() or int(text) < 1 or drawn not in {None, int(text)}:
        raise ModelFormatError(f"{session.path}: seq_len is {text!r}, and its graph gives {drawn}; export it again")
    return int(text)


def _bg_mode(session: Session, said: Mapping[str, str], seq_len: int) -> BgMode:
    """Said, or told by the number of planes, which differs for every mode."""
    planes = session.inputs[0].shape[1]
    mode = said.get("bg_mode")
    if mode is None:
        mode = next((name for name in PLANES_PER_FRAME if input_planes(seq_len, name) == planes), None)
    if mode is None or planes not in {None, input_planes(seq_len, mode)}:
        raise ModelFormatError(f"{session.path} takes {planes} planes, which fits no bg_mode of {seq_len} frames")
    return bg_mode_named(mode)
