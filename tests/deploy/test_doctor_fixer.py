"""Repairs change one value in its line, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from doctor_deployment import GOOD, SGIE, UNFOLDED, Files, card, changed, findings_of, ids, network, put

from sightline.card import PIXELS
from sightline.deploy.doctor.fixer import Repair, apply, fix
from sightline.deploy.doctor.rules import Edit, Finding
from sightline.errors import OutputError

DS = "reid_sgie_config.txt"


def fixed(folder: Path) -> tuple[list[Repair], list[Finding]]:
    return fix(lambda: findings_of(folder))


FIXABLE = [
    ("CFG002", DS, "# people into", "\ufeff# people into"),
    ("CFG003", DS, "gpu-id=0", "gpu-id: 0"),
    ("CFG004", DS, "offsets=0;0;0", "offsets=0, 0, 0"),
    ("CFG004", DS, "net-scale-factor=1", "net-scale-factor=1 "),
    ("CFG006", DS, "network-type=100", "Network_Type=100"),
    ("DS001", DS, "network-type=100", "network-type=0"),
    ("DS002", DS, "output-tensor-meta=1", "output-tensor-meta=0"),
    ("DS003", DS, "process-mode=2", "process-mode=1"),
    ("DS008", DS, "infer-dims=3;256;128", "infer-dims=3;128;256"),
    ("PIX004", DS, "model-color-format=0", "model-color-format=1"),
    ("PIX009", DS, "maintain-aspect-ratio=0", "maintain-aspect-ratio=1"),
    ("TRK001", "tracker.yml", "reidFeatureSize: 512", "reidFeatureSize: 256"),
    ("TRK003", "tracker.yml", "addFeatureNormalization: 1", "addFeatureNormalization: 0"),
    ("PIX009", "tracker.yml", "keepAspc: 0", "keepAspc: 1"),
    ("TRK002", "tracker.yml", "inferDims: [3, 256, 128]", "inferDims: [3, 128, 256]"),
]


@pytest.mark.parametrize(("rule", "name", "right", "wrong"), FIXABLE, ids=lambda value: str(value)[:20])
def test_a_repair_gives_back_the_file_before_the_mistake(
    rule: str, name: str, right: str, wrong: str, tmp_path: Path
) -> None:
    good = put(tmp_path / "x", GOOD)
    before = (good / name).read_bytes()
    spoiled = before.replace(right.encode(), wrong.encode(), 1)
    assert spoiled != before
    (good / name).write_bytes(spoiled)
    assert rule in ids(findings_of(good))
    repairs, left = fixed(good)
    assert left == [] and (good / name).read_bytes() == before
    assert [repair.path.name for repair in repairs] == [name]


def test_a_comment_behind_a_value_moves_above_it(tmp_path: Path) -> None:
    files = changed(DS, "net-scale-factor=1\n", "net-scale-factor=1 # raw\n")
    folder = put(tmp_path / "x", changed(DS, "batch-size=16", "batch-size=16 # of the engine", files))
    _, left = fixed(folder)
    text = (folder / DS).read_text()
    assert left == [] and "\n# raw\nnet-scale-factor=1\n" in text and "\n# of the engine\nbatch-size=16\n" in text


def test_of_two_settings_the_one_that_never_counted_becomes_a_comment(tmp_path: Path) -> None:
    folder = put(tmp_path / "x", changed(DS, "gpu-id=0", "gpu-id=1\ngpu-id=0"))
    _, left = fixed(folder)
    assert left == [] and "\n# gpu-id=1\ngpu-id=0\n" in (folder / DS).read_text()


def test_settings_that_are_missing_are_added_to_their_group(tmp_path: Path) -> None:
    text = SGIE.replace("network-type=100\n", "").replace("output-tensor-meta=1\n", "").replace("process-mode=2\n", "")
    folder = put(tmp_path / "x", {**GOOD, DS: text + "\n# the end\n[other]\nkey=1\n"})
    _, left = fixed(folder)
    group = (folder / DS).read_text().partition("# the end")[0]
    assert left == []
    assert {"network-type=100", "output-tensor-meta=1", "process-mode=2"} <= set(group.splitlines())


def test_many_mistakes_at_once_line_ends_of_windows_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    folder = put(tmp_path / "x", GOOD)
    good = (folder / DS).read_text().replace("# people", "# p\u00e9ople").replace("\n", "\r\n").encode("latin-1")
    bad = good.replace(b"network-type=100", b"network_type: 100").replace(b"0;0;0", b"0,0,0 # raw")
    (folder / DS).write_bytes(bad)
    _, left = fixed(folder)
    assert left == []
    assert (folder / DS).read_bytes() == good.replace(b"offsets=", b"# raw\r\noffsets=")


def test_scale_and_offsets_are_set_where_the_card_knows_them_exactly(tmp_path: Path) -> None:
    image = UNFOLDED.__class__("input", (256, 128), PIXELS["face"])
    files: Files = {
        **GOOD,
        "osnet.onnx": lambda path: network(path, card=card(image)),
        "tracker.yml": None,
    }
    folder = put(tmp_path / "x", files)
    assert "PIX001" in ids(findings_of(folder))
    _, left = fixed(folder)
    text = (folder / DS).read_text()
    assert left == [] and "offsets=127.5;127.5;127.5\n" in text and "net-scale-factor=0.007843137255\n" in text


def test_what_would_be_a_guess_is_left_to_people(tmp_path: Path) -> None:
    files = changed(DS, "class-ids=2", "class-ids=0", changed(DS, "gie-unique-id=4", "gie-unique-id=1"))
    folder = put(tmp_path / "x", files)
    before = (folder / DS).read_bytes()
    repairs, left = fixed(folder)
    assert repairs == [] and (folder / DS).read_bytes() == before
    assert ids(left) == {"DS007", "DS013"}


def test_a_repair_shows_what_it_did(tmp_path: Path) -> None:
    folder = put(tmp_path / "x", changed(DS, "network-type=100", "network-type=0"))
    [repair] = fixed(folder)[0]
    lines = repair.diff().splitlines()
    assert "-network-type=0" in lines and "+network-type=100" in lines
    assert sum(line.startswith(("-", "+")) for line in lines) == 4  # two of them name the file


def test_repairing_twice_is_repairing_once(tmp_path: Path) -> None:
    folder = put(tmp_path / "x", changed(DS, "network-type=100", "network-type=0"))
    assert fixed(folder)[0] and not fixed(folder)[0]


def test_a_link_stays_a_link_and_rights_stay_as_they_are(tmp_path: Path) -> None:
    folder = put(tmp_path / "x", changed(DS, "network-type=100", "network-type=0"))
    (folder / DS).chmod(0o600)
    (tmp_path / "link.txt").symlink_to(folder / DS)
    fix(lambda: findings_of(tmp_path / "link.txt"))
    assert (tmp_path / "link.txt").is_symlink() and "network-type=100" in (folder / DS).read_text()
    assert (folder / DS).stat().st_mode & 0o777 == 0o600


def test_a_file_that_may_not_be_written_is_one_line_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = put(tmp_path / "x", changed(DS, "network-type=100", "network-type=0"))
    before = (folder / DS).read_bytes()

    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "no")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OutputError, match="no permission"):
        fixed(folder)
    assert (folder / DS).read_bytes() == before and not list(folder.glob(".*"))


def test_edits_keep_the_ends_of_their_lines() -> None:
    assert apply("a\r\nb\nc", [Edit(1, ("x", "y")), Edit(3, ("z",)), Edit(9, ("no",))]) == "x\r\ny\r\nb\nz"
