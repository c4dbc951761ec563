"""Dumps of every tool, read back and ranked: against slow loops, and the result file of the guide."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from market_folders import slow_rank_1_and_map
from sightline.deploy.ascend.dumps import Dumps, dump_content, dump_name, read_dumps, read_vector
from sightline.deploy.ascend.metrics import (
    Accuracy,
    details,
    details_file,
    measure,
    result_json,
    smallest_cosine,
    write_result,
)
from sightline.errors import ModelOutputError, SightlineError
from sightline.reid.metrics import Ranking
from sightline.types import FloatArray

STEM = "0001_c1s1_001051_00"


def vectors(stems: list[str], *, dim: int = 8, seed: int = 0) -> dict[str, FloatArray]:
    """Around a centre of each person, and shifted by each camera: told apart, but not always."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(0, 1, (12, dim))
    shifts = np.random.default_rng(98).normal(0, 0.6, (7, dim))
    found = {}
    for stem in stems:
        person, camera = int(stem.split("_")[0]), int(stem.split("_c")[1][0])
        found[stem] = (centres[person] + shifts[camera] + rng.normal(0, 0.9, dim)).astype(np.float32)
    return found


QUERY = [f"{person:04}_c{camera}s1_000100_00" for person in range(1, 9) for camera in (1, 2)]
GALLERY = [
    f"{'-1' if person < 0 else f'{person:04}'}_c{camera}s2_000{frame}_01"
    for person in range(-1, 9)
    for camera in (1, 2, 3)
    for frame in (200, 300)
]


def write(folder: Path, rows: dict[str, FloatArray], suffix: str = "_1.txt") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for stem, row in rows.items():
        path = folder / (stem + suffix)
        if suffix.endswith(".npy"):
            np.save(path, row[None])  # with the batch axis, as ais_bench leaves it
        else:
            path.write_bytes(dump_content(row, binary=suffix.endswith(".bin")))
    return folder


SUFFIXES = ["_1.txt", "_1.bin", "_0.txt", "_0.bin", "_0.npy", "_x.bin", "_x.txt", "_output_0.bin", "_output_0.txt"]


class TestReading:
    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_every_name_and_form_of_a_dump_gives_the_same_vectors(self, tmp_path: Path, suffix: str) -> None:
        rows = vectors(GALLERY)
        dumps = read_dumps(write(tmp_path / "d", rows, suffix))
        assert dumps.stems == tuple(sorted(GALLERY))
        assert np.array_equal(dumps.vectors, np.stack([rows[stem] for stem in sorted(GALLERY)]))

    def test_a_text_dump_loses_no_bit(self, tmp_path: Path) -> None:
        bits = np.random.default_rng(0).integers(0, 2**32, 4096, np.uint64).astype(np.uint32)
        row = bits.view(np.float32)
        row = row[np.isfinite(row)]
        (tmp_path / "a_1.txt").write_bytes(dump_content(row, binary=False))
        assert np.array_equal(read_vector(tmp_path / "a_1.txt").view(np.uint32), row.view(np.uint32))

    def test_a_binary_dump_is_raw_little_endian_float32(self) -> None:
        assert dump_content(np.array([1.0, -2.5], np.float32), binary=True) == b"\x00\x00\x80\x3f\x00\x00\x20\xc0"

    def test_dumps_are_called_as_the_benchmark_tool_calls_them(self) -> None:
        assert dump_name(STEM, binary=False) == f"{STEM}_1.txt"
        assert dump_name(STEM, binary=True) == f"{STEM}_1.bin"

    def test_the_decimals_of_the_tool_are_read(self, tmp_path: Path) -> None:
        (tmp_path / "a_1.txt").write_text("0 1.5 -2.25e-05 3 \n4, 5\n")
        assert read_vector(tmp_path / "a_1.txt").tolist() == pytest.approx([0, 1.5, -2.25e-5, 3, 4, 5])

    def test_half_precision_is_known_by_the_number_of_values(self, tmp_path: Path) -> None:
        row = np.array([0.5, 1.25, 2, 3], "<f2")
        (tmp_path / "a_0.bin").write_bytes(row.tobytes())
        assert read_vector(tmp_path / "a_0.bin", dim=4).tolist() == [0.5, 1.25, 2, 3]
        assert len(read_vector(tmp_path / "a_0.bin")) == 2

    def test_summaries_beside_the_dumps_are_passed_over(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "d", vectors(QUERY))
        (folder / "dumpOutput_device0_summary.json").write_text("{}")
        assert len(read_dumps(folder).stems) == len(QUERY)

    def test_the_inputs_are_not_taken_for_dumps(self, tmp_path: Path) -> None:
        for stem in GALLERY:
            (tmp_path / f"{stem}.bin").write_bytes(bytes(32))
        with pytest.raises(ModelOutputError, match="holds no dumps"):
            read_dumps(tmp_path)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "is empty"),
            (b"1.0 two", "is not a dump"),
            (b"\xff\xfe", "is not a dump"),
            (b"1 nan 2", "NaN or infinity"),
            (b"1 1e99 2", "NaN or infinity"),
        ],
    )
    def test_a_text_that_is_no_vector_is_named(self, tmp_path: Path, content: bytes, said: str) -> None:
        (tmp_path / "a_1.txt").write_bytes(content)
        with pytest.raises(ModelOutputError, match=rf"a_1\.txt .*{said}|a_1\.txt {said}"):
            read_vector(tmp_path / "a_1.txt")

    @pytest.mark.parametrize(
        "content",
        [b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"],
    )
    def test_a_damaged_npy_is_named_and_no_pickle_is_opened(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a_0.npy").write_bytes(content)
        with pytest.raises(ModelOutputError, match=r"a_0\.npy"):
            read_vector(tmp_path / "a_0.npy")

    @pytest.mark.filterwarnings("ignore")  # of NumPy and Python, about what the damage looks like to them
    @pytest.mark.parametrize("suffix", ["_0.npy", "_1.txt", "_1.bin"])
    def test_any_damage_is_one_line_or_a_vector(self, tmp_path: Path, suffix: str) -> None:
        write(tmp_path, {"a": np.linspace(-1, 1, 8, dtype=np.float32)}, suffix)
        path, rng, refused = tmp_path / f"a{suffix}", np.random.default_rng(0), 0
        whole = path.read_bytes()
        for _ in range(700):
            damaged = bytearray(whole)
            for place in rng.integers(0, len(whole) - 8, rng.integers(1, 5)).tolist():
                odd = rng.choice(list(b"0123456789(){}',:<>|OefV \n\xff"), 1).tolist()
                damaged[place : place + int(rng.integers(0, 3))] = bytes(odd)
            path.write_bytes(damaged)
            try:
                assert np.isfinite(read_vector(path)).all()
            except ModelOutputError as exc:
                refused += 1
                assert str(exc).startswith(str(path)) and "\n" not in str(exc)
        assert refused > 100

    def test_a_binary_that_is_cut_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "a_1.bin").write_bytes(bytes(33))
        with pytest.raises(ModelOutputError, match=r"a_1\.bin is not a dump of float32 numbers: 33 bytes"):
            read_vector(tmp_path / "a_1.bin")


class TestWholeness:
    def test_missing_dumps_are_counted_and_named(self, tmp_path: Path) -> None:
        rows = vectors(QUERY)
        lost = [rows.pop(QUERY[5]), rows.pop(QUERY[2])]
        assert len(lost) == 2
        with pytest.raises(ModelOutputError, match=rf"2 of 16 dumps are missing: {QUERY[2]}, {QUERY[5]}$"):
            read_dumps(write(tmp_path / "d", rows), expected=QUERY)

    def test_dumps_of_no_input_are_left_out_and_noted(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "d", vectors(QUERY))
        dumps = read_dumps(folder, expected=QUERY[1:])
        assert dumps.stems == tuple(QUERY[1:]) and len(dumps.vectors) == 15
        assert dumps.notes == (f"{folder}: 1 dumps of no listed input left out: {QUERY[0]}",)

    @pytest.mark.parametrize("second", ["_1.bin", "_0.txt", "_2.txt"])
    def test_two_dumps_of_one_input_are_named(self, tmp_path: Path, second: str) -> None:
        folder = write(tmp_path / "d", vectors(QUERY))
        write(folder, {QUERY[3]: vectors(QUERY)[QUERY[3]]}, second)
        with pytest.raises(ModelOutputError, match=rf"1 inputs have more than one dump: {QUERY[3]}.* and {QUERY[3]}"):
            read_dumps(folder)

    def test_a_shorter_vector_among_others_is_named(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "d", vectors(QUERY))
        (folder / f"{QUERY[4]}_1.txt").write_text("1 2 3")
        with pytest.raises(ModelOutputError, match=rf"{QUERY[4]}_1\.txt holds 3 numbers; expected 8"):
            read_dumps(folder)

    def test_a_model_that_answers_everybody_alike_is_found_out(self, tmp_path: Path) -> None:
        with pytest.raises(ModelOutputError, match="all 16 dumps are the same vector"):
            read_dumps(write(tmp_path / "d", dict.fromkeys(QUERY, np.ones(8, np.float32))))

    def test_a_folder_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ModelOutputError, match="expected a folder of dumps"):
            read_dumps(tmp_path / "nowhere")

    @pytest.mark.parametrize("name", ["holiday", "0001_c0s1_000100_00", "-2_c1s1_000100_00"])
    def test_a_dump_that_names_nobody_is_named(self, tmp_path: Path, name: str) -> None:
        rows = {**vectors(QUERY), name: np.zeros(8, np.float32)}
        with pytest.raises(ModelOutputError, match=f"{name} names no person and camera"):
            measure(write(tmp_path / "q", rows), write(tmp_path / "g", vectors(GALLERY)))

    def test_the_eight_cameras_of_dukemtmc_are_known(self, tmp_path: Path) -> None:
        query = write(tmp_path / "q", {"0001_c8_f0046182": np.ones(8, np.float32)})
        near = {"0001_c7_f0047000": np.ones(8, np.float32), "0002_c6_f0047001": np.zeros(8, np.float32)}
        assert measure(query, write(tmp_path / "g", near)).euclidean.rank_k(1) == 1.0


@pytest.fixture
def measured(tmp_path: Path) -> Accuracy:
    query, gallery = write(tmp_path / "q", vectors(QUERY)), write(tmp_path / "g", vectors(GALLERY, seed=1), "_0.bin")
    return measure(query, gallery, query_stems=QUERY, gallery_stems=GALLERY)


class TestFigures:
    def test_rank_1_and_map_are_those_of_one_comparison_after_another(self, measured: Accuracy) -> None:
        query = {stem: row.tolist() for stem, row in vectors(QUERY).items()}
        gallery = {stem: row.tolist() for stem, row in vectors(GALLERY, seed=1).items()}
        for cosine, ranking in ((False, measured.euclidean), (True, measured.cosine)):
            rank_1, mean_ap = slow_rank_1_and_map(query, gallery, cosine=cosine)
            assert 0.1 < rank_1 < 0.95, "the material should be neither hopeless nor trivial"
            assert ranking.rank_k(1) == pytest.approx(rank_1, abs=1e-9)
            assert ranking.map_mean_precision == pytest.approx(mean_ap, abs=1e-9)
        assert measured.euclidean.map_mean_precision != pytest.approx(measured.cosine.map_mean_precision, abs=1e-4)

    def test_the_order_in_which_a_folder_lists_its_files_does_not_matter(
        self, measured: Accuracy, tmp_path: Path
    ) -> None:
        backwards = dict(reversed(vectors(QUERY).items()))
        again = measure(write(tmp_path / "again", backwards), measured.gallery.folder)
        assert again.euclidean.map_mean_precision == measured.euclidean.map_mean_precision

    def test_the_result_file_is_that_of_the_guide_to_the_character(self) -> None:
        """3,176 of 3,368 queries is the share that the guide prints as 0.94299287."""
        cmc = np.full(50, 3176 / 3368)
        ranking = Ranking(cmc, 0.8257416732159705, 0.0, 0.0, 3368, 0)
        accuracy = Accuracy(read_like(QUERY), read_like(GALLERY), ranking, ranking)
        assert result_json(accuracy) == (
            '{"title": "Overall statistical evaluation", "value": [{"key": "R1", "value": "0.94299287"}, '
            '{"key": "mAP", "value": "0.8257416732159705"}]}'
        )

    def test_all_that_was_measured_lies_beside_it_as_numbers(self, measured: Accuracy, tmp_path: Path) -> None:
        write_result(measured, tmp_path / "result_bs1.json")
        assert details_file(tmp_path / "result_bs1.json") == tmp_path / "result_bs1.details.json"
        got = json.loads((tmp_path / "result_bs1.details.json").read_text())
        assert got == json.loads(json.dumps(details(measured)))
        assert (got["gallery"]["junk"], got["gallery"]["distractors"], got["gallery"]["people"]) == (6, 6, 8)
        assert (got["gallery"]["dumps"], got["query"]["dumps"], got["query"]["cameras"]) == (60, 16, 2)
        assert got["euclidean"]["rank_1"] == measured.euclidean.rank_k(1)
        value = json.loads((tmp_path / "result_bs1.json").read_text())["value"]
        assert [item["key"] for item in value] == ["R1", "mAP"]
        assert float(value[1]["value"]) == got["euclidean"]["map_mean_precision"]

    def test_a_gallery_of_any_size_will_do_but_somebody_must_be_in_it(self, tmp_path: Path) -> None:
        query = write(tmp_path / "q", vectors(QUERY[:2]))
        one = write(tmp_path / "g", vectors(["0001_c3s1_000001_01"]))
        assert measure(query, one).euclidean.rank_k(1) == 1.0
        nobody = write(tmp_path / "n", vectors(["0005_c3s1_000001_01"]))
        with pytest.raises(SightlineError, match="no query has a match"):
            measure(query, nobody)

    def test_vectors_of_two_models_are_not_ranked_against_each_other(self, tmp_path: Path) -> None:
        query, gallery = write(tmp_path / "q", vectors(QUERY)), write(tmp_path / "g", vectors(GALLERY, dim=6))
        with pytest.raises(ModelOutputError, match="holds 6 numbers; expected 8"):
            measure(query, gallery)

    def test_the_smallest_cosine_is_that_of_the_worst_input(self, tmp_path: Path) -> None:
        rows = {"a": np.array([1, 0], np.float32), "b": np.array([0, 2], np.float32), "c": np.array([3, 4], np.float32)}
        ours = read_dumps(write(tmp_path / "ours", rows))
        turned = {**rows, "c": np.array([4, 3], np.float32)}
        del turned["a"]
        assert smallest_cosine(ours, read_dumps(write(tmp_path / "theirs", turned))) == pytest.approx(24 / 25)


def read_like(stems: list[str]) -> Dumps:
    """Dumps without a folder: the text of a result does not look at them."""

    return Dumps(Path(), tuple(stems), np.stack(list(vectors(stems).values())))
