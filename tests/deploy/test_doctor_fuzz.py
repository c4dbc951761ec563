"""Whatever a file contains, the doctor says something about it: no other exception, no waiting, nothing changed."""

from __future__ import annotations

import os
import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from doctor_deployment import BUILD, DOCKER, GOOD, PGIE, SGIE, TRACKER, chroma, chroma_schema, findings_of, network, put

from sightline.deploy.doctor.catalogue import RULES
from sightline.deploy.doctor.document import LARGEST
from sightline.deploy.doctor.rules import MOST_ALIKE
from sightline.errors import ConfigError

ROUNDS = 10_000
PIECES = [
    "[property]",
    "[",
    "]",
    "=",
    ":",
    ";",
    ",",
    "#",
    "\n",
    "\r\n",
    "\t",
    "\0",
    "\ufeff",
    "é",
    "\udc80",
    "-1",
    "0",
    "1e999",
    "99999999999999999999",
    "nan",
    "inf",
    "0x10",
    "network-type=",
    "onnx-file=",
    "../",
    "/",
    "/dev/zero",
    "~",
    "{",
    "}",
    "&a",
    "*a",
    "!!python/object:os.system",
    "- ",
    "? ",
    "|",
    "%YAML:1.0",
    "\\",
    "'",
    '"',
    "\x1b[2J",
    " " * 50,
    "x" * 300,
    "operate-on-class-ids=;;",
    "offsets=;",
    "[class-attrs-99]",
    "<<: *a",
    "ReID:",
    "trtexec --onnx=a",
    "\x85",
    "\u2028",
]

APP_LIKE = 'p.add("nvinfer", "reid", {"a": 1})\np.link("a", "b")\nflow.infer("x").track().infer("y")\n'
NOTEBOOK = '{"cells": [{"cell_type": "code", "source": ["import pyds\\n", "!pip install torchreid"]}]}'
PIPELINE = "deepstream:\n  nodes:\n  - type: nvinfer\n    name: reid\n  edges:\n    a: [b]\n"
DSAPP = "[application]\n[primary-gie]\nenable=1\n[sink0]\nmsg-broker-conn-str=a:1\n"
TEXTS = {
    "a.txt": SGIE,
    "b.txt": PGIE,
    "c.yml": TRACKER,
    "d.yml": "property:\n  network-type: 0\n",
    "labels.txt": "car\nperson\n",
    "e.sh": BUILD,
    "Dockerfile": DOCKER,
    "f.py": APP_LIKE,
    "g.ipynb": NOTEBOOK,
    "h.yaml": PIPELINE,
    "i.txt": DSAPP,
    "requirements.txt": "torchreid\nnumpy>=2\n",
}


def mutated(text: str, dice: random.Random) -> str:
    """A few cuts, copies, insertions and exchanged characters."""
    for _ in range(dice.randint(1, 4)):
        at, to = sorted(dice.randint(0, len(text)) for _ in range(2))
        do = dice.randrange(5)
        if do == 0:
            text = text[:at] + dice.choice(PIECES) + text[at:]
        elif do == 1:
            text = text[:at] + text[min(to, at + 40) :]
        elif do == 2:
            text = text[:to] + text[at : min(to, at + 60)] + text[to:]
        elif do == 3:
            text = text[:at]
        elif text:
            text = text[: at - 1] + chr(dice.randrange(128)) + text[at:]
    return text


def harmless(path: Path) -> None:
    """Findings of rules that exist, each printable; or the one error that a named target may be."""
    before = path.read_bytes()
    try:
        findings = findings_of(path)
    except ConfigError as exc:
        assert "\n" not in str(exc)
        return
    for finding in findings:
        assert RULES[finding.rule.id] is finding.rule
        assert finding.value.isprintable() and finding.expected.isprintable() and finding.place.line >= 0
    assert path.read_bytes() == before


def test_ten_thousand_spoiled_files_are_all_told_about(tmp_path: Path) -> None:
    dice = random.Random(8)
    sources = {name: text.replace("{here}", str(tmp_path)) for name, text in TEXTS.items()}
    model = network(tmp_path / "osnet.onnx").read_bytes()
    for number in range(ROUNDS):
        name = dice.choice([*sources, "m.onnx"])
        path = tmp_path / name
        if name == "m.onnx":
            overwrite(path, spoiled_bytes(model, dice))
        else:
            overwrite(path, mutated(sources[name], dice).encode("utf-8", errors="surrogateescape"))
        try:
            harmless(path)
        except Exception as exc:
            raise AssertionError(f"round {number}: {name}: {path.read_bytes()[:2000]!r}") from exc


def overwrite(path: Path, content: bytes) -> None:
    """Without making the file anew, which takes longer than looking at it."""
    with path.open("r+b" if path.exists() else "wb") as file:
        file.write(content)
        file.truncate()


def spoiled_bytes(content: bytes, dice: random.Random) -> bytes:
    """Cut short, or with a few bytes changed near the beginning, where the graph is described."""
    if dice.random() < 0.5:
        return content[: dice.randrange(len(content))]
    changed = bytearray(content)
    for _ in range(dice.randint(1, 6)):
        changed[dice.randrange(min(600, len(changed)))] = dice.randrange(256)
    return bytes(changed)


def test_every_length_of_a_model_cut_short_is_told_about(tmp_path: Path) -> None:
    model = network(tmp_path / "whole.onnx", dim=4).read_bytes()
    path = tmp_path / "cut.onnx"
    for length in range(len(model)):
        path.write_bytes(model[:length])
        # The weights come early; what is cut behind the graph may leave a model that is whole but for its end.
        assert any(finding.severity == "error" for finding in findings_of(path)), length


@pytest.mark.parametrize("share", range(12))
def test_a_spoiled_folder_is_told_about_as_a_whole(share: int, tmp_path: Path) -> None:
    dice = random.Random(share)
    folder = put(tmp_path / "x", GOOD)
    for round_number in range(8):
        victim = dice.choice(
            [path for path in sorted(folder.iterdir()) if path.suffix in {".txt", ".yml", ".py", ".sh"}]
        )
        text = victim.read_text("utf-8", errors="surrogateescape")
        victim.write_bytes(mutated(text, dice).encode("utf-8", errors="surrogateescape"))
        assert isinstance(findings_of(folder), list), round_number


HUGE = {
    "settings nobody knows": ("x.txt", "[property]\n" + "".join(f"batch-siz{number}=1\n" for number in range(12_000))),
    "one setting again and again": ("x.txt", "[property]\n" + "gpu-id=1\n" * 25_000),
    "groups": ("x.txt", "[property]\n" + "[class-attrs-1]\ntopk=a\n" * 9_000),
    "lines that are none": ("x.txt", "[property]\n" + "a\n" * 120_000),
    "digits": ("x.txt", "[property]\nnet-scale-factor=" + "9" * 250_000 + "x\n"),
    "blanks": ("x.txt", "[property]\nbatch-size=1" + " " * 250_000 + "x\n"),
    "a list": ("x.txt", "[property]\nnetwork-type=100\noffsets=" + "1;" * 120_000 + "\n"),
    "class ids": ("x.txt", "[property]\nnetwork-type=100\noperate-on-class-ids=" + "-1;" * 80_000 + "\n"),
    "empty labels": ("labels.txt", "\n" * 200_000 + "person\n"),
    "yaml": ("x.yml", "property:\n" + "".join(f"  k{number}: [1, 2]\n" for number in range(15_000))),
    "minus signs": ("x.py", "x = " + "-" * 250_000 + "1"),
    "brackets": ("x.py", "x = " + "(" * 100_000 + ")" * 100_000),
    "a chain of calls": ("x.py", "flow" + ".infer(1)" * 25_000),
    "a line that goes on": ("x.sh", "trtexec \\\n" * 20_000),
    "elements": ("x.py", "".join(f"p.add('nvinfer', 'n{number}')\n" for number in range(8_000)) + "p.link('n1', 'n2')"),
}


@pytest.mark.parametrize("name", HUGE)
def test_the_longest_file_that_is_read_is_told_about_in_bounded_time(name: str, tmp_path: Path) -> None:
    file, text = HUGE[name]
    (tmp_path / file).write_text(text[:LARGEST])
    found = findings_of(tmp_path / file)
    assert all(count <= MOST_ALIKE for count in Counter(finding.rule.id for finding in found).values())


@pytest.mark.parametrize("schema", ["", "{", "[]", '{"keys": 3}', '{"keys": {"#embedding": []}}', "[" * 20_000])
def test_a_chroma_folder_that_says_nonsense_is_told_about(schema: str, tmp_path: Path) -> None:
    chroma(schema)(tmp_path / "c")
    assert {finding.rule.id for finding in findings_of(tmp_path / "c")} == {"GAL004", "GAL005"}


def test_a_database_made_to_run_for_ever_is_stopped(tmp_path: Path) -> None:
    chroma(chroma_schema())(tmp_path / "c")
    with sqlite3.connect(tmp_path / "c/chroma.sqlite3") as connection:
        connection.execute("DROP TABLE collections")
        connection.execute(
            "CREATE VIEW collections AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) "
            "SELECT id, 'x' AS name, 1 AS dimension FROM n WHERE id < 0"
        )
    connection.close()
    assert [finding.rule.id for finding in findings_of(tmp_path / "c")] == ["GAL007"]


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda path: path.symlink_to(path), id="a link to itself"),
        pytest.param(lambda path: path.symlink_to("/dev/zero"), id="a device"),
        pytest.param(lambda path: path.mkdir(), id="a folder with a file's name"),
        pytest.param(lambda path: path.touch(), id="an empty file"),
    ],
)
@pytest.mark.parametrize("name", ["x.txt", "x.onnx", "x.yml", "x.db", "Dockerfile", "x.ipynb", "labels.txt"])
def test_what_is_no_file_hides_in_a_folder_without_harm(
    make: Callable[[Path], None], name: str, tmp_path: Path
) -> None:
    make(tmp_path / name)
    assert isinstance(findings_of(tmp_path), list)


def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.txt")
    os.mkfifo(tmp_path / "x.onnx")
    assert {finding.rule.id for finding in findings_of(tmp_path)} == {"CFG009", "ONNX002"}
