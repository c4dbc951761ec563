"""What was found, drawn onto the frames it was found in."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import pairwise

import cv2

from sightline.types import BallPoint, Frame, Image

SEEN_BGR, FILLED_BGR, RIM_BGR = (0, 215, 255), (255, 160, 60), (20, 20, 20)
TRAIL = 12  # points behind the ball
BREAK = 5  # frames without a ball after which a new trail begins
REFERENCE_HEIGHT = 720  # of a picture on which a ball is marked with RADIUS pixels
RADIUS = 7


def with_ball(frames: Iterable[Frame], points: Iterable[BallPoint], *, trail: int = TRAIL) -> Iterator[Image]:
    """Each frame that has a point, with the ball and where it came from; yellow where seen, blue where filled in.

    Frames and points are in the order of their numbers; frames without a point are left out. The points may be made of
    the same frames, parted by `itertools.tee`, which holds back no more of them than the points are behind.
    """
    numbered = iter(frames)
    recent: deque[BallPoint] = deque(maxlen=trail + 1)
    for point in points:
        frame = next((frame for frame in numbered if frame.index >= point.frame), None)
        if frame is None:
            return
        if recent and point.frame - recent[-1].frame > BREAK:
            recent.clear()
        if point.visible:
            recent.append(point)
        canvas = frame.image.copy()
        draw_trail(canvas, recent, now=point.frame)
        yield canvas


def draw_trail(canvas: Image, points: Iterable[BallPoint], *, now: int) -> None:
    """Lines that thin out into the past, and a ring around the ball where it is visible in frame `now`."""
    unit = max(1.0, canvas.shape[0] / REFERENCE_HEIGHT)
    known = list(points)
    for age, (older, newer) in enumerate(reversed(list(pairwise(known)))):
        if newer.frame - older.frame <= BREAK:
            width = max(1, round(unit * 4 * (1 - age / len(known))))
            cv2.line(canvas, _pixel(older), _pixel(newer), _colour(newer), width, cv2.LINE_AA)
    if known and known[-1].frame == now:
        centre, radius = _pixel(known[-1]), round(unit * RADIUS)
        cv2.circle(canvas, centre, radius + 1, RIM_BGR, max(1, round(3 * unit)), cv2.LINE_AA)
        cv2.circle(canvas, centre, radius, _colour(known[-1]), max(1, round(2 * unit)), cv2.LINE_AA)


def _pixel(point: BallPoint) -> tuple[int, int]:
    return round(point.x), round(point.y)


def _colour(point: BallPoint) -> tuple[int, int, int]:
    return FILLED_BGR if point.filled else SEEN_BGR
