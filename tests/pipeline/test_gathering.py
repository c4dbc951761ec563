"""What is gathered of tracks, and the visits they end as."""

from __future__ import annotations

import io

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.pipeline.people.gathering import Book, GatherRules
from sightline.pipeline.people.shots import Shot, average, best_of, thinned
from sightline.pipeline.people.visits import Visit
from sightline.types import Detections, Tracks

PRINT = "ab" * 32


def tracks_at(ids: list[int], frame: int) -> Tracks:
    boxes = np.array([[10.0 * who + frame, 5, 10 * who + 8 + frame, 25] for who in ids], np.float32).reshape(-1, 4)
    found = Detections(boxes, np.full(len(ids), 0.9, np.float32), np.zeros(len(ids), np.int64))
    return Tracks(np.array(ids, np.int64), found)


def shot_of(
    vector: list[float], *, frame: int, quality: float = 0.5, clear: bool = True, grey: int = 100, fps: float = 10
) -> Shot:
    picture = np.full((40, 20, 3), grey, np.uint8)
    jpeg = cv2.imencode(".png", picture)[1].tobytes()
    unit = np.array(vector, np.float32) / np.linalg.norm(vector)
    return Shot(frame, frame / fps, unit.astype(np.float32), quality, clear, jpeg)


def book_with(count: int, *, shots: dict[int, list[float]], rules: GatherRules | None = None) -> Book:
    """One track, seen in `count` frames a tenth of a second apart, with shots of these vectors at these frames."""
    book = Book("gate", fingerprint=PRINT, rules=rules)
    for frame in range(count):
        taken = {0: shot_of(shots[frame], frame=frame)} if frame in shots else {}
        book.add(tracks_at([7], frame), taken, frame=frame, time_s=frame / 10)
    return book


def test_a_track_that_ends_is_one_visit_with_every_box_and_the_mean_of_its_vectors() -> None:
    book = book_with(5, shots={0: [1, 0, 0], 2: [1, 1, 0]})
    (visit,) = book.close([7])
    tracklet = visit.tracklet
    assert tracklet.frames.tolist() == [0, 1, 2, 3, 4]
    assert tracklet.boxes_xyxy[:, 0].tolist() == [70, 71, 72, 73, 74]
    assert (visit.camera, visit.number, visit.count) == ("gate", 1, 2)
    assert (visit.first_s, visit.last_s) == (0.0, 0.4)
    half = 1 / np.sqrt(2)
    expected = np.array([1 + half, half, 0]) / np.hypot(1 + half, half)
    assert tracklet.embedding is not None
    np.testing.assert_allclose(tracklet.embedding.vectors[0], expected, atol=1e-6)
    assert tracklet.embedding.fingerprint == PRINT
    assert visit.crop_frames == (0, 2)
    assert [crop.shape for crop in tracklet.crops] == [(40, 20, 3)] * 2


def test_visits_are_numbered_in_the_order_they_end() -> None:
    book = Book("gate", fingerprint=PRINT)
    for frame in range(3):
        book.add(tracks_at([4, 2, 9], frame), {}, frame=frame, time_s=frame / 10)
    first, second = book.close([9]), book.close_all()
    assert [(visit.number, visit.tracklet.track_id) for visit in first + second] == [(1, 9), (2, 2), (3, 4)]
    assert book.ended == 3 and len(book) == 0


def test_a_track_nobody_could_be_recognised_in_is_a_visit_without_a_vector() -> None:
    (visit,) = book_with(3, shots={}).close_all()
    assert visit.tracklet.embedding is None
    assert (visit.count, visit.quality, visit.tracklet.crops) == (0, 0.0, ())


def test_clear_shots_push_the_unclear_ones_out_of_the_average() -> None:
    book = Book("gate", fingerprint=PRINT)
    for frame, clear in enumerate([True, False, False]):
        shot = shot_of([1, 0] if clear else [0, 1], frame=frame, clear=clear, quality=0.9 - frame / 10)
        book.add(tracks_at([7], frame), {0: shot}, frame=frame, time_s=frame / 10)
    (visit,) = book.close_all()
    assert visit.tracklet.embedding is not None
    assert visit.tracklet.embedding.vectors.tolist() == [[1, 0]]
    assert (visit.count, visit.quality, visit.crop_frames) == (1, 0.9, (0,))


def test_a_track_that_changes_person_is_two_visits() -> None:
    one, other = [1.0, 0, 0], [0, 1.0, 0]
    book = book_with(12, shots={frame: one if frame < 6 else other for frame in range(12)})
    first, second = book.close([7])
    assert first.tracklet.frames.tolist() == list(range(6))
    assert second.tracklet.frames.tolist() == list(range(6, 12))
    vectors = [visit.tracklet.embedding.vectors[0] for visit in (first, second) if visit.tracklet.embedding]
    np.testing.assert_allclose(vectors, [one, other], atol=1e-6)
    assert first.crop_frames == tuple(range(6)) and second.crop_frames == tuple(range(6, 12))
    assert (first.number, second.number) == (1, 2)


def test_somebody_new_is_looked_at_often_and_somebody_known_now_and_then() -> None:
    rules = GatherRules(embed_every_s=0.5, first_every_s=0.1, first_shots=3)
    book = Book("gate", fingerprint=PRINT, rules=rules)
    looked_at = []
    for frame in range(30):
        taken = {}
        if book.is_due(7, frame / 20):
            looked_at.append(frame)
            taken = {0: shot_of([1, 0], frame=frame, fps=20)}
        book.add(tracks_at([7], frame), taken, frame=frame, time_s=frame / 20)
    # Every tenth of a second until there are three shots, then every half; there are twenty frames a second.
    assert looked_at == [0, 2, 4, 14, 24]


def test_shots_are_thinned_by_half_and_then_taken_half_as_often() -> None:
    rules = GatherRules(embed_every_s=0.1, first_shots=0, shots_kept=4)
    book = book_with(5, shots={frame: [1, 0] for frame in range(5)}, rules=rules)  # the fifth is one too many
    assert not book.is_due(7, 0.55)  # 0.4 + 0.1 has passed, 0.4 + 0.2 has not
    assert book.is_due(7, 0.6)
    (visit,) = book.close_all()
    assert visit.count == 3  # one of each two, and the odd one


def test_of_two_shots_in_a_row_the_better_stays() -> None:
    shots = [shot_of([1], frame=frame, quality=quality) for frame, quality in enumerate([0.1, 0.3, 0.9, 0.2, 0.5])]
    assert [shot.frame for shot in thinned(shots)] == [1, 2, 4]


def test_the_best_shots_come_in_order_of_time() -> None:
    shots = [shot_of([1], frame=frame, quality=quality) for frame, quality in enumerate([0.8, 0.1, 0.9, 0.2])]
    assert [shot.frame for shot in best_of(shots, 2)] == [0, 2]
    assert [shot.frame for shot in best_of(list(reversed(shots)), 3)] == [0, 2, 3]


def test_vectors_that_cancel_each_other_out_have_no_average() -> None:
    assert average([shot_of([1, 0], frame=0), shot_of([-1, 0], frame=1)]) is None
    assert average([]) is None


def test_somebody_who_stays_for_long_is_visits_that_continue_each_other() -> None:
    book = Book("gate", fingerprint=PRINT, rules=GatherRules(longest_s=1.0))
    visits: list[Visit] = []
    for frame in range(30):
        taken = {0: shot_of([1, 0], frame=frame)} if frame % 5 == 0 else {}
        book.add(tracks_at([7], frame), taken, frame=frame, time_s=frame / 10)
        visits += book.cut_long(frame / 10)
    visits += book.close([7])
    assert [visit.continues for visit in visits] == [None, 1, 2]
    assert [frame for visit in visits for frame in visit.tracklet.frames.tolist()] == list(range(30))


def test_a_visit_cut_as_its_track_ends_is_not_followed_by_an_empty_one() -> None:
    book = Book("gate", fingerprint=PRINT, rules=GatherRules(longest_s=0.35))
    for frame in range(5):
        book.add(tracks_at([7], frame), {}, frame=frame, time_s=frame / 10)
    assert len(book.cut_long(0.4)) == 1
    assert book.cut_long(9.0) == []
    assert book.close([7]) == []


steps = st.lists(
    st.tuples(st.sets(st.integers(1, 5), max_size=4), st.sets(st.integers(1, 5)), st.booleans()), max_size=25
)


def played(book: Book, script: list[tuple[set[int], set[int], bool]], *, first: int = 0) -> list[Visit]:
    visits = []
    for frame, (present, looked_at, ends) in enumerate(script, first):
        ids = sorted(present)
        taken = {
            row: shot_of([1, who, frame % 3], frame=frame, quality=(frame * 7 % 10) / 10, clear=frame % 4 > 0, grey=who)
            for row, who in enumerate(ids)
            if who in looked_at
        }
        book.add(tracks_at(ids, frame), taken, frame=frame, time_s=frame / 10)
        visits += book.close([who for who in range(1, 6) if who not in present]) if ends else []
        visits += book.cut_long(frame / 10)
    return visits


def plain(visits: list[Visit]) -> list[object]:
    return [
        (
            visit.number,
            visit.tracklet.track_id,
            visit.tracklet.frames.tolist(),
            visit.tracklet.times_s.tolist(),
            visit.tracklet.boxes_xyxy.tolist(),
            None if visit.tracklet.embedding is None else visit.tracklet.embedding.vectors.tolist(),
            [crop.tolist() for crop in visit.tracklet.crops],
            visit.crop_frames,
            (visit.count, visit.quality, visit.continues),
        )
        for visit in visits
    ]


@settings(max_examples=60, deadline=None)
@given(script=steps, cut=st.integers(0, 25))
def test_a_book_stored_and_read_again_goes_on_as_if_it_had_not_been(
    script: list[tuple[set[int], set[int], bool]], cut: int
) -> None:
    rules = GatherRules(shots_kept=3, crops_kept=2, longest_s=1.2)
    whole = Book("gate", fingerprint=PRINT, rules=rules)
    expected = plain(played(whole, script) + whole.close_all())

    before, after = Book("gate", fingerprint=PRINT, rules=rules), Book("gate", fingerprint=PRINT, rules=rules)
    visits = played(before, script[:cut])
    stored = io.BytesIO()
    np.savez(stored, **before.state())
    stored.seek(0)
    with np.load(stored, allow_pickle=False) as archive:
        after.restore(dict(archive))
    visits += played(after, script[cut:], first=min(cut, len(script))) + after.close_all()
    assert plain(visits) == expected


@settings(max_examples=60, deadline=None)
@given(script=steps)
def test_every_box_that_went_in_is_in_exactly_one_visit(script: list[tuple[set[int], set[int], bool]]) -> None:
    book = Book("gate", fingerprint=PRINT, rules=GatherRules(shots_kept=3, longest_s=1.2))
    visits = played(book, script) + book.close_all()
    seen = [(visit.tracklet.track_id, frame) for visit in visits for frame in visit.tracklet.frames.tolist()]
    assert sorted(seen) == sorted((who, frame) for frame, (present, _, _) in enumerate(script) for who in present)
