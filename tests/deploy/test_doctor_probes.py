"""Models made to misbehave, and what the doctor sees when it runs them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from doctor_deployment import GOOD, SGIE, UNFOLDED, card, ids, network, put
from onnx import NodeProto, helper

from sightline.card import PIXELS
from sightline.deploy.doctor import probe_rules, probing
from sightline.deploy.doctor.examination import examine_targets
from sightline.deploy.doctor.probe_rules import ProbePlan
from sightline.deploy.doctor.probing import Figures, Job, figures_of, measured
from sightline.deploy.doctor.rules import Finding
from sightline.reid.probe import STRANGERS, painted_strangers

DS = "reid_sgie_config.txt"
node = helper.make_node


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is run in this process, which is sooner started."""
    monkeypatch.setattr(probe_rules, "measured", lambda job, budget_s: figures_of(job))


def probed(path: Path, *images: Path) -> list[Finding]:
    findings = examine_targets([path], probe=ProbePlan(images))
    return [finding for finding in findings if finding.rule.id.startswith("PRB")]


def trained(path: Path, extra: Sequence[NodeProto] = (), **options: object) -> Path:
    """Centred channel means on random directions, in the units of a network that is fed as its card says."""
    return network(path, card=card(UNFOLDED), extra=extra, **options)  # type: ignore[arg-type]


def always_the_same(path: Path) -> Path:
    """What random weights do: one direction outshines everything."""
    nodes = [node("Add", ["vectors", "glare"], ["lit"])]
    return trained(path, nodes, constants={"glare": np.full((1, 512), 100, np.float32)}, last="lit")


def logarithms(path: Path) -> Path:
    return trained(path, [node("Log", ["vectors"], ["logs"])], last="logs")


def nothing(path: Path) -> Path:
    return trained(path, [node("Sub", ["vectors", "vectors"], ["none"])], last="none")


def mixed_rows(path: Path) -> Path:
    nodes = [
        node("ReduceMean", ["vectors"], ["others"], axes=[0], keepdims=1),
        node("Add", ["vectors", "others"], ["mixed"]),
        node("Mul", ["others", "three"], ["more"]),
        node("Add", ["mixed", "more"], ["lost"]),
    ]
    return trained(path, nodes, constants={"three": np.array(3, np.float32)}, last="lost")


def batch_held_at(rows: int, path: Path) -> Path:
    nodes = [node("Reshape", ["vectors", "row"], ["flat"])]
    return trained(path, nodes, constants={"row": np.array([rows, 512], np.int64)}, last="flat")


def left_from_right(path: Path) -> Path:
    """The left half minus the right half: a mirror image is the opposite."""
    ramp = np.sign(np.arange(128, dtype=np.float32) - 63.5).reshape(1, 1, 1, 128)
    return trained(path, [node("Mul", ["input", "ramp"], ["tilted"])], constants={"ramp": ramp}, first="tilted")


def unit_length(path: Path) -> Path:
    return trained(path, [node("LpNormalization", ["vectors"], ["unit"], axis=1, p=2)], last="unit")


def unknown_operator(path: Path) -> Path:
    return trained(path, [node("NoSuchOperator", ["vectors"], ["x"])], last="x")


BAD: dict[str, Callable[[Path], Path]] = {
    "PRB001": unknown_operator,
    "PRB003": always_the_same,
    "PRB004": mixed_rows,
    "PRB005": left_from_right,
    "PRB006": unit_length,
}


@pytest.mark.usefixtures("here")
class TestRules:
    def test_a_model_that_is_in_order_has_nothing_said_about_it(self, tmp_path: Path) -> None:
        assert probed(trained(tmp_path / "m.onnx")) == []

    @pytest.mark.parametrize("rule", BAD)
    def test_a_model_that_misbehaves_is_caught_at_it(self, rule: str, tmp_path: Path) -> None:
        assert ids(probed(BAD[rule](tmp_path / "m.onnx"))) == {rule}

    @pytest.mark.parametrize("make", [logarithms, nothing])
    def test_vectors_that_are_no_vectors_are_counted(self, make: Callable[[Path], Path], tmp_path: Path) -> None:
        [finding] = probed(make(tmp_path / "m.onnx"))
        assert finding.rule.id == "PRB002" and f"{STRANGERS} of {STRANGERS} vectors" in finding.value

    def test_a_model_that_only_runs_people_one_by_one_is_caught(self, tmp_path: Path) -> None:
        assert ids(probed(batch_held_at(1, tmp_path / "m.onnx"))) == {"PRB004"}

    def test_a_model_that_runs_no_batch_of_ours_does_not_run(self, tmp_path: Path) -> None:
        assert ids(probed(batch_held_at(1000, tmp_path / "m.onnx"))) == {"PRB001"}

    def test_the_way_of_feeding_that_tells_people_apart_is_named(self, tmp_path: Path) -> None:
        """Channel means centred on the training mean spread most; fed raw they all point one way."""
        raw = SGIE.replace("{here}", str(tmp_path / "x"))
        folder = put(tmp_path / "x", {DS: raw, "osnet.onnx": network})
        found = {finding.rule.id: finding for finding in probed(folder)}
        assert {"PRB007"} <= set(found) and "fed as the configuration" in found["PRB007"].value
        named = found["PRB007"].expected.partition(" ")[0]
        assert named in {"torchreid", "face"}

    def test_a_model_that_says_how_to_feed_it_is_not_second_guessed(self, tmp_path: Path) -> None:
        folder = put(tmp_path / "x", {**GOOD, "osnet.onnx": lambda path: network(path, card=card())})
        assert "PRB007" not in ids(probed(folder))

    def test_detectors_and_models_of_other_things_are_not_run(self, tmp_path: Path) -> None:
        folder = put(tmp_path / "x", {name: GOOD[name] for name in ("detector.onnx", "pgie_config.txt", "labels.txt")})
        assert probed(folder) == []

    def test_an_open_size_is_filled_in(self, tmp_path: Path) -> None:
        assert (
            probed(network(tmp_path / "m.onnx", size_hw=("h", "w"), card=card(replace(UNFOLDED, size_hw=None)))) == []
        )

    def test_images_are_taken_and_one_that_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        paths = [tmp_path / f"{number}.png" for number in range(3)]
        for path, image in zip(paths, painted_strangers(3), strict=True):
            cv2.imwrite(str(path), image)
        model = always_the_same(tmp_path / "m.onnx")
        assert "between 3 crops" in probed(model, *paths)[0].value
        paths[0].write_bytes(b"no image")
        [finding] = probed(model, *paths)
        assert finding.rule.id == "PRB001" and "0.png" in finding.value

    def test_a_published_network_is_recognised_by_its_preprocessing(self, shared: Path) -> None:
        """A foreign file without a card, told apart from the wrong ways by real crops alone."""
        crops = sorted((shared / "real/crops/market_train_50ids").rglob("*.jpg"))[::20]
        job = Job(
            str(shared / "real/models/osnet_x0_25_market1501_128x64.onnx"),
            (128, 64),
            {name: PIXELS[name] for name in ("torchreid", "face", "unit", "raw-rgb", "raw-bgr")},
            "unit",
            tuple(map(str, crops)),
        )
        alike = figures_of(job).alike
        assert min(alike, key=lambda name: alike[name]) == "torchreid"
        assert alike["torchreid"] < 0.6 < alike["unit"]


class TestFigures:
    def test_they_are_what_a_slow_loop_gives(self, tmp_path: Path) -> None:
        path = trained(tmp_path / "m.onnx")
        figures = figures_of(Job(str(path), (256, 128), {"torchreid": PIXELS["torchreid"]}, "torchreid"))
        pixels, weights = PIXELS["torchreid"], np.random.default_rng(0).normal(size=(3, 512)).astype(np.float32)
        vectors = [
            ((image[:, :, ::-1].astype(np.float64) - pixels.mean) / pixels.std).mean(axis=(0, 1)) @ weights
            for image in painted_strangers(STRANGERS)
        ]
        norms = [math.sqrt(float(vector @ vector)) for vector in vectors]
        pairs = [(i, j) for i in range(STRANGERS) for j in range(i)]
        mean = sum(float(vectors[i] @ vectors[j]) / norms[i] / norms[j] for i, j in pairs) / len(pairs)
        assert figures.alike["torchreid"] == pytest.approx(mean, abs=1e-4)
        assert figures.norms == pytest.approx((min(norms), max(norms)), rel=1e-4)
        assert figures.batch_cosine == pytest.approx(1, abs=1e-5)


class TestProcess:
    def test_the_other_process_gives_the_same_figures(self, tmp_path: Path) -> None:
        job = Job(str(trained(tmp_path / "m.onnx")), (256, 128), {"card": PIXELS["torchreid"]}, "card")
        assert measured(job, budget_s=60) == figures_of(job)

    def test_a_model_that_takes_too_long_is_stopped(self, tmp_path: Path) -> None:
        job = Job(str(trained(tmp_path / "m.onnx")), (256, 128), {"card": PIXELS["torchreid"]}, "card")
        assert measured(job, budget_s=0.01) == Figures(problem="not done within 0.01 s")

    def test_too_long_is_a_rule_of_its_own(self, tmp_path: Path) -> None:
        findings = examine_targets([trained(tmp_path / "m.onnx")], probe=ProbePlan(budget_s=0.01))
        assert "PRB008" in ids(findings) and "PRB001" not in ids(findings)

    @pytest.mark.parametrize(("end", "words"), [
        ("import os; os.kill(os.getpid(), 11)", "ended by signal 11"),
        ("raise SystemExit('no more memory')", "failed: no more memory"),
    ])  # fmt: skip
    def test_a_model_that_takes_the_process_with_it_is_told_about(
        self, end: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(probing, "_MAIN", end)
        job = Job(str(tmp_path / "m.onnx"), (256, 128), {"card": PIXELS["torchreid"]}, "card")
        assert words in measured(job, budget_s=60).problem
