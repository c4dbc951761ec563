from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from sightline.reid.labelled import Labelled
from sightline.reid.metrics import Ranking, rank
from sightline.reid.verification import eer, tar_at_far
from sightline.training.plots import draw_cmc, draw_roc, draw_scores, roc_points
from sightline.types import FloatArray


def scores(seed: int, count: int, centre: float) -> FloatArray:
    return np.sort(np.random.default_rng(seed).normal(centre, 0.15, count).astype(np.float32))


GENUINE, IMPOSTOR = scores(0, 300, 0.75), scores(1, 5000, 0.35)


def ranking(seed: int) -> Ranking:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(30, 8))
    ids = np.repeat(np.arange(30), 4)
    vectors = (centres[ids] + rng.normal(size=(120, 8))).astype(np.float32)
    cameras = np.tile(np.arange(4), 30)
    return rank(Labelled(vectors[::4], ids[::4], cameras[::4]), Labelled(vectors, ids, cameras))


class TestRocPoints:
    def test_each_is_the_share_of_both_kinds_that_reaches_one_threshold(self) -> None:
        fars, tars = roc_points(GENUINE, IMPOSTOR, points=50)
        by_count = {(at <= IMPOSTOR).mean(): (at <= GENUINE).mean() for at in IMPOSTOR}
        for far, tar in zip(fars[:-1], tars[:-1], strict=True):
            nearest = min(by_count, key=lambda known: abs(known - far))
            assert nearest == pytest.approx(far, abs=1e-12)
            assert by_count[nearest] == pytest.approx(tar, abs=1e-12)

    def test_they_go_from_one_impostor_to_everybody(self) -> None:
        fars, tars = roc_points(GENUINE, IMPOSTOR)
        assert fars[0] == pytest.approx(1 / 5000)
        assert (fars[-1], tars[-1]) == (1, 1)
        assert (np.diff(fars) > 0).all() and (np.diff(tars) >= 0).all()

    def test_equal_scores_pass_together(self) -> None:
        level = np.full(8, 0.5, np.float32)
        fars, tars = roc_points(np.array([0.4, 0.5, 0.6, 0.7], np.float32), level)
        assert set(fars) == {1.0}  # there is no threshold that lets some of them pass
        assert set(tars[:-1]) == {0.75}


class TestPictures:
    @pytest.fixture(autouse=True)
    def _matplotlib(self) -> None:
        pytest.importorskip("matplotlib")

    def draw(self, folder: Path) -> list[Path]:
        found = eer(GENUINE, IMPOSTOR)
        paths = [folder / f"{name}.png" for name in ("roc", "scores", "cmc")]
        draw_roc(GENUINE, IMPOSTOR, paths[0], eer=found, tars=tar_at_far(GENUINE, IMPOSTOR))
        draw_scores(GENUINE, IMPOSTOR, paths[1], eer=found)
        draw_cmc({"as embedded": ranking(0), "re-ranked": ranking(1)}, paths[2])
        return paths

    def test_they_are_png_files_with_something_drawn(self, tmp_path: Path) -> None:
        for path in self.draw(tmp_path):
            with PillowImage.open(path) as picture:
                assert picture.format == "PNG" and picture.width > picture.height > 500
                colours = np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)
                assert len(colours) > 50

    def test_the_same_figures_are_the_same_bytes(self, tmp_path: Path) -> None:
        (tmp_path / "again").mkdir()
        for one, other in zip(self.draw(tmp_path), self.draw(tmp_path / "again"), strict=True):
            assert one.read_bytes() == other.read_bytes()

    def test_they_leave_the_callers_backend_and_figures_alone(self, tmp_path: Path) -> None:
        import subprocess
        import sys

        program = (
            "import sys, numpy as np\nfrom pathlib import Path\n"
            "from sightline.reid.verification import eer\nfrom sightline.training.plots import draw_scores\n"
            "a, b = np.array([.5, .9], 'f4'), np.array([.1, .6], 'f4')\n"
            f"draw_scores(a, b, Path({str(tmp_path / 'x.png')!r}), eer=eer(a, b))\n"
            "print('matplotlib.pyplot' in sys.modules)"
        )
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
        assert run.stdout == "False\n"

    def test_scores_that_are_all_equal_can_be_drawn(self, tmp_path: Path) -> None:
        level = np.full(20, 0.5, np.float32)
        draw_scores(level, level, tmp_path / "scores.png", eer=eer(level, level))
        draw_roc(level, level, tmp_path / "roc.png", eer=eer(level, level))
        assert {path.name for path in tmp_path.iterdir()} == {"scores.png", "roc.png"}
