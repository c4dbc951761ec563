from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from painted_people import mean_colour_model
from sightline.card import Threshold
from sightline.errors import CardError, OutputError
from sightline.nets.checkpoint import save_checkpoint
from sightline.nets.osnet import build_osnet
from sightline.onnx_file import read_onnx
from sightline.reid.embedder import Embedder
from sightline.reid.thresholds import Calibration, calibration_of, keep_thresholds, path_beside
from sightline.runtime.cards import Claims
from sightline.runtime.open import open_session

SINGLE = Threshold(0.7, 0.001, "single", 20_000, "labels.csv")
LOOSE = Threshold(0.6, 0.01, "single", 20_000, "labels.csv")
AVERAGED = Threshold(0.8, 0.001, "averaged", 15_000, "labels.csv")
ALL = Calibration((SINGLE, LOOSE, AVERAGED), "the card of m.onnx")


@contextmanager
def embedder_of(path: Path, **claims: object) -> Iterator[Embedder]:
    with open_session(path, claims=Claims(**claims)) as session:
        yield Embedder(session)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return mean_colour_model(tmp_path / "colour.onnx")


class TestChoosing:
    def test_the_strictest_of_the_right_kind_decides(self) -> None:
        assert ALL.limit("single").value == 0.7
        assert ALL.limit("averaged").value == 0.8

    def test_a_rate_chooses_its_own(self) -> None:
        limit = ALL.limit("single", far=0.01)
        assert (limit.value, limit.far, limit.pairs) == (0.6, 0.01, 20_000)

    def test_a_rate_nobody_calibrated_decides_nothing(self) -> None:
        limit = ALL.limit("single", far=0.05)
        assert limit.value is None and "0.001, 0.01" in limit.source

    def test_one_for_averages_decides_nothing_about_single_crops(self) -> None:
        limit = Calibration((AVERAGED,), "the card of m.onnx").limit("single")
        assert limit.value is None and limit.accepts(0.99) is None
        assert "the card of m.onnx is for averages of several crops only" in limit.source

    def test_nothing_decides_about_a_crop_against_an_average(self) -> None:
        assert ALL.limit(None).value is None

    def test_a_score_that_reaches_the_threshold_is_accepted(self) -> None:
        limit = ALL.limit("single")
        assert limit.accepts(0.7) is True and limit.accepts(float(np.nextafter(0.7, 0))) is False

    @pytest.mark.parametrize(("value", "far"), [(0.75, 0.001), (0.65, 0.01), (0.5, None)])
    def test_one_given_by_hand_has_at_most_the_rate_of_the_nearest_below(self, value: float, far: float | None) -> None:
        limit = ALL.limit("single", by_hand=value)
        assert (limit.value, limit.far) == (value, far) and "given by hand" in limit.source

    def test_one_given_by_hand_decides_even_what_nothing_is_calibrated_for(self) -> None:
        limit = ALL.limit(None, by_hand=0.75)
        assert limit.accepts(0.8) is True and limit.far is None

    @pytest.mark.parametrize(("pairs", "reliable"), [(10_000, True), (9_999, False)])
    def test_ten_false_accepts_make_a_rate_reliable(self, pairs: int, reliable: bool) -> None:
        few = Calibration((Threshold(0.7, 0.001, "single", pairs),), "x")
        assert few.limit("single").reliable is reliable


class TestInTheCard:
    def test_what_is_kept_is_found_when_the_model_is_opened_again(self, model: Path) -> None:
        with embedder_of(model) as embedder:
            assert calibration_of(embedder).limit("single").value is None
            assert keep_thresholds(embedder, [SINGLE, AVERAGED]) == model
        with embedder_of(model) as embedder:
            assert set(calibration_of(embedder).thresholds) == {SINGLE, AVERAGED}
            assert calibration_of(embedder).limit("single").source.startswith("calibrated for this model: the card of")
        assert not path_beside(model).exists()

    def test_neither_the_network_nor_its_fingerprint_changes(self, model: Path) -> None:
        picture = np.random.default_rng(0).integers(0, 256, (16, 8, 3), np.uint8)
        before = read_onnx(model).fingerprint
        with embedder_of(model) as embedder:
            expected, card = embedder.embed([picture]), embedder.session.card
            keep_thresholds(embedder, [SINGLE])
        with embedder_of(model) as embedder:
            assert np.array_equal(embedder.embed([picture]).vectors, expected.vectors)
            assert embedder.fingerprint == expected.fingerprint
            assert embedder.session.card.image == card.image and embedder.session.card.output == card.output
        assert read_onnx(model).fingerprint == before

    def test_the_same_kind_and_rate_is_replaced_and_the_others_stay(self, model: Path) -> None:
        newer = Threshold(0.72, 0.001, "single", 30_000, "more.csv")
        for kept in ([SINGLE, LOOSE, AVERAGED], [newer]):
            with embedder_of(model) as embedder:
                keep_thresholds(embedder, kept)
        with embedder_of(model) as embedder:
            assert set(calibration_of(embedder).thresholds) == {newer, LOOSE, AVERAGED}

    def test_a_model_without_a_card_gets_one_with_what_its_user_said(self, bare_osnet: Path, tmp_path: Path) -> None:
        foreign = tmp_path / "foreign.onnx"
        foreign.write_bytes(bare_osnet.read_bytes())
        with embedder_of(foreign, pixels="torchreid") as embedder:
            keep_thresholds(embedder, [SINGLE])
        with embedder_of(foreign) as embedder:
            assert calibration_of(embedder).limit("single").value == 0.7
            assert embedder.session.card.created_by.startswith("sightline ")

    def test_a_read_only_folder_is_told_and_the_model_stays_whole(self, model: Path) -> None:
        if os.geteuid() == 0:
            pytest.skip("root may write everywhere")
        before = model.read_bytes()
        model.parent.chmod(0o500)
        try:
            with embedder_of(model) as embedder, pytest.raises(OutputError, match="no permission"):
                keep_thresholds(embedder, [SINGLE])
        finally:
            model.parent.chmod(0o700)
        assert model.read_bytes() == before


class TestBeside:
    def test_it_leaves_the_model_as_it_is(self, model: Path) -> None:
        before = model.read_bytes()
        with embedder_of(model) as embedder:
            written = keep_thresholds(embedder, [SINGLE], beside=True)
            assert calibration_of(embedder).thresholds == (SINGLE,)
        assert written == model.with_name("colour.onnx.thresholds.json") and model.read_bytes() == before

    def test_a_checkpoint_has_it_there_by_itself(self, tmp_path: Path) -> None:
        checkpoint = tmp_path / "osnet.pth"
        save_checkpoint(checkpoint, build_osnet("osnet_x0_25", seed=0))
        with embedder_of(checkpoint, pixels="torchreid", size_hw=(256, 128)) as embedder:
            assert keep_thresholds(embedder, [SINGLE]) == tmp_path / "osnet.pth.thresholds.json"
        with embedder_of(checkpoint, pixels="torchreid", size_hw=(256, 128)) as embedder:
            assert calibration_of(embedder).limit("single").value == 0.7

    def test_so_has_a_link_to_somebody_elses_file(self, model: Path, tmp_path: Path) -> None:
        link = tmp_path / "link.onnx"
        link.symlink_to(model)
        with embedder_of(link) as embedder:
            keep_thresholds(embedder, [SINGLE])
        assert link.is_symlink() and path_beside(link).exists()

    def test_so_has_a_model_of_the_zoo_whose_checksum_is_on_record(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sightline.reid.thresholds.cache_dir", lambda: tmp_path / "cache")
        (tmp_path / "cache").mkdir()
        pulled = mean_colour_model(tmp_path / "cache/pulled.onnx")
        before = pulled.read_bytes()
        with embedder_of(pulled) as embedder:
            keep_thresholds(embedder, [SINGLE])
        assert pulled.read_bytes() == before

    def test_that_of_another_model_is_not_used(self, model: Path, caplog: pytest.LogCaptureFixture) -> None:
        with embedder_of(model) as embedder:
            text = keep_thresholds(embedder, [SINGLE], beside=True).read_text()
            path_beside(model).write_text(text.replace(embedder.fingerprint, "ab" * 32))
            assert calibration_of(embedder).thresholds == ()
        assert "of another model" in caplog.text

    def test_it_counts_before_the_card_and_moves_into_it(self, model: Path) -> None:
        with embedder_of(model) as embedder:
            keep_thresholds(embedder, [LOOSE], beside=True)
            assert calibration_of(embedder).origin == "colour.onnx.thresholds.json"
            keep_thresholds(embedder, [SINGLE])
        with embedder_of(model) as embedder:
            assert set(calibration_of(embedder).thresholds) == {SINGLE, LOOSE}
            assert calibration_of(embedder).origin == "the card of colour.onnx"

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"task": "reid"}', "\x00" * 50, "[" * 100_000])
    def test_what_is_none_is_told_and_not_passed_over(self, model: Path, content: str) -> None:
        path_beside(model).write_text(content)
        with embedder_of(model) as embedder, pytest.raises(CardError, match="delete it and calibrate again") as caught:
            calibration_of(embedder)
        assert "colour.onnx.thresholds.json" in str(caught.value) and "\n" not in str(caught.value)

    def test_bytes_that_are_no_text_are_told_too(self, model: Path) -> None:
        path_beside(model).write_bytes(b"\xff\xfe\x80")
        with embedder_of(model) as embedder, pytest.raises(CardError, match="delete it and calibrate again"):
            calibration_of(embedder)


def test_a_threshold_for_other_pixels_is_not_used(bare_osnet: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.onnx"
    foreign.write_bytes(bare_osnet.read_bytes())
    with embedder_of(foreign, pixels="torchreid") as embedder:
        keep_thresholds(embedder, [SINGLE], beside=True)
    with embedder_of(foreign, pixels="face") as embedder:
        limit = calibration_of(embedder).limit("single")
        assert limit.value is None and "prepared as" in limit.source


def test_a_model_nobody_can_name_gets_no_threshold(model: Path) -> None:
    with embedder_of(model) as embedder:
        nameless = json.loads(embedder.session.card.to_json()) | {"fingerprint": ""}
        embedder.session.card = type(embedder.session.card).from_json(json.dumps(nameless))
        with pytest.raises(CardError, match="no fingerprint"):
            keep_thresholds(embedder, [SINGLE])
