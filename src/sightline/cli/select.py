"""`sightline select PAGE_OR_DIR --persons p3,p7`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from sightline.errors import SightlineError
from sightline.files import output_error
from sightline.pipeline.people.visits_folder import camera_folder
from sightline.viewer.selection import FILE_NAME, Choice, persons_named, read_selection, write_selection
from sightline.viewer.tracks import PageTracks, Track, joined, read_page_tracks, write_track

NO_TRACK_KNOWN = 3  # exit code: the choice is written, but there are no frames to write with it


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("page", type=Path, metavar="PAGE_OR_DIR", help="person_selection.html, or the folder it is in")
    parser.add_argument(
        "--persons", action="append", metavar="p3,p7", default=[], help="who to select; an id with a comma goes alone"
    )
    parser.add_argument("--selection", type=Path, metavar="FILE", help="a selection.json exported from the page")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="where to write (default: beside the page)")
    parser.epilog = (
        "Writes selection.json as the page does, selected_person.npz with the track of the first selected card, and "
        "final_tracklet.npz with all selected tracks joined. Merged people are one card. Of two boxes in one frame the "
        "more confident stays. The frames of one camera are none of another's, so a track of several cameras is a file "
        "each: cameras/NAME/selected_person.npz and the like. Exit code 3: no track of the selected is known, only "
        "selection.json is written."
    )


def run(args: argparse.Namespace) -> int:
    if not args.persons and args.selection is None:
        raise SightlineError("nobody to select; name people with --persons p3,p7 or give --selection selection.json")
    people = read_page_tracks(args.page)
    choice = _choice(args, people)
    folder = args.output or (args.page if args.page.is_dir() else args.page.parent)
    _make_folder(folder)
    _forget_tracks(folder)
    write_selection(folder / FILE_NAME, choice, people=people)
    if not args.quiet:
        print(f"{folder / FILE_NAME}: {len(choice.selected)} selected of {len(people.tracks)}")
    return _write_tracks(folder, choice, people, quiet=args.quiet)


def _choice(args: argparse.Namespace, people: PageTracks) -> Choice:
    ids = list(people.tracks)
    choice = Choice(ids) if args.selection is None else read_selection(args.selection, people=people)
    for text in args.persons:
        for person in persons_named(text, ids):
            choice.select(person)
    if not choice.selected:
        raise SightlineError("nobody is selected; name people with --persons, or select them on the page")
    return choice


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise output_error(folder, exc) from exc


TRACK_FILES = ("selected_person.npz", "final_tracklet.npz")
CAMERAS = "cameras"


def _forget_tracks(folder: Path) -> None:
    """Tracks of an earlier choice must not lie beside this one, not even where the run stops half way."""
    for name in TRACK_FILES:
        for path in (folder / name, *(folder / CAMERAS).glob(f"*/{name}")):
            try:
                path.unlink(missing_ok=True)
            except OSError as exc:
                raise output_error(path, exc) from exc


def _write_tracks(folder: Path, choice: Choice, people: PageTracks, *, quiet: bool) -> int:
    per_card = [joined(people.tracks[person] for person in card) for card in choice.selected]
    written: dict[str, Track] = dict(zip(TRACK_FILES, (per_card[0], joined(per_card)), strict=True))
    exit_code = 0
    for name, track in written.items():
        if not len(track):
            exit_code = NO_TRACK_KNOWN
            print(f"sightline: {name} is not written: the page was made without frames of them", file=sys.stderr)
        for path, camera, part in _files(folder, name, track, people.cameras):
            _make_folder(path.parent)
            write_track(path, part, camera=camera)
            if not quiet:
                whose = f" of {camera}" if camera else ""
                print(f"{path}: {len(part)} frames{whose}, {part.frames[0]} to {part.frames[-1]}")
    return exit_code


def _files(folder: Path, name: str, track: Track, cameras: Sequence[str]) -> Iterator[tuple[Path, str, Track]]:
    """Where the track goes, the camera it names, and the rows. A page of one camera need not name it."""
    parts = track.by_camera()
    for place, part in parts.items():
        home = folder if len(parts) == 1 else folder / CAMERAS / camera_folder(cameras[place])
        yield home / name, cameras[place] if len(cameras) > 1 else "", part
