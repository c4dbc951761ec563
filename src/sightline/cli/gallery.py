"""`sightline gallery ACTION GALLERY …`: everybody who was seen, to look at, search and put in order."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sightline.cli.gallery_tables import print_entries, print_hits, print_people, print_stats
from sightline.cli.model_arguments import add_model_arguments, positive, session_from
from sightline.errors import GalleryError, GalleryFormatError
from sightline.gallery.gallery import Change, Gallery, Where
from sightline.gallery.open_gallery import KINDS, open_gallery

SOME_LEFT_OUT = 3  # exit code: done, but for entries that are told


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"GALLERY is {KINDS}. Names are given as they are shown; quote those with spaces."
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)

    def action(name: str, told: str) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=told, description=f"{told[0].upper()}{told[1:]}.")
        added.add_argument("gallery", metavar="FROM" if name == "reindex" else "GALLERY", help=KINDS)
        added.add_argument("--json", action="store_true", help="the answer as JSON")
        return added

    _add_filters(action("list", "everybody in it: how often, where and when they were seen"))
    showing = action("show", "every entry of one identity")
    showing.add_argument("name", metavar="NAME", help="an identity, or the id of one entry")
    _configure_search(action("search", "the entries nearest to an image"))
    _configure_changes(action)
    exporting = action("export", "write all of it to one file of JSON lines")
    exporting.add_argument("file", type=Path, metavar="FILE.jsonl", help="the file to write")
    exporting.add_argument("--salvage", action="store_true", help="of a damaged gallery file, what can still be read")
    importing = action("import", "add what an export holds; make the gallery where there is none")
    importing.add_argument("file", type=Path, metavar="FILE.jsonl", help="what `export` wrote")
    action("stats", "what it is, and how much is in it")
    action("reindex", "make a second gallery hold exactly what the first does").add_argument(
        "target", metavar="TO", help="made where there is none; what it holds besides is removed"
    )


def _configure_search(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--query", nargs="+", type=Path, required=True, metavar="IMAGE", help="crops to search for")
    parser.add_argument("-m", "--model", required=True, help="the model the gallery was made with")
    parser.add_argument("--top-k", type=positive, default=5, metavar="K", help="entries for each image (default: 5)")
    _add_filters(parser)
    add_model_arguments(parser)


def _configure_changes(action: Any) -> None:
    renaming = action("rename", "call somebody by a new name")
    renaming.add_argument("name", metavar="NAME", help="an identity")
    renaming.add_argument("new", metavar="NEW", help="a name that nobody has yet")
    merging = action("merge", "make several identities one; keep the --json answer to undo it")
    merging.add_argument("names", nargs="+", metavar="NAME", help="identities")
    merging.add_argument("--into", required=True, metavar="NAME", help="what all are called from now on")
    splitting = action("split", "give some entries of an identity to another, or undo a rename, merge or split")
    splitting.add_argument("name", nargs="?", metavar="NAME", help="an identity")
    splitting.add_argument("--ids", nargs="+", metavar="ID", help="the entries; `show` lists them")
    splitting.add_argument("--into", metavar="NAME", help="whose they are from now on; may be new")
    splitting.add_argument("--undo", type=Path, metavar="FILE", help="the --json answer of the change to take back")
    deleting = action("delete", "remove identities, or single entries, for good")
    deleting.add_argument("names", nargs="*", metavar="NAME", help="identities")
    deleting.add_argument("--ids", nargs="+", default=[], metavar="ID", help="entries")
    deleting.add_argument("--yes", action="store_true", help="really, where it is more than one entry")


def _add_filters(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("only those")
    group.add_argument("--camera", nargs="+", metavar="CAMERA", help="seen by one of these cameras")
    group.add_argument("--not-camera", nargs="+", default=(), metavar="CAMERA", help="seen by other cameras")
    group.add_argument("--since", type=_time_s, metavar="TIME", help="seen then or later: 2026-11-20T14:00 (UTC)")
    group.add_argument("--until", type=_time_s, metavar="TIME", help="seen then or earlier")


def _time_s(text: str) -> float:
    """Seconds since 1970. A time that does not say its zone is UTC, as the tables are."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time, e.g. 2026-11-20 or 2026-11-20T14:00+01:00") from exc
    return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).timestamp()


def _where(args: argparse.Namespace) -> Where:
    return Where(cameras=args.camera, not_cameras=args.not_camera, since_s=args.since, until_s=args.until)


def run(args: argparse.Namespace) -> int:
    return _ACTIONS[args.action](args)


def _list(args: argparse.Namespace) -> int:
    with open_gallery(args.gallery, mode="read") as gallery:
        print_people(gallery.iterate(_where(args)), as_json=args.json)
    return 0


def _show(args: argparse.Namespace) -> int:
    with open_gallery(args.gallery, mode="read") as gallery:
        entries = list(gallery.iterate(Where(identities=[args.name]))) or [gallery.get(args.name)]
        print_entries(entries, as_json=args.json)
    return 0


def _search(args: argparse.Namespace) -> int:
    from sightline.images import read_image
    from sightline.reid.embedder import Embedder

    with open_gallery(args.gallery, mode="read") as gallery, session_from(args) as session:
        crops = [read_image(path) for path in args.query]
        query = Embedder(session).embed(crops, names=[str(path) for path in args.query])
        found = gallery.search(query, top_k=args.top_k, where=_where(args))
    print_hits([str(path) for path in args.query], found, as_json=args.json)
    return 0


def _rename(args: argparse.Namespace) -> int:
    with open_gallery(args.gallery, mode="change") as gallery:
        return _tell(gallery.rename(args.name, args.new), args)


def _merge(args: argparse.Namespace) -> int:
    with open_gallery(args.gallery, mode="change") as gallery:
        return _tell(gallery.merge(args.names, into=args.into), args)


def _split(args: argparse.Namespace) -> int:
    with open_gallery(args.gallery, mode="change") as gallery:
        if args.undo is not None:
            return _tell(gallery.undo(_read_change(args.undo)), args)
        if not (args.name and args.ids and args.into):
            raise GalleryError("split needs a NAME, --ids and --into, or else --undo FILE")
        return _tell(gallery.split(args.name, args.ids, into=args.into), args)


def _read_change(path: Path) -> Change:
    """The answer of an earlier change, as it was printed with --json."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        former = {str(name): tuple(map(str, ids)) for name, ids in fields["former"].items()}
        return Change(fields["operation"], str(fields["identity"]), former)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise GalleryFormatError(f"{path} is not the --json answer of a rename, merge or split: {exc}") from exc


def _delete(args: argparse.Namespace) -> int:
    with open_gallery(args.gallery, mode="change") as gallery:
        ids = _ids_to_delete(gallery, args)
        if len(ids) > 1 and not args.yes:
            raise GalleryError(f"this would delete {len(ids)} entries for good; add --yes if that is meant")
        return _tell(gallery.delete(ids), args)


def _ids_to_delete(gallery: Gallery, args: argparse.Namespace) -> list[str]:
    for name in args.names:
        if not gallery.ids(Where(identities=[name])):
            raise GalleryError(f"no identity {name!a} in {args.gallery}; nothing was deleted")
    ids = [gallery.get(name).id for name in args.ids]
    ids += gallery.ids(Where(identities=args.names))
    if not ids:
        raise GalleryError("name the identities to delete, or entries with --ids")
    return list(dict.fromkeys(ids))


def _tell(change: Change, args: argparse.Namespace) -> int:
    if args.json:
        print(json.dumps(asdict(change)))
    elif not args.quiet:
        done = {"rename": "renamed", "merge": "merged", "split": "split", "undo": "undone", "delete": "deleted"}
        former = ", ".join(f"{name} ({len(ids)})" for name, ids in change.former.items())
        now = f" → {change.identity}" if change.identity else ""
        print(f"{done[change.operation]}: {former or 'nobody'}{now}")
    return 0


def _export(args: argparse.Namespace) -> int:
    from sightline.gallery.interchange import export_gallery, write_export
    from sightline.gallery.sqlite_salvage import salvaged_entries, salvaged_space

    if args.salvage:
        damaged = Path(args.gallery)
        space = salvaged_space(damaged)
        count = write_export(args.file, space, salvaged_entries(damaged, space))
    else:
        with open_gallery(args.gallery, mode="read") as gallery:
            count = export_gallery(gallery, args.file)
    _tell_counts({"file": str(args.file), "entries": count}, args)
    return 0


def _import(args: argparse.Namespace) -> int:
    from sightline.gallery.interchange import checked_export, import_into

    export = checked_export(args.file)  # before a gallery is made for it
    with open_gallery(args.gallery) as gallery:
        done = import_into(gallery, export)
    _tell_counts(asdict(done) if args.json else {"added": done.added, "there already": done.same}, args)
    for name in done.conflicts:
        print(f"sightline: left out: entry {name!a} is in {args.gallery} with other content", file=sys.stderr)
    return SOME_LEFT_OUT if done.conflicts else 0


def _stats(args: argparse.Namespace) -> int:
    with open_gallery(args.gallery, mode="read") as gallery:
        print_stats(gallery.stats(), as_json=args.json)
    return 0


def _reindex(args: argparse.Namespace) -> int:
    from sightline.gallery.interchange import reindex

    with open_gallery(args.gallery, mode="read") as source, open_gallery(args.target) as target:
        _tell_counts(asdict(reindex(source, target)), args)
    return 0


def _tell_counts(counts: dict[str, Any], args: argparse.Namespace) -> None:
    if args.json:
        print(json.dumps(counts))
    elif not args.quiet:
        place = f"{counts['file']}: " if "file" in counts else ""
        print(place + ", ".join(f"{count} {what}" for what, count in counts.items() if what != "file"))


_ACTIONS = {
    "list": _list,
    "show": _show,
    "search": _search,
    "rename": _rename,
    "merge": _merge,
    "split": _split,
    "delete": _delete,
    "export": _export,
    "import": _import,
    "stats": _stats,
    "reindex": _reindex,
}
