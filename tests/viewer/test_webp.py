from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image as PillowImage

from sightline.errors import ImageError
from sightline.types import Image
from sightline.viewer.webp import MOST_FRAMES, looping_clip, still


def plain(blue: int, green: int, red: int, *, size_hw: tuple[int, int] = (64, 32)) -> Image:
    return np.full((*size_hw, 3), (blue, green, red), np.uint8)


def opened(content: bytes) -> PillowImage.Image:
    return PillowImage.open(BytesIO(content))


def pixels(content: bytes, frame: int = 0) -> Image:
    picture = opened(content)
    picture.seek(frame)
    return np.asarray(picture.convert("RGBA"))


GREYS = [plain(value, value, value) for value in range(0, 250, 25)]


class TestClips:
    def test_it_loops_for_ever_through_the_crops_in_their_order(self) -> None:
        picture = opened(looping_clip(GREYS, clip_ms=120))
        assert picture.info["loop"] == 0
        assert getattr(picture, "n_frames") == len(GREYS)  # noqa: B009 - Pillow's stubs know no frames
        centres = []
        for frame in range(len(GREYS)):
            picture.seek(frame)
            picture.load()
            centres.append(int(np.asarray(picture.convert("RGB"))[128, 128, 0]))
            assert picture.info["duration"] == 120
        assert np.abs(np.array(centres) - np.arange(0, 250, 25)).max() <= 4

    def test_blue_stays_blue(self) -> None:
        red, green, blue, _ = pixels(looping_clip([plain(255, 0, 0)]))[128, 128]
        assert blue > 240 and max(red, green) < 20

    @pytest.mark.parametrize("size_hw", [(64, 32), (32, 64), (50, 50), (8, 8), (500, 20), (1, 1000)])
    def test_the_whole_crop_is_there_undistorted_and_the_rest_is_transparent(self, size_hw: tuple[int, int]) -> None:
        covered = pixels(looping_clip([plain(9, 99, 199, size_hw=size_hw)], size_wh=(120, 80)))[:, :, 3] == 255
        height, width = (int(covered.any(axis=axis).sum()) for axis in (1, 0))
        scale = min(120 / size_hw[1], 80 / size_hw[0])
        assert (height, width) == (max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale)))
        assert covered.sum() == height * width

    def test_the_picture_before_does_not_shine_through_a_narrower_one(self) -> None:
        clip = looping_clip([plain(0, 0, 255, size_hw=(40, 80)), plain(0, 255, 0)], size_wh=(80, 80))
        assert pixels(clip, 1)[40, 2, 3] == 0 and pixels(clip, 0)[40, 2, 3] == 255

    def test_the_same_crops_are_the_same_bytes(self) -> None:
        assert looping_clip(GREYS) == looping_clip([crop.copy() for crop in GREYS]) != looping_clip(GREYS[::-1])

    def test_one_crop_is_a_still(self) -> None:
        assert not getattr(opened(looping_clip(GREYS[:1])), "is_animated")  # noqa: B009

    def test_equal_crops_are_a_clip_all_the_same(self) -> None:
        assert opened(looping_clip([plain(5, 5, 5)] * 10)).size == (256, 256)

    def test_a_long_track_is_sampled_from_its_first_crop_to_its_last(self) -> None:
        many = [plain(value % 256, value // 256 * 60, 0) for value in range(900)]
        clip = opened(looping_clip(many, size_wh=(32, 64)))
        assert getattr(clip, "n_frames") == MOST_FRAMES  # noqa: B009
        assert pixels(looping_clip(many, size_wh=(32, 64)), MOST_FRAMES - 1)[32, 16, 2] == pytest.approx(
            899 % 256, abs=9
        )


class TestStills:
    def test_it_is_the_crop_in_the_middle(self) -> None:
        assert pixels(still(GREYS[:9]))[128, 128, 0] == pytest.approx(100, abs=4)


@pytest.mark.parametrize(
    "crop",
    [np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))],
)
def test_what_is_no_crop_is_refused(crop: Image) -> None:
    with pytest.raises(ImageError, match=r"a crop for the page is .*; expected BGR uint8"):
        looping_clip([crop])
