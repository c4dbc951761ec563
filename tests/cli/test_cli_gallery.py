"""`sightline gallery` as a stranger runs it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from running import error_line, sightline, write_crops

from sightline.cli import main
from sightline.gallery.gallery import Entry, Space, space_of
from sightline.gallery.open_gallery import open_gallery
from sightline.images import read_image
from sightline.reid.embedder import Embedder
from sightline.runtime.open import open_session

SPACE = Space("0123456789abcdef", 4)
SCRIPT = "<script>alert(1)</script> [bold]x[/bold]"


def entry(number: int, identity: str, camera: str = "door") -> Entry:
    vector = np.zeros(4, np.float32)
    vector[number % 4] = 1
    return Entry(f"e{number}", identity, vector, camera, 1_700_000_000 + number, 1_700_000_010 + number, 3, 0.5, b"img")


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = str(tmp_path / "gallery.db")
    with open_gallery(url) as gallery:
        gallery.add([entry(0, "Ann"), entry(1, "Ann", "yard"), entry(2, "p7"), entry(3, SCRIPT)], space=SPACE)
    return url


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """The --json answer of a command that succeeds, and says nothing else."""
    assert main(["gallery", *arguments, "--json"]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    return json.loads(told.out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["gallery", *arguments]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    return error_line(told.err)


def identities(capsys: pytest.CaptureFixture[str], url: str) -> dict[str, int]:
    return {person["identity"]: person["entries"] for person in asked(capsys, "list", url)}


class TestLooking:
    def test_list_adds_up_everybody(self, url: str) -> None:
        done = sightline("gallery", "list", url)
        assert done.returncode == 0 and done.stderr == ""
        header, *rows = done.stdout.splitlines()
        assert header.split("  ")[0] == "identity" and len(rows) == 3
        assert rows[0].split() == ["Ann", "2", "6", "door,", "yard", "2023-11-14", "22:13:20", "2023-11-14", "22:13:31"]
        assert rows[2].startswith(SCRIPT)  # as text: no markup is taken for any

    def test_list_as_json_and_filtered(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert asked(capsys, "list", url)[0] == {
            "identity": "Ann",
            "first_s": 1_700_000_000,
            "last_s": 1_700_000_011,
            "entries": 2,
            "crops": 6,
            "cameras": ["door", "yard"],
        }
        assert [p["identity"] for p in asked(capsys, "list", url, "--camera", "yard")] == ["Ann"]
        assert [p["identity"] for p in asked(capsys, "list", url, "--until", "2023-11-14T22:13:21")] == ["Ann"]
        assert [p["identity"] for p in asked(capsys, "list", url, "--since", "2023-11-14T23:13:33+01:00")] == [SCRIPT]

    def test_a_gallery_where_nobody_fits_says_nobody(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["gallery", "list", url, "--camera", "roof"]) == 0
        assert capsys.readouterr().out == "nobody\n"

    def test_show_lists_the_entries_of_an_identity_or_one_by_its_id(
        self, url: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert [found["id"] for found in asked(capsys, "show", url, "Ann")] == ["e0", "e1"]
        [one] = asked(capsys, "show", url, "e3")
        assert one["identity"] == SCRIPT and one["thumbnail_bytes"] == 3 and "vector" not in one
        assert main(["gallery", "show", url, "e1"]) == 0
        assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["e1", "Ann", "yard"]

    def test_stats_say_what_it_is(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        stats = asked(capsys, "stats", url)
        assert stats["space"] == {"fingerprint": SPACE.fingerprint, "dim": 4, "aggregation": "averaged"}
        assert (stats["entries"], stats["identities"], stats["cameras"]) == (4, 3, ["door", "yard"])
        assert main(["gallery", "stats", url]) == 0
        assert "averaged vectors of 4 numbers by model 0123456789abcdef" in capsys.readouterr().out

    def test_times_beyond_the_calendar_are_shown_as_numbers(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        with open_gallery(url) as gallery:
            gallery.add([replace(entry(9, "late"), last_s=1e300)], space=SPACE)
        assert main(["gallery", "list", url]) == 0
        assert "1e+300 s" in capsys.readouterr().out

    @pytest.mark.parametrize("verb", ["list", "stats", "show", "rename", "delete", "export", "merge"])
    def test_a_gallery_that_is_not_there_is_not_made(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
    ) -> None:
        rest = {"show": ["x"], "rename": ["a", "b"], "delete": ["a"], "export": ["x.jsonl"], "merge": ["a", "--into=b"]}
        missing = tmp_path / "typo.db"
        assert refused(capsys, verb, str(missing), *rest.get(verb, [])).startswith(f"there is no gallery {missing}")
        assert list(tmp_path.iterdir()) == []


class TestSearching:
    @pytest.fixture
    def seen(self, tmp_path: Path, osnet: Path) -> tuple[str, list[Path]]:
        """A gallery of four crops, each its own identity, made with a real model."""
        crops, url = write_crops(tmp_path / "crops", 4), str(tmp_path / "seen.db")
        with open_session(osnet) as session, open_gallery(url) as gallery:
            vectors = Embedder(session).embed([read_image(path) for path in crops]).vectors
            held = [Entry(path.stem, f"p{path.stem}", row) for path, row in zip(crops, vectors, strict=True)]
            gallery.add(held, space=space_of(session.card))
        return url, crops

    def test_a_crop_finds_itself_first(
        self, seen: tuple[str, list[Path]], osnet: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        url, crops = seen
        queries = [str(crops[2]), str(crops[0])]
        answers = asked(capsys, "search", url, "--query", *queries, "-m", str(osnet), "--top-k", "3")
        assert [answer["query"] for answer in answers] == queries
        assert [answer["hits"][0]["identity"] for answer in answers] == ["p0002", "p0000"]
        assert all(answer["hits"][0]["score"] == pytest.approx(1, abs=1e-5) for answer in answers)
        assert [len(answer["hits"]) for answer in answers] == [3, 3]
        assert main(["gallery", "search", url, "--query", queries[0], "-m", str(osnet), "--top-k", "1"]) == 0
        assert capsys.readouterr().out.splitlines()[1].split()[1:4] == ["1.000", "p0002", "0002"]

    def test_a_gallery_of_another_model_is_not_searched(
        self, url: str, osnet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        [crop] = write_crops(tmp_path / "crops", 1)
        told = refused(capsys, "search", url, "--query", str(crop), "-m", str(osnet))
        assert told.startswith("the query is by model") and "embed the query with that model" in told

    def test_a_query_that_is_no_image_is_named(
        self, url: str, osnet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "a.png").write_bytes(b"no image")
        assert "a.png" in refused(capsys, "search", url, "--query", str(tmp_path / "a.png"), "-m", str(osnet))


class TestChanging:
    def test_rename_says_what_it_did(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["gallery", "rename", url, "Ann", "Zoë / <b>"]) == 0
        assert capsys.readouterr().out == "renamed: Ann (2) → Zoë / <b>\n"
        assert identities(capsys, url) == {"Zoë / <b>": 2, "p7": 1, SCRIPT: 1}

    def test_a_merge_is_undone_with_what_it_printed(
        self, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = identities(capsys, url)
        change = asked(capsys, "merge", url, "p7", SCRIPT, "--into", "Ann")
        assert change == {"operation": "merge", "identity": "Ann", "former": {"p7": ["e2"], SCRIPT: ["e3"]}}
        assert identities(capsys, url) == {"Ann": 4}
        (tmp_path / "merge.json").write_text(json.dumps(change))
        asked(capsys, "split", url, "--undo", str(tmp_path / "merge.json"))
        assert identities(capsys, url) == before

    @pytest.mark.parametrize(
        "content", ["", "[]", "{}", '{"operation": "merge", "identity": 1, "former": 5}', "[" * 9999]
    )
    def test_another_file_undoes_nothing(
        self, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
    ) -> None:
        path = tmp_path / "merge.json"
        path.write_text(content)
        assert f"{path} is not the --json answer" in refused(capsys, "split", url, "--undo", str(path))

    def test_split_moves_the_entries_named(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        asked(capsys, "split", url, "Ann", "--ids", "e1", "--into", "Bea")
        assert identities(capsys, url) == {"Ann": 1, "Bea": 1, "p7": 1, SCRIPT: 1}
        assert "split needs a NAME, --ids and --into" in refused(capsys, "split", url, "Ann")

    def test_delete_asks_before_it_takes_more_than_one(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert "would delete 2 entries for good; add --yes" in refused(capsys, "delete", url, "Ann")
        assert identities(capsys, url)["Ann"] == 2
        assert asked(capsys, "delete", url, "p7")["former"] == {"p7": ["e2"]}
        assert asked(capsys, "delete", url, "Ann", "--ids", "e3", "--yes")["former"] == {
            "Ann": ["e0", "e1"],
            SCRIPT: ["e3"],
        }
        assert identities(capsys, url) == {}

    def test_delete_takes_nothing_when_a_name_is_wrong_or_missing(
        self, url: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert "no identity 'nobody'" in refused(capsys, "delete", url, "Ann", "nobody", "--yes")
        assert "no entry 'e9'" in refused(capsys, "delete", url, "--ids", "e0", "e9", "--yes")
        assert "name the identities to delete" in refused(capsys, "delete", url, "--yes")
        assert sum(identities(capsys, url).values()) == 4

    def test_a_name_of_ten_kilobytes_is_refused_in_one_line(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        told = refused(capsys, "rename", url, "Ann", "x" * 10_000)
        assert "10,000 characters" in told and len(told) < 200


class TestMoving:
    def test_a_gallery_goes_out_and_in_again(
        self, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out, second = str(tmp_path / "out.jsonl"), str(tmp_path / "second.db")
        assert asked(capsys, "export", url, out) == {"file": out, "entries": 4}
        assert asked(capsys, "import", second, out) == {"added": 4, "same": 0, "conflicts": []}
        assert identities(capsys, second) == identities(capsys, url)

    def test_conflicts_are_told_and_change_the_exit_code(
        self, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = str(tmp_path / "out.jsonl")
        asked(capsys, "export", url, out)
        asked(capsys, "rename", url, "p7", "Pat")
        assert main(["gallery", "import", url, out]) == 3
        told = capsys.readouterr()
        assert told.out == "0 added, 3 there already\n"
        assert told.err == f"sightline: left out: entry 'e2' is in {url} with other content\n"
        assert "Pat" in identities(capsys, url)

    def test_a_bad_file_makes_no_gallery(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "bad.jsonl").write_text("no json\n")
        told = refused(capsys, "import", str(tmp_path / "new.db"), str(tmp_path / "bad.jsonl"))
        assert "bad.jsonl, line 1: is not JSON" in told
        assert not (tmp_path / "new.db").exists()

    def test_an_export_is_whole_or_not_there(
        self, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        told = refused(capsys, "export", url, str(tmp_path / "nowhere" / "out.jsonl"))
        assert "the folder does not exist; create it first" in told

    def test_reindex_makes_another_gallery_equal(
        self, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        second = str(tmp_path / "index.db")
        assert asked(capsys, "reindex", url, second) == {"added": 4, "replaced": 0, "removed": 0}
        asked(capsys, "delete", url, "p7")
        assert asked(capsys, "reindex", url, second) == {"added": 0, "replaced": 0, "removed": 1}
        assert identities(capsys, second) == identities(capsys, url)

    def test_a_damaged_gallery_says_how_to_salvage_it_and_that_works(
        self, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        import sqlite3

        with sqlite3.connect(url) as connection:
            connection.execute("UPDATE vectors SET vector = x'00' WHERE seq = 3")
        connection.close()
        out, fresh = str(tmp_path / "out.jsonl"), str(tmp_path / "fresh.db")
        told = refused(capsys, "export", url, out)
        assert f"{url} is damaged" in told and "--salvage" in told
        assert main(["gallery", "export", url, out, "--salvage"]) == 0
        assert capsys.readouterr().out == f"{out}: 3 entries\n"
        asked(capsys, "import", fresh, out)
        assert identities(capsys, fresh) == {"Ann": 2, SCRIPT: 1}


@pytest.mark.parametrize(
    "action", ["list", "show", "search", "rename", "merge", "split", "delete", "export", "import", "stats", "reindex"]
)
def test_every_action_has_help(action: str) -> None:
    done = sightline("gallery", action, "--help")
    assert done.returncode == 0 and done.stdout.startswith(f"usage: sightline gallery {action}")
