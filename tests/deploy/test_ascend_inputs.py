"""The .bin files and .info lists of the Ascend chain, against the libraries and formats they have to agree with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from painted_people import mean_colour_model
from sightline.card import PIXELS, ImageInput
from sightline.deploy.ascend import preprocess
from sightline.deploy.ascend.info import Input, list_bins, list_images, read_info, write_info
from sightline.deploy.ascend.preprocess import DOCUMENTED, input_of, input_planes, prepare_folder
from sightline.errors import CardError, ConfigError, ImageError, OutputError
from sightline.runtime.cards import Claims


def picture(path: Path, size_hw: tuple[int, int] = (128, 64), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), np.uint8)
    PillowImage.fromarray(pixels).save(path)
    return path


def as_torchvision(path: Path, size_hw: tuple[int, int], mean: list[float], std: list[float]) -> bytes:
    """Resize, ToTensor, Normalize, spelled out in torch."""
    rgb = PillowImage.open(path).convert("RGB").resize(size_hw[::-1], PillowImage.Resampling.BILINEAR)
    tensor = torch.from_numpy(np.array(rgb)).permute(2, 0, 1).contiguous().to(torch.float32).div(255)
    tensor.sub_(torch.tensor(mean).view(-1, 1, 1)).div_(torch.tensor(std).view(-1, 1, 1))
    return bytes(tensor.contiguous().numpy().astype("<f4").tobytes())


IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


class TestBins:
    @pytest.mark.parametrize("size_hw", [(128, 64), (256, 128), (700, 333), (20, 11)])
    def test_a_bin_is_byte_for_byte_what_torchvision_gives(self, tmp_path: Path, size_hw: tuple[int, int]) -> None:
        source = picture(tmp_path / "in" / "0001_c1s1_001051_00.jpg", size_hw)
        [binary] = prepare_folder(source.parent, tmp_path / "out")
        assert binary == tmp_path / "out" / "0001_c1s1_001051_00.bin"
        assert binary.read_bytes() == as_torchvision(source, (256, 128), *IMAGENET)

    def test_a_bin_of_the_guide_holds_393216_bytes(self, tmp_path: Path) -> None:
        picture(tmp_path / "in" / "a.jpg")
        [binary] = prepare_folder(tmp_path / "in", tmp_path / "out")
        assert binary.stat().st_size == 393_216

    def test_a_card_decides_size_pixels_and_order_of_channels(self, tmp_path: Path) -> None:
        path = picture(tmp_path / "a.png", (40, 30))
        bgr = np.array(PillowImage.open(path))[:, :, ::-1]
        got = input_planes(bgr, spec=ImageInput("data", (16, 8), PIXELS["omz"]))
        expected = np.array(PillowImage.open(path).resize((8, 16), PillowImage.Resampling.BILINEAR))[:, :, ::-1]
        assert np.array_equal(got, expected.transpose(2, 0, 1).astype(np.float32))

    def test_face_pixels_are_as_torchvision_has_them_too(self, tmp_path: Path) -> None:
        path = picture(tmp_path / "a.png", (112, 112))
        bgr = np.array(PillowImage.open(path))[:, :, ::-1]
        got = input_planes(bgr, spec=ImageInput("data", (112, 112), PIXELS["face"])).tobytes()
        assert got == as_torchvision(path, (112, 112), [0.5] * 3, [0.5] * 3)

    def test_a_graph_that_normalises_by_itself_is_fed_levels(self) -> None:
        grey = np.full((16, 8, 3), 77, np.uint8)
        spec = ImageInput("image", (16, 8), PIXELS["torchreid"], folded=True)
        assert np.array_equal(input_planes(grey, spec=spec), np.full((3, 16, 8), 77, np.float32))

    @pytest.mark.parametrize(
        "spec",
        [
            replace(DOCUMENTED, size_hw=None),
            replace(DOCUMENTED, pixels=None),
            replace(DOCUMENTED, layout="NHWC"),
            replace(DOCUMENTED, dtype="float16"),
        ],
        ids=["no size", "no pixels", "channels last", "half"],
    )
    def test_an_input_that_is_not_known_or_not_float_planes_is_refused(self, spec: ImageInput) -> None:
        with pytest.raises(CardError):
            input_planes(np.zeros((16, 8, 3), np.uint8), spec=spec)

    def test_what_a_model_says_of_its_input_is_read_without_running_it(self, tmp_path: Path) -> None:
        assert input_of(mean_colour_model(tmp_path / "m.onnx")).size_hw == (16, 8)
        with pytest.raises(CardError, match="says its size"):
            input_of(tmp_path / "m.onnx", Claims(size_hw=(256, 128)))

    def test_junk_and_distractors_are_prepared_like_everybody(self, tmp_path: Path) -> None:
        for name in ("-1_c1s1_000401_03.jpg", "0000_c1s1_000151_01.jpg", "1501_c6s4_001902_01.jpg"):
            picture(tmp_path / "in" / name)
        (tmp_path / "in" / "Thumbs.db").write_bytes(b"no image")
        written = prepare_folder(tmp_path / "in", tmp_path / "out")
        assert [path.name for path in written] == [
            "-1_c1s1_000401_03.bin",
            "0000_c1s1_000151_01.bin",
            "1501_c6s4_001902_01.bin",
        ]

    def test_a_name_ends_at_its_first_dot(self, tmp_path: Path) -> None:
        picture(tmp_path / "in" / "0001_c1.jpg.jpg")
        assert [path.name for path in prepare_folder(tmp_path / "in", tmp_path / "out")] == ["0001_c1.bin"]

    def test_two_images_of_one_bin_are_named(self, tmp_path: Path) -> None:
        picture(tmp_path / "in" / "a.jpg")
        picture(tmp_path / "in" / "a.2.jpg")
        with pytest.raises(ConfigError, match=r"a\.2\.jpg and a\.jpg would both become a\.bin"):
            prepare_folder(tmp_path / "in", tmp_path / "out")

    def test_bins_of_other_images_are_not_left_among_these(self, tmp_path: Path) -> None:
        picture(tmp_path / "in" / "a.jpg")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "old.bin").touch()
        with pytest.raises(ConfigError, match=r"1 \.bin files of other images, e\.g\. old\.bin"):
            prepare_folder(tmp_path / "in", tmp_path / "out")

    def test_a_broken_image_is_named_and_what_was_written_before_stays(self, tmp_path: Path) -> None:
        picture(tmp_path / "in" / "a.jpg")
        (tmp_path / "in" / "b.jpg").write_bytes(b"\xff\xd8\xff")
        with pytest.raises(ImageError, match=r"b\.jpg"):
            prepare_folder(tmp_path / "in", tmp_path / "out", workers=1)
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.bin"]

    def test_a_bin_that_is_right_already_is_left_as_it_is(self, tmp_path: Path) -> None:
        picture(tmp_path / "in" / "a.jpg")
        picture(tmp_path / "in" / "b.jpg", seed=1)
        first = prepare_folder(tmp_path / "in", tmp_path / "out")
        whole = first[1].read_bytes()
        first[1].write_bytes(bytes(len(whole)))  # the right length, and nothing else
        before = [path.stat().st_mtime_ns for path in first]
        again = prepare_folder(tmp_path / "in", tmp_path / "out")
        after = [path.stat().st_mtime_ns for path in again]
        assert after[0] == before[0] and after[1] != before[1]
        assert again[1].read_bytes() == whole

    def test_progress_adds_up_to_the_images(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(preprocess, "AT_ONCE", 2)
        for name in "abcde":
            picture(tmp_path / "in" / f"{name}.jpg", (8, 4))
        counts: list[int] = []
        prepare_folder(tmp_path / "in", tmp_path / "out", progress=counts.append)
        assert counts == [2, 2, 1]

    @pytest.mark.parametrize("make", [lambda folder: None, lambda folder: folder.mkdir()], ids=["absent", "empty"])
    def test_a_folder_without_images_is_named(self, tmp_path: Path, make: Callable[[Path], None]) -> None:
        make(tmp_path / "in")
        with pytest.raises(ConfigError, match=str(tmp_path / "in")):
            prepare_folder(tmp_path / "in", tmp_path / "out")

    def test_a_target_that_cannot_be_made_is_one_error(self, tmp_path: Path) -> None:
        picture(tmp_path / "in" / "a.jpg")
        (tmp_path / "out").touch()
        with pytest.raises(OutputError, match="cannot write"):
            prepare_folder(tmp_path / "in", tmp_path / "out")


class TestLists:
    def bins(self, folder: Path, count: int = 3, size: int = 393_216) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for index in reversed(range(count)):
            (folder / f"000{index}_c1s1_000151_01.bin").write_bytes(bytes(size))
        return folder

    def test_a_line_is_index_path_width_height(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        self.bins(Path("gallery_prep_dataset"), 2)
        write_info(list_bins(Path("gallery_prep_dataset"), size_wh=(128, 256)), Path("gallery_prep_bin.info"))
        assert Path("gallery_prep_bin.info").read_bytes() == (
            b"0 gallery_prep_dataset/0000_c1s1_000151_01.bin 128 256\n"
            b"1 gallery_prep_dataset/0001_c1s1_000151_01.bin 128 256\n"
        )

    def test_images_are_listed_with_the_sizes_they_have(self, tmp_path: Path) -> None:
        picture(tmp_path / "a.jpg", (40, 30))
        picture(tmp_path / "b.jpg", (20, 50))
        assert [(item.width, item.height) for item in list_images(tmp_path)] == [(30, 40), (50, 20)]

    def test_a_list_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        written = list_bins(self.bins(tmp_path / "bins"), size_wh=(128, 256))
        write_info(written, tmp_path / "a.info")
        assert read_info(tmp_path / "a.info") == written

    def test_paths_of_a_list_are_relative_to_where_the_tool_runs(self, tmp_path: Path) -> None:
        (tmp_path / "a.info").write_text("0 ./bins/x.bin 128 256\n")
        assert read_info(tmp_path / "a.info", home=tmp_path) == [Input(tmp_path / "bins/x.bin", 128, 256)]

    def test_width_and_height_in_the_wrong_order_hold_as_many_bytes_but_a_wrong_size_does_not(
        self, tmp_path: Path
    ) -> None:
        self.bins(tmp_path / "bins")
        assert len(list_bins(tmp_path / "bins", size_wh=(256, 128))) == 3
        with pytest.raises(ConfigError, match=r"3 of 3 inputs are not of 786432 bytes: .*0000_c1.*\(393216 bytes\)"):
            list_bins(tmp_path / "bins", size_wh=(256, 256))

    def test_one_truncated_bin_is_found(self, tmp_path: Path) -> None:
        self.bins(tmp_path / "bins")
        (tmp_path / "bins" / "0001_c1s1_000151_01.bin").write_bytes(bytes(100))
        with pytest.raises(ConfigError, match=r"1 of 3 inputs .*0001_c1s1_000151_01\.bin \(100 bytes\)"):
            list_bins(tmp_path / "bins", size_wh=(128, 256))

    def test_a_blank_in_a_path_is_refused_because_the_tools_cut_there(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="has a blank in its path"):
            write_info([Input(Path("my bins/a.bin"), 128, 256)], tmp_path / "a.info")

    @pytest.mark.parametrize("line", ["0 a.bin 128", "x a.bin 128 256", "0 a.bin 128 -256", "a.bin", "\0"])
    def test_a_line_that_is_none_is_named_with_its_number(self, tmp_path: Path, line: str) -> None:
        (tmp_path / "a.info").write_text(f"0 z.bin 128 256\n{line}\n")
        with pytest.raises(ConfigError, match=r"a\.info:2: .*expected index, path, width and height"):
            read_info(tmp_path / "a.info")

    @pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe0"], ids=["empty", "blank", "not text"])
    def test_a_list_of_nothing_is_named(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a.info").write_bytes(content)
        with pytest.raises(ConfigError, match=r"a\.info"):
            read_info(tmp_path / "a.info")

    def test_two_inputs_of_one_dump_are_named(self, tmp_path: Path) -> None:
        (tmp_path / "a.info").write_text("0 x/a.bin 128 256\n1 y/a.bin 128 256\n")
        with pytest.raises(ConfigError, match=r"x/a\.bin and y/a\.bin would leave dumps of one name"):
            read_info(tmp_path / "a.info")
