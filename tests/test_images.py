from __future__ import annotations

import os
import random
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as PillowImage

from sightline.card import PIXELS, ImageInput, Pixels
from sightline.errors import CardError, ImageError
from sightline.images import image_files, prepare, read_image, require_image, resize, resize_antialiased

Array = NDArray[np.uint8]


def texture(height: int, width: int, seed: int = 0) -> Array:
    """A surface with detail at every scale, as photographs have: octaves of smooth noise, and a little grain."""
    rng = np.random.default_rng(seed)
    total = rng.normal(0, 0.15, (height, width, 3))
    for octave in range(1, 8):
        cells = (max(2, min(height, 2 ** (octave + 1))), max(2, min(width, 2**octave)))
        coarse = rng.normal(0, 1, (*cells, 3)) * 3 / (octave * 2**octave) ** 0.5
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return ((total - total.min()) / np.ptp(total) * 255).astype(np.uint8)


def saved(path: Path, rgb: Array, **options: object) -> Path:
    PillowImage.fromarray(rgb).save(path, **options)
    return path


def encoded(picture: PillowImage.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root may read everything, so where the tests run as root they step down for a moment."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that anybody may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


class TestReading:
    def test_colours_come_out_as_bgr(self, tmp_path: Path) -> None:
        rgb = np.zeros((4, 5, 3), np.uint8)
        rgb[..., 0], rgb[..., 1], rgb[..., 2] = 10, 20, 30
        image = read_image(saved(tmp_path / "a.png", rgb))
        assert image.shape == (4, 5, 3) and image.dtype == np.uint8
        assert image[2, 2].tolist() == [30, 20, 10]
        assert image.flags["C_CONTIGUOUS"]

    @pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff", ".ppm", ".webp"])
    def test_a_lossless_format_gives_back_every_pixel(self, tmp_path: Path, suffix: str) -> None:
        rgb = texture(33, 17)
        options = {"lossless": True} if suffix == ".webp" else {}
        assert np.array_equal(read_image(saved(tmp_path / f"a{suffix}", rgb, **options)), rgb[:, :, ::-1])

    def test_a_jpeg_is_decoded_as_opencv_decodes_it(self, tmp_path: Path) -> None:
        path = saved(tmp_path / "a.jpg", texture(64, 48), quality=90)
        assert np.abs(read_image(path).astype(int) - cv2.imread(str(path))).max() <= 2

    @pytest.mark.parametrize("name", ["UPPER.JPG", "a name with spaces.jpg", "люди 人 🚶.jpg", "a.b.jpg", "no suffix"])
    def test_the_name_of_a_file_does_not_matter(self, tmp_path: Path, name: str) -> None:
        path = saved(tmp_path / name, texture(32, 16), format="JPEG")
        assert read_image(path).shape == (32, 16, 3)

    def test_grey_becomes_three_equal_channels(self, tmp_path: Path) -> None:
        grey = texture(20, 10)[:, :, 0]
        image = read_image(saved(tmp_path / "a.png", grey))
        assert all(np.array_equal(image[:, :, channel], grey) for channel in range(3))

    def test_one_bit_becomes_black_and_white(self, tmp_path: Path) -> None:
        bits = texture(20, 10)[:, :, 0] > 128
        PillowImage.fromarray(bits).save(tmp_path / "a.png")
        assert np.array_equal(read_image(tmp_path / "a.png")[:, :, 1], np.where(bits, 255, 0))

    @pytest.mark.parametrize("suffix", [".png", ".tif"])
    def test_sixteen_bits_are_scaled_to_eight(self, tmp_path: Path, suffix: str) -> None:
        """65535 / 257 = 255: each of the 256 levels gets 257 of the 65536."""
        values = np.linspace(0, 65535, 60 * 20).astype(np.uint16).reshape(60, 20)
        image = read_image(saved(tmp_path / f"a{suffix}", values))
        assert np.array_equal(image, np.repeat((values // 257)[:, :, None], 3, axis=2))

    def test_sixteen_bits_in_the_other_byte_order_are_the_same(self, tmp_path: Path) -> None:
        values = np.arange(0, 65520, 65, dtype=np.uint16).reshape(36, 28)
        path = tmp_path / "a.pgm"
        path.write_bytes(b"P5 28 36 65535\n" + values.astype(">u2").tobytes())
        assert np.array_equal(read_image(path)[:, :, 0], values // 257)

    def test_samples_that_are_neither_eight_nor_sixteen_bits_are_refused(self, tmp_path: Path) -> None:
        PillowImage.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)).save(tmp_path / "f.tif")
        with pytest.raises(ImageError, match=r"f\.tif .*F samples from 0.0 to 1.0; expected 8 or 16 bits"):
            read_image(tmp_path / "f.tif")

    def test_transparency_is_composited_on_black(self, tmp_path: Path) -> None:
        rgba = np.dstack([texture(30, 20), np.linspace(0, 255, 600).astype(np.uint8).reshape(30, 20)])
        expected = rgba[:, :, 2::-1] * (rgba[:, :, 3:] / 255.0)
        assert np.abs(read_image(saved(tmp_path / "a.png", rgba)) - expected).max() <= 1

    def test_a_transparent_palette_entry_is_black(self, tmp_path: Path) -> None:
        indices = np.arange(64, dtype=np.uint8).reshape(8, 8) % 4
        picture = PillowImage.frombytes("P", (8, 8), indices.tobytes())
        picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 200, 150, 100])
        picture.save(tmp_path / "a.png", transparency=1)
        bgr = np.array([[0, 0, 255], [0, 0, 0], [255, 0, 0], [100, 150, 200]])  # entry 1 was green
        assert np.array_equal(read_image(tmp_path / "a.png"), bgr[indices])

    def test_the_inks_of_a_cmyk_jpeg_become_light(self, tmp_path: Path) -> None:
        """R = (255 - C)(255 - K) / 255, and so for G of M and B of Y."""
        PillowImage.new("CMYK", (16, 16), (200, 30, 90, 60)).save(tmp_path / "a.jpg", quality=100)
        expected = [165 * 195 / 255, 225 * 195 / 255, 55 * 195 / 255]
        assert np.abs(read_image(tmp_path / "a.jpg").mean(axis=(0, 1)) - expected).max() < 3

    @pytest.mark.parametrize(
        ("orientation", "stored"),
        [
            (1, lambda up: up),
            (2, np.fliplr),
            (3, lambda up: np.rot90(up, 2)),
            (4, np.flipud),
            (5, lambda up: up.transpose(1, 0, 2)),
            (6, lambda up: np.rot90(up, 1)),
            (7, lambda up: np.rot90(up, 2).transpose(1, 0, 2)),
            (8, lambda up: np.rot90(up, -1)),
        ],
    )
    def test_what_the_camera_turned_is_turned_back(
        self, tmp_path: Path, orientation: int, stored: Callable[[Array], Array]
    ) -> None:
        upright = np.kron(np.array([[0, 90, 180], [210, 150, 30]]), np.ones((16, 16)))  # 2 × 3 grey squares
        upright = np.repeat(upright[:, :, None], 3, axis=2).astype(np.uint8)
        exif = PillowImage.Exif()
        exif[0x0112] = orientation
        path = saved(tmp_path / "a.jpg", np.ascontiguousarray(stored(upright)), quality=95, exif=exif)
        image = read_image(path)
        assert image.shape == (32, 48, 3)
        assert np.abs(image.astype(int) - upright).max() <= 4

    def test_a_jpeg_with_an_embedded_preview_is_its_first_picture(self, tmp_path: Path) -> None:
        first, preview = (PillowImage.fromarray(texture(32, 16, seed)) for seed in (1, 2))
        first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[preview])
        first.save(tmp_path / "b.jpg", "JPEG")
        assert np.array_equal(read_image(tmp_path / "a.jpg"), read_image(tmp_path / "b.jpg"))


class TestRefusing:
    def refused(self, path: Path) -> str:
        with pytest.raises(ImageError) as caught:
            read_image(path)
        message = str(caught.value)
        assert message.startswith(str(path)) and "\n" not in message
        return message.removeprefix(f"{path} ")

    def test_an_empty_file_is_named_as_empty(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").touch()
        assert self.refused(tmp_path / "a.jpg") == "is empty (0 bytes)"

    def test_a_missing_file_is_named_as_missing(self, tmp_path: Path) -> None:
        assert self.refused(tmp_path / "a.jpg") == "does not exist"

    def test_a_broken_link_is_named_as_missing(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").symlink_to("nowhere.jpg")
        assert self.refused(tmp_path / "a.jpg") == "does not exist"

    def test_a_folder_is_no_image(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").mkdir()
        assert self.refused(tmp_path / "a.jpg") == "is not a file; expected an image"

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "a.jpg")
        assert self.refused(tmp_path / "a.jpg") == "is not a file; expected an image"

    @pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions are another matter on this system")
    def test_a_file_that_may_not_be_read_is_not_called_broken(self, public_folder: Path) -> None:
        path = saved(public_folder / "a.png", texture(8, 8))
        path.chmod(0)
        with without_privileges():
            assert self.refused(path) == "cannot be read: Permission denied"

    def test_text_is_no_image(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_text("not a picture\n" * 50)
        assert self.refused(tmp_path / "a.jpg") == "is not an image this Pillow can read"

    @pytest.mark.parametrize(
        ("name", "kind"), [("a.gif", "GIF"), ("a.webp", "WEBP"), ("a.png", "PNG"), ("a.tif", "TIFF")]
    )
    def test_several_pictures_in_one_file_are_refused(self, tmp_path: Path, name: str, kind: str) -> None:
        first, *others = (PillowImage.fromarray(texture(16, 16, seed)) for seed in range(3))
        first.save(tmp_path / name, kind, save_all=True, append_images=others)
        assert self.refused(tmp_path / name).startswith("holds 3 pictures, an animation or pages; expected one")

    @pytest.mark.parametrize("size_hw", [(1, 1), (3, 64), (64, 3)])
    def test_a_placeholder_is_too_small(self, tmp_path: Path, size_hw: tuple[int, int]) -> None:
        message = self.refused(saved(tmp_path / "a.png", np.zeros((*size_hw, 3), np.uint8)))
        assert message == f"is {size_hw[1]}×{size_hw[0]} pixels; expected at least 4×4"

    def test_a_header_that_promises_gigapixels_is_not_believed(self, tmp_path: Path) -> None:
        header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
        chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
        (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT\x35\xaf\x06\x1e")
        assert self.refused(tmp_path / "a.png").startswith("is too large to be a crop")

    @pytest.mark.filterwarnings("ignore")  # Pillow comments on some cuts
    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            ("JPEG", {"quality": 90}),
            ("JPEG", {"progressive": True}),
            ("PNG", {}),
            ("WEBP", {}),
            ("TIFF", {}),
            ("BMP", {}),
            ("PPM", {}),
        ],
    )
    def test_a_truncated_file_is_never_filled_up(self, tmp_path: Path, kind: str, options: dict[str, object]) -> None:
        """Where a cut is survived, it must have taken nothing of the picture."""
        whole = encoded(PillowImage.fromarray(texture(48, 32)), kind, **options)
        path = tmp_path / "a"
        path.write_bytes(whole)
        expected = read_image(path)
        refusals = 0
        for length in sorted({*range(1, len(whole), 29), *range(len(whole) - 40, len(whole))}):
            path.write_bytes(whole[:length])
            try:
                assert np.array_equal(read_image(path), expected), f"{length} of {len(whole)} bytes"
            except ImageError as exc:
                assert str(exc).startswith(f"{path} ")
                refusals += 1
        assert refusals > len(whole) / 29

    @pytest.mark.filterwarnings("ignore")  # Pillow comments on each kind of damage
    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
    def test_a_damaged_file_is_an_image_error_and_nothing_else(self, tmp_path: Path, kind: str) -> None:
        whole = encoded(PillowImage.fromarray(texture(24, 16)), kind)
        path, chance, refusals = tmp_path / "a", random.Random(5), 0
        for _ in range(150):
            damaged = bytearray(whole)
            for _ in range(chance.choice([1, 3, 20])):
                damaged[chance.randrange(chance.choice([40, 200, len(whole)])) % len(whole)] = chance.randrange(256)
            path.write_bytes(damaged)
            try:
                require_image(read_image(path))
            except ImageError as exc:
                assert str(exc).startswith(f"{path} ")
                refusals += 1
        assert refusals > 10

    @pytest.mark.parametrize(
        ("array", "told"),
        [
            (np.zeros((8, 8), np.uint8), "uint8 (8, 8)"),
            (np.zeros((8, 8, 4), np.uint8), "uint8 (8, 8, 4)"),
            (np.zeros((8, 8, 3), np.float32), "float32 (8, 8, 3)"),
            (np.zeros((3, 8, 8), np.uint8), "uint8 (3, 8, 8)"),
        ],
    )
    def test_an_array_that_is_no_bgr_image_is_described(self, array: Array, told: str) -> None:
        with pytest.raises(ImageError) as caught:
            require_image(array, name="crop 7")
        assert str(caught.value) == f"crop 7 is {told}; expected BGR uint8 (H, W, 3)"


class TestFinding:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for name in ("b.jpg", "a.PNG", "deep/er/c.webp", "notes.txt", ".thumb.jpg", ".cache/d.jpg", "deep/.x/e.jpg"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    def test_a_folder_is_searched_to_the_bottom_without_what_is_hidden(self, folder: Path) -> None:
        assert image_files(str(folder)) == [folder / "a.PNG", folder / "b.jpg", folder / "deep/er/c.webp"]

    def test_a_folder_that_is_itself_hidden_is_searched(self, folder: Path) -> None:
        assert image_files(str(folder / ".cache")) == [folder / ".cache/d.jpg"]

    def test_a_glob_finds_images_only(self, folder: Path) -> None:
        assert image_files(f"{folder}/*") == [folder / "a.PNG", folder / "b.jpg"]
        assert image_files(f"{folder}/**") == [folder / "a.PNG", folder / "b.jpg", folder / "deep/er/c.webp"]

    def test_a_folder_with_the_name_of_an_image_is_not_one(self, folder: Path) -> None:
        (folder / "z.jpg").mkdir()
        assert image_files(f"{folder}/*.jpg") == [folder / "b.jpg"]

    def test_a_folder_with_brackets_in_its_name_is_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "run [1]").mkdir()
        (tmp_path / "run [1]/a.jpg").touch()
        assert image_files(str(tmp_path / "run [1]")) == [tmp_path / "run [1]/a.jpg"]

    def test_one_file_is_taken_at_its_word(self, folder: Path) -> None:
        assert image_files(str(folder / "notes.txt")) == [folder / "notes.txt"]

    def test_the_home_folder_is_understood(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(folder))
        monkeypatch.setenv("USERPROFILE", str(folder))
        assert image_files("~/b.jpg") == [folder / "b.jpg"]

    @pytest.mark.parametrize("source", ["nowhere", "*.jpg", "empty", "~nobody-of-that-name/a.jpg", "n" * 300])
    def test_nothing_there_is_said(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
        (tmp_path / "empty").mkdir()
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ImageError, match="images in ") as caught:
            image_files(source)
        assert source in str(caught.value)

    @pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions are another matter on this system")
    def test_a_folder_that_may_not_be_read_is_not_left_out_in_silence(self, public_folder: Path) -> None:
        (public_folder / "a.jpg").touch()
        (public_folder / "closed").mkdir(mode=0)
        with without_privileges(), pytest.raises(ImageError, match="closed"):
            image_files(str(public_folder))


def pillow_bilinear(image: Array, size_hw: tuple[int, int]) -> Array:
    picture = PillowImage.fromarray(np.ascontiguousarray(image[:, :, ::-1]))
    return np.asarray(picture.resize((size_hw[1], size_hw[0]), PillowImage.Resampling.BILINEAR))[:, :, ::-1]


def distance(image: Array, other: Array) -> float:
    return float(np.abs(image.astype(float) - other).mean())


class TestResizing:
    TARGET = (64, 32)

    def distances(self, factor_y: float, factor_x: float) -> tuple[float, float]:
        """Mean grey levels from Pillow's bilinear: ours, and OpenCV's plain one."""
        image = texture(round(64 * factor_y), round(32 * factor_x))
        expected = pillow_bilinear(image, self.TARGET)
        plain = cv2.resize(image, self.TARGET[::-1], interpolation=cv2.INTER_LINEAR)
        return distance(resize_antialiased(image, self.TARGET), expected), distance(plain, expected)

    @pytest.mark.parametrize("factor", [2, 2.2, 2.5, 2.9, 3, 3.4, 4, 5.3, 8])
    def test_strong_shrinking_is_close_to_pillow_where_plain_bilinear_is_not(self, factor: float) -> None:
        ours, plain = self.distances(factor, factor)
        assert ours < 0.7 and plain > 1.2
        assert plain > 2 * ours

    @pytest.mark.parametrize(
        ("factor_y", "factor_x"), [(3, 1), (1, 3), (8, 0.5), (0.5, 8), (2, 5), (3.3, 1.3), (0.3, 2)]
    )
    def test_each_axis_is_filtered_by_its_own_factor(self, factor_y: float, factor_x: float) -> None:
        ours, plain = self.distances(factor_y, factor_x)
        assert ours < 1.1
        assert plain > 2 * ours

    @pytest.mark.parametrize("factor", [1.05, 1.12, 1.2, 1.3, 1.4, 1.49, 1.5, 1.6, 1.8])
    def test_mild_shrinking_is_never_worse_than_plain_bilinear(self, factor: float) -> None:
        ours, plain = self.distances(factor, factor)
        assert ours < 0.7
        assert ours <= plain

    @pytest.mark.parametrize("factor", [0.3, 0.5, 0.7, 0.8, 0.95])
    def test_growing_is_pillow_to_the_grey_level(self, factor: float) -> None:
        image = texture(round(64 * factor), round(32 * factor))
        gap = np.abs(resize_antialiased(image, self.TARGET).astype(int) - pillow_bilinear(image, self.TARGET))
        assert (gap <= 1).mean() > 0.999

    def test_the_right_size_is_left_alone(self) -> None:
        image = texture(*self.TARGET)
        assert np.array_equal(resize_antialiased(image, self.TARGET), image)

    @settings(max_examples=60, deadline=None)
    @given(st.tuples(*[st.integers(4, 400)] * 2), st.tuples(*[st.integers(4, 96)] * 2), st.integers(0, 255))
    def test_a_flat_surface_stays_flat_at_any_size(
        self, from_hw: tuple[int, int], to_hw: tuple[int, int], level: int
    ) -> None:
        flat = np.full((*from_hw, 3), level, np.uint8)
        assert np.array_equal(resize_antialiased(flat, to_hw), np.full((*to_hw, 3), level, np.uint8))

    @settings(max_examples=60, deadline=None)
    @given(st.tuples(*[st.integers(4, 400)] * 2), st.tuples(*[st.integers(8, 96)] * 2))
    def test_any_size_is_close_to_pillow(self, from_hw: tuple[int, int], to_hw: tuple[int, int]) -> None:
        image = cv2.resize(texture(50, 50, 3), from_hw[::-1], interpolation=cv2.INTER_LINEAR)
        assert distance(resize_antialiased(image, to_hw), pillow_bilinear(image, to_hw)) < 2.5

    def test_a_mirrored_view_is_resized_like_its_copy(self) -> None:
        mirrored = texture(90, 70)[:, ::-1]
        assert np.array_equal(
            resize_antialiased(mirrored, self.TARGET), resize_antialiased(mirrored.copy(), self.TARGET)
        )

    @pytest.mark.parametrize(("how", "flag"), [("linear", cv2.INTER_LINEAR), ("area", cv2.INTER_AREA)])
    def test_a_card_may_name_a_plain_method(self, how: str, flag: int) -> None:
        image = texture(90, 70)
        assert np.array_equal(resize(image, self.TARGET, how=how), cv2.resize(image, (32, 64), interpolation=flag))


def slowly_prepared(image: Array, pixels: Pixels, layout: str) -> NDArray[np.float64]:
    """(x - mean) / std, one number at a time, in double precision."""
    height, width = image.shape[:2]
    out = np.empty((3, height, width))
    for channel in range(3):
        source = channel if pixels.color == "BGR" else 2 - channel
        for y in range(height):
            for x in range(width):
                out[channel, y, x] = (float(image[y, x, source]) - pixels.mean[channel]) / pixels.std[channel]
    return out if layout == "NCHW" else out.transpose(1, 2, 0)


UNEVEN = Pixels("BGR", (10.5, 20.25, 30.0), (2.0, 3.0, 5.0))


class TestPreparing:
    @pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
    @pytest.mark.parametrize("pixels", [*PIXELS.values(), UNEVEN], ids=[*PIXELS, "uneven"])
    def test_every_preset_is_the_slow_loop(self, pixels: Pixels, layout: str) -> None:
        crops = [texture(12, 6, seed) for seed in (1, 2)]
        batch = prepare(crops, ImageInput("x", (12, 6), pixels, layout=layout))
        assert batch.dtype == np.float32
        for row, crop in zip(batch, crops, strict=True):
            np.testing.assert_allclose(row, slowly_prepared(crop, pixels, layout), rtol=1e-6, atol=1e-5)

    def test_a_crop_of_another_size_is_resized_first(self) -> None:
        crop, pixels = texture(50, 31), PIXELS["torchreid"]
        batch = prepare([crop], ImageInput("x", (16, 8), pixels))
        resized = resize_antialiased(crop, (16, 8))
        np.testing.assert_allclose(batch[0], slowly_prepared(resized, pixels, "NCHW"), rtol=1e-6, atol=1e-5)

    @pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
    @pytest.mark.parametrize(("fed", "order"), [("RGB", (2, 1, 0)), ("BGR", (0, 1, 2)), (None, (2, 1, 0))])
    def test_a_folded_graph_is_fed_the_grey_levels_themselves(
        self, dtype: str, fed: str | None, order: tuple[int, int, int]
    ) -> None:
        crop = texture(12, 6)
        spec = ImageInput("x", (12, 6), PIXELS["torchreid"], folded=True, fed_color=fed, dtype=dtype)
        batch = prepare([crop], spec)
        assert batch.dtype == np.dtype(dtype)
        assert np.array_equal(batch[0], crop.transpose(2, 0, 1)[list(order)])

    def test_half_precision_is_within_its_own_rounding(self) -> None:
        crop, pixels = texture(12, 6), PIXELS["torchreid"]
        batch = prepare([crop], ImageInput("x", (12, 6), pixels, dtype="float16"))
        assert batch.dtype == np.float16
        np.testing.assert_allclose(batch[0].astype(float), slowly_prepared(crop, pixels, "NCHW"), atol=2e-3)

    @pytest.mark.parametrize(("layout", "shape"), [("NCHW", (0, 3, 12, 6)), ("NHWC", (0, 12, 6, 3))])
    def test_no_crops_are_an_empty_batch(self, layout: str, shape: tuple[int, ...]) -> None:
        assert prepare([], ImageInput("x", (12, 6), PIXELS["omz"], layout=layout)).shape == shape

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.tuples(*[st.integers(4, 120)] * 2), min_size=1, max_size=6))
    def test_crops_of_mixed_sizes_make_one_batch_each_as_if_alone(self, sizes: list[tuple[int, int]]) -> None:
        spec = ImageInput("x", (24, 12), PIXELS["torchreid"])
        crops = [texture(*size, seed) for seed, size in enumerate(sizes)]
        batch = prepare(crops, spec)
        assert batch.shape == (len(sizes), 3, 24, 12)
        assert all(np.array_equal(row, prepare([crop], spec)[0]) for row, crop in zip(batch, crops, strict=True))

    def test_unknown_pixels_are_asked_for(self) -> None:
        with pytest.raises(CardError, match=r"input 'x' was trained on; pass --pixels PRESET"):
            prepare([texture(8, 8)], ImageInput("x", (12, 6)))

    def test_an_unknown_size_is_asked_for(self) -> None:
        with pytest.raises(CardError, match=r"input 'x' has no fixed size .* pass --size HEIGHTxWIDTH"):
            prepare([texture(8, 8)], ImageInput("x", None, PIXELS["omz"]))

    def test_a_crop_that_is_no_image_is_refused(self) -> None:
        with pytest.raises(ImageError, match="expected BGR uint8"):
            prepare([np.zeros((8, 8), np.uint8)], ImageInput("x", (12, 6), PIXELS["omz"]))
