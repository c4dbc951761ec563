"""A video in, the ball's trajectory out: one `BallPoint` for every frame, the same for a file and a camera.

A file is the stream run over it, with the network on several windows at once; its answers are those of the stream,
frame for frame. Memory does not grow with the length of the video.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from sightline.ball.background import StreamingMedian, sample_indices
from sightline.ball.ensemble import EvalMode
from sightline.ball.heatmap import FrameId, Row
from sightline.ball.inpaint import InpaintOptions, InpaintStream, RepairedRow
from sightline.ball.models import Repairer, Tracker
from sightline.ball.planes import median_of_source
from sightline.ball.stream import TrackNetStream, track
from sightline.ball.windows import TrackOptions
from sightline.errors import SourceError
from sightline.types import BallPoint, Frame, Image
from sightline.video import ImageFolder, VideoFile

Background = Image  # BGR, the size of the source


@dataclass(frozen=True)
class BallOptions:
    """How the ball is looked for. The defaults are the paper's."""

    eval_mode: EvalMode = "weight"
    batch: int = 1  # windows the network is run on at once; more cost memory, and save time on a GPU only
    median_frames: int = 60  # the background of a file is the median of so many of its frames
    warm_up_frames: int = 30  # and that of a camera the median of its first
    track: TrackOptions = field(default_factory=TrackOptions)
    repair: InpaintOptions = field(default_factory=InpaintOptions)


def follow(
    frames: Iterable[Frame],
    tracker: Tracker,
    *,
    repairer: Repairer | None = None,
    background: Background | None = None,
    options: BallOptions | None = None,
) -> Iterator[BallPoint]:
    """One point a frame, in order, some frames later. `background` where the model wants one and it is known."""
    options = options or BallOptions()
    stream = _stream(tracker, background, options)
    numbered = ((frame.index, frame.image) for frame in frames)
    sightings = track(stream, numbered, batch=options.batch)
    if repairer is None:
        yield from (sighting.point(int(sighting.frame_id)) for sighting in sightings)
        return
    rows = (sighting.row() for sighting in sightings)
    yield from map(_point, _repaired(rows, repairer, stream, options.repair))


def follow_live(
    frames: Iterable[Frame],
    tracker: Tracker,
    *,
    repairer: Repairer | None = None,
    options: BallOptions | None = None,
) -> Iterator[BallPoint]:
    """As `follow`, the network on one window at a time and each answer as soon as it is known.

    Where the model wants a background, frames before it is known get no answer.
    """
    options = options or BallOptions()
    stream = _stream(tracker, None, options, live=True)
    rows = _pushed(stream, frames)
    if repairer is not None:
        rows = _repaired(rows, repairer, stream, options.repair)
    yield from map(_point, rows)


def background_of(recording: VideoFile | ImageFolder, *, samples: int) -> Background:
    """The median of frames evenly spread over a recording, which is read for nothing else.

    Raises `SourceError` where no frame can be read.
    """
    count = recording.info.frame_count
    wanted = set(sample_indices(samples if count is None else count, samples))
    median = StreamingMedian(max(1, len(wanted)))
    for image in recording.picked(wanted):
        median.push(image)
    if not len(median):
        raise SourceError(f"{recording.info.name}: no frame of it can be decoded, so there is no background to take")
    return median.median()


def _stream(
    tracker: Tracker, background: Background | None, options: BallOptions, *, live: bool = False
) -> TrackNetStream:
    median = None
    if background is not None and tracker.bg_mode:
        median = median_of_source(background, tracker.bg_mode, resize=options.track.resize)
    stream = TrackNetStream(
        tracker.forward,
        seq_len=tracker.seq_len,
        bg_mode=tracker.bg_mode,
        eval_mode=options.eval_mode,
        median=median,
        median_warmup=options.warm_up_frames,
    )
    stream.options = replace(options.track, warm_up="drop") if live else options.track
    return stream


def _pushed(stream: TrackNetStream, frames: Iterable[Frame]) -> Iterator[Row]:
    for frame in frames:
        row = stream.push(frame.image, frame.index)
        if row is not None:
            yield row
    yield from stream.flush()


def _repaired(
    rows: Iterable[Row], repairer: Repairer, stream: TrackNetStream, options: InpaintOptions
) -> Iterator[RepairedRow]:
    """The scale is that of the first frame, so the repair begins with the first row."""
    repair: InpaintStream | None = None
    for row in rows:
        if repair is None:
            scale = stream.img_scaler
            assert scale is not None  # a row is of a frame
            repair = InpaintStream(repairer.forward, seq_len=repairer.seq_len, img_scaler=scale, options=options)
        ready = repair.push(row)
        if ready is not None:
            yield ready
    if repair is not None:
        yield from repair.flush()


def _point(row: Row | RepairedRow) -> BallPoint:
    frame: FrameId = row["Frame"]
    filled = bool(row.get("Inpaint", 0))
    return BallPoint(int(frame), bool(row["Visibility"]), float(row["X"]), float(row["Y"]), row["Confidence"], filled)
