"""Fixed-batch ONNX files, and the atc commands that compile them."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import onnx
import pytest
from ascend_programs import ATC, DOES_NOTHING, SILENT_FAILURE, install
from onnx import TensorProto, helper

from painted_people import mean_colour_model
from sightline.card import CARD_KEY, ModelCard
from sightline.deploy.ascend.atc import NO_ATC, atc_missing, chips_per_card, conversion, soc_name
from sightline.deploy.ascend.batches import batch_file, fix_batch
from sightline.deploy.ascend.command import Command
from sightline.errors import BackendError, ConfigError, ExportError, ModelFormatError
from sightline.onnx_file import read_onnx
from sightline.runtime.open import open_session

GUIDE_BS1 = (
    "atc --framework=5 --model=./osnet_x1_0_bs1_sim.onnx --input_format=NCHW "
    '--input_shape="image:1,3,256,128" --output=osnet_x1_0_bs1 --log=debug --soc_version=Ascend310'
)
GUIDE_BS16 = (
    "atc --framework=5 --model=./osnet_x1_0_bs16_sim.onnx --input_format=NCHW "
    '--input_shape="image:16,3,256,128" --output=osnet_x1_0_bs16 --log=debug --soc_version=Ascend310'
)


def network(path: Path, batch: int | str, *, mixed: bool = False) -> Path:
    """Means over `image` as `feature`; `mixed`, plus those of the batch's first image."""
    taken = helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, 256, 128])
    given = helper.make_tensor_value_info("feature", TensorProto.FLOAT, [batch, 3])
    means = helper.make_node("ReduceMean", ["image"], ["feature"], axes=[2, 3], keepdims=0)
    nodes, weights = [means], []
    if mixed:
        means.output[0] = "means"
        weights = [helper.make_tensor("first", TensorProto.INT64, [1], [0])]
        nodes += [
            helper.make_node("Gather", ["means", "first"], ["row"], axis=0),
            helper.make_node("Add", ["means", "row"], ["feature"]),
        ]
    graph = helper.make_graph(nodes, "g", [taken], [given], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8), str(path))
    return path


class TestFixedBatches:
    def test_the_files_are_called_as_in_the_guide(self) -> None:
        assert batch_file(Path("a/osnet_x1_0.onnx"), 16) == Path("a/osnet_x1_0_bs16_sim.onnx")

    @pytest.mark.parametrize("batch", [1, 4, 16])
    def test_a_file_insists_on_its_batch_and_answers_as_its_source(self, tmp_path: Path, batch: int) -> None:
        source, target = mean_colour_model(tmp_path / "m.onnx"), tmp_path / "fixed.onnx"
        assert fix_batch(source, target, batch=batch) <= 1e-6
        file = read_onnx(target)
        assert file.inputs[0].shape == (batch, 3, 16, 8) and file.outputs[0].shape == (batch, 3)
        image = np.random.default_rng(0).normal(size=(batch, 3, 16, 8)).astype(np.float32)
        with open_session(target, "onnxruntime", "cpu") as session:
            got = session.run({"images": image})["features"]
        np.testing.assert_allclose(got, image.mean(axis=(2, 3)), atol=1e-6)

    def test_the_card_tells_the_batch_and_is_otherwise_that_of_the_source(self, tmp_path: Path) -> None:
        source, target = mean_colour_model(tmp_path / "m.onnx"), tmp_path / "fixed.onnx"
        fix_batch(source, target, batch=8)
        before, after = (ModelCard.from_json(read_onnx(path).metadata[CARD_KEY]) for path in (source, target))
        assert before.image is not None and after.image is not None
        assert (before.image.batch, after.image.batch) == (None, 8)
        assert (after.fingerprint, after.output, after.image.pixels) == (
            before.fingerprint,
            before.output,
            before.image.pixels,
        )

    def test_the_same_source_gives_the_same_bytes(self, tmp_path: Path) -> None:
        source = mean_colour_model(tmp_path / "m.onnx")
        for name in ("a.onnx", "b.onnx"):
            fix_batch(source, tmp_path / name, batch=4)
        assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()

    def test_images_of_a_batch_that_look_at_each_other_are_refused(self, tmp_path: Path) -> None:
        """A graph that adds the first image's vector to all: right for one image, wrong for the rest."""
        source, target = network(tmp_path / "m.onnx", "n", mixed=True), tmp_path / "fixed.onnx"
        with pytest.raises(ExportError, match="at batch 4 it differs"):
            fix_batch(source, target, batch=4)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx"]

    def test_a_source_of_another_fixed_batch_is_refused(self, tmp_path: Path) -> None:
        source = network(tmp_path / "m.onnx", 16)
        with pytest.raises(ExportError, match="fixed batch of 16; expected one with an open batch, or of 4"):
            fix_batch(source, tmp_path / "fixed.onnx", batch=4)

    def test_what_is_no_onnx_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "m.onnx").write_bytes(b"PK\x03\x04")
        with pytest.raises(ModelFormatError, match=r"m\.onnx"):
            fix_batch(tmp_path / "m.onnx", tmp_path / "fixed.onnx", batch=4)


class TestCommands:
    @pytest.mark.parametrize(("batch", "guide"), [(1, GUIDE_BS1), (16, GUIDE_BS16)])
    def test_the_command_is_that_of_the_guide(self, tmp_path: Path, batch: int, guide: str) -> None:
        made = conversion(network(tmp_path / f"osnet_x1_0_bs{batch}_sim.onnx", batch))
        assert list(made.command.argv) == shlex.split(guide)
        assert shlex.split(str(made.command)) == shlex.split(guide)
        assert made.target == tmp_path / f"osnet_x1_0_bs{batch}.om"

    def test_name_and_shape_are_the_files_own(self, tmp_path: Path) -> None:
        fix_batch(mean_colour_model(tmp_path / "m.onnx"), tmp_path / "m_bs4_sim.onnx", batch=4)
        assert "--input_shape=images:4,3,16,8" in conversion(tmp_path / "m_bs4_sim.onnx").command.argv

    @pytest.mark.parametrize(
        ("said", "name", "chips"),
        [
            ("310", "Ascend310", 4),
            ("310P3", "Ascend310P3", 1),
            ("910", "Ascend910", 1),
            ("Ascend910B3", "Ascend910B3", 1),
        ],
    )
    def test_the_chip_is_called_as_atc_calls_it_and_only_the_310_comes_in_fours(
        self, said: str, name: str, chips: int
    ) -> None:
        assert (soc_name(said), chips_per_card(said)) == (name, chips)

    @pytest.mark.parametrize("said", ["", "310 --help", "ascend", "31", "Ascend"])
    def test_no_chip_is_named_as_none(self, said: str) -> None:
        with pytest.raises(ConfigError, match="no SoC version"):
            soc_name(said)

    def test_an_open_batch_is_refused_with_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(ModelFormatError, match=r"leaves sizes open; fix them with `sightline ascend export`"):
            conversion(network(tmp_path / "m.onnx", "n"))

    def test_a_blank_in_a_name_stays_one_word_of_the_command(self, tmp_path: Path) -> None:
        made = conversion(network(tmp_path / "my net_bs1_sim.onnx", 1))
        assert "--model=./my net_bs1_sim.onnx" in shlex.split(str(made.command))

    def test_where_atc_is_the_om_is_made_beside_the_onnx(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        install(tmp_path / "bin", "atc", ATC)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
        assert atc_missing() == ""
        made = conversion(network(tmp_path / "osnet_x1_0_bs1_sim.onnx", 1))
        made.run()
        assert (tmp_path / "osnet_x1_0_bs1.om").read_bytes() == b"omimage:1,3,256,128"

    def test_where_it_is_not_that_is_said_with_what_to_do(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert atc_missing() == NO_ATC
        with pytest.raises(BackendError, match="atc cannot be started"):
            conversion(network(tmp_path / "m_bs1.onnx", 1)).run()

    def test_an_atc_that_fails_is_quoted_where_it_complains(self, tmp_path: Path) -> None:
        program = install(tmp_path / "bin", "atc", ATC)
        argv = (str(program), "--framework=5", "--input_format=NCHW", "--model=gone.onnx", "--output=x")
        with pytest.raises(BackendError, match="ended with 255: ATC run failed") as caught:
            Command(argv, tmp_path).run()
        assert "\n" not in str(caught.value) and "--model=gone.onnx" in str(caught.value)

    def test_one_that_fails_in_silence_is_an_error_too(self, tmp_path: Path) -> None:
        program = install(tmp_path / "bin", "atc", SILENT_FAILURE)
        with pytest.raises(BackendError, match="ended with 1: it said nothing"):
            Command((str(program),), tmp_path).run()

    def test_one_that_claims_success_and_leaves_nothing_is_found_out(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install(tmp_path / "bin", "atc", DOES_NOTHING)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
        with pytest.raises(BackendError, match=r"left no .*m_bs1\.om"):
            conversion(network(tmp_path / "m_bs1_sim.onnx", 1)).run()
