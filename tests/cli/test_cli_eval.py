from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from running import error_line

from painted_people import mean_colour_model, paint, write_labels
from sightline.cli import main
from sightline.config import save_config
from sightline.training.config import DataSection, TrainingConfig, ValSection

Capture = pytest.CaptureFixture[str]


def evaluated(*arguments: str | Path) -> int:
    return main(["eval", *map(str, arguments)])


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """People, a model, and a run of training that has both."""
    home = tmp_path_factory.mktemp("workplace")
    csv = write_labels(home / "labels.csv", paint(home / "images", people="abcdefgh"))
    weights = home / "runs/train/exp/weights"
    weights.mkdir(parents=True)
    mean_colour_model(weights / "best.onnx")
    mean_colour_model(home / "colour.onnx")
    config = TrainingConfig(data=DataSection(dataset=str(csv)), val=ValSection(val_split=0.5))
    save_config(config, weights.parent / "config.yaml")
    return home


@pytest.fixture(autouse=True)
def _there(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)


EXP = ("--exp", "exp", "--weights-name", "best.onnx")


class TestRuns:
    def test_a_run_is_judged_by_the_people_it_held_out(self, tmp_path: Path, capsys: Capture) -> None:
        assert evaluated(*EXP, "--cmc", "--out", tmp_path / "out") == 0
        got = json.loads((tmp_path / "out/metrics.json").read_text())
        assert got["dataset"]["people"] == "the people held out of training"
        assert got["dataset"]["identities"] == 4 and got["dataset"]["images"] == 24
        assert "the people held out of training" in " ".join(capsys.readouterr().out.split())

    def test_its_figures_go_beside_it_and_over_nothing(self, workplace: Path) -> None:
        assert evaluated(*EXP, "-q") == 0 and evaluated(*EXP, "-q") == 0
        first, second = workplace / "runs/train/exp/eval", workplace / "runs/train/exp/eval2"
        assert (first / "metrics.json").read_bytes() == (second / "metrics.json").read_bytes()

    def test_the_folder_of_a_run_is_as_good_as_its_name(self, workplace: Path, tmp_path: Path) -> None:
        where = ("--weights-name", "best.onnx", "--out", tmp_path / "out", "-q")
        assert evaluated("--exp", workplace / "runs/train/exp", *where) == 0
        assert json.loads((tmp_path / "out/metrics.json").read_text())["dataset"]["identities"] == 4

    def test_weights_taken_out_of_a_run_by_their_path_are_still_of_that_run(self, tmp_path: Path) -> None:
        assert evaluated("--weights", "runs/train/exp/weights/best.onnx", "--out", tmp_path / "out", "-q") == 0
        assert json.loads((tmp_path / "out/metrics.json").read_text())["dataset"]["identities"] == 4

    def test_a_configuration_says_what_weights_elsewhere_were_trained_on(self, tmp_path: Path) -> None:
        config = ("--config", "runs/train/exp/config.yaml", "--out", tmp_path / "out", "-q")
        assert evaluated("--onnx", "colour.onnx", *config) == 0
        assert json.loads((tmp_path / "out/metrics.json").read_text())["dataset"]["identities"] == 4

    def test_people_it_was_trained_on_are_refused(self, workplace: Path, tmp_path: Path, capsys: Capture) -> None:
        copy = workplace / "copy.csv"
        copy.write_bytes((workplace / "labels.csv").read_bytes())
        assert evaluated(*EXP, "--csv", copy, "--out", tmp_path / "out") == 1
        assert "4 of the 8 people" in error_line(capsys.readouterr().err)
        assert not (tmp_path / "out").exists()

    def test_the_same_csv_is_fine_for_a_model_of_another_run(self, workplace: Path) -> None:
        assert evaluated("--onnx", "colour.onnx", "--csv", "labels.csv", "-q") == 0
        got = json.loads((workplace / "runs/eval/colour/metrics.json").read_text())
        assert got["dataset"]["identities"] == 8 and got["dataset"]["people"] == "everybody in it"
        assert got["dataset"]["name"] == "labels.csv"


class TestWhatIsPrinted:
    def test_the_table_fits_eighty_columns_and_names_both_conventions(self, tmp_path: Path, capsys: Capture) -> None:
        model = ("--onnx", "colour.onnx", "--csv", "labels.csv")
        assert evaluated(*model, "--rerank", "--out", tmp_path / "out") == 0
        table, _, files = capsys.readouterr().out.partition("\n\n/")
        assert max(map(len, table.splitlines())) <= 80, table
        got = json.loads((tmp_path / "out/metrics.json").read_text())
        for name, key in (
            ("mAP, mean precision (torchreid)", "map_mean_precision"),
            ("mAP, trapezoid (original Market-1501)", "map_trapezoid"),
            ("mINP", "minp"),
            ("rank-5", "rank_5"),
        ):
            row = re.search(rf"^  {re.escape(name)} +([\d.]+)% +([\d.]+)%$", table, re.MULTILINE)
            assert row is not None, table
            assert float(row[1]) == pytest.approx(100 * got["ranking"][key], abs=0.006)
            assert float(row[2]) == pytest.approx(100 * got["reranked"][key], abs=0.006)
        assert f"{got['ranking']['queries']} queries, 0 skipped" in table
        assert "worst_queries.html" in files and "metrics.json" in files

    def test_rates_too_few_pairs_stand_behind_are_marked(self, tmp_path: Path, capsys: Capture) -> None:
        arguments = ("--onnx", "colour.onnx", "--csv", "labels.csv", "--fars", "1e-1,1e-3", "--out", tmp_path / "out")
        assert evaluated(*arguments) == 0
        out = capsys.readouterr().out
        assert re.search(r"TAR at FAR 0.1 +[\d.]+% +[\d.]+ +96 +1,008$", out, re.MULTILINE)
        assert re.search(r"TAR at FAR 0.001 +[\d.]+% \* +[\d.]+ +96 +1,008$", out, re.MULTILINE)
        assert "* fewer than 10 false accepts are to be expected: not reliable" in out
        assert "add --cmc for CMC" in out

    def test_json_is_what_is_in_the_file(self, tmp_path: Path, capsys: Capture) -> None:
        arguments = ("--onnx", "colour.onnx", "--csv", "labels.csv", "--json", "--out", tmp_path / "out")
        assert evaluated(*arguments) == 0
        assert capsys.readouterr().out == (tmp_path / "out/metrics.json").read_text()

    def test_quiet_prints_nothing(self, tmp_path: Path, capsys: Capture) -> None:
        assert evaluated("--onnx", "colour.onnx", "--csv", "labels.csv", "-q", "--out", tmp_path / "out") == 0
        assert capsys.readouterr() == ("", "")

    def test_one_camera_is_said_and_error_rates_are_given(self, tmp_path: Path, capsys: Capture) -> None:
        csv = write_labels(tmp_path / "one.csv", paint(tmp_path / "images", people="abc", cameras=1, shots=3))
        assert evaluated("--onnx", "colour.onnx", "--csv", csv, "--cmc", "--out", tmp_path / "out") == 0
        out = capsys.readouterr().out
        assert "EER" in out and "nobody was seen by two cameras" in out and "rank-1" not in out
        assert not (tmp_path / "out/worst_queries.html").exists()

    def test_a_dataset_folder_is_ranked_without_being_asked(self, tmp_path: Path, capsys: Capture) -> None:
        painted = paint(tmp_path / "painted", people=("1", "2", "3"), cameras=3, shots=2)
        folder = tmp_path / "market1501"
        parts = ("query", "bounding_box_test", "bounding_box_train")
        for index, item in enumerate(painted):
            names = parts[:1] if index % 2 else parts[1:]
            for part in names:
                (folder / part).mkdir(parents=True, exist_ok=True)
                name = f"{int(item.person):04}_c{item.camera + 1}s1_{index:06}_00.jpg"
                (folder / part / name).write_bytes(item.path.read_bytes())
        assert evaluated("--onnx", "colour.onnx", "--dataset", folder, "--out", tmp_path / "out") == 0
        assert "9 queries, 0 skipped" in capsys.readouterr().out
        got = json.loads((tmp_path / "out/metrics.json").read_text())
        assert got["dataset"]["people"] == "the query and gallery of the dataset"
        assert got["dataset"]["query_images"] == 9 and got["dataset"]["gallery_images"] == 9

    def test_a_list_of_pairs_gives_the_ten_fold_accuracy(
        self, workplace: Path, tmp_path: Path, capsys: Capture
    ) -> None:
        lines = [f"images/00_0_{n % 2}.png,images/{n:02}_1_0.png,{int(n == 0)}" for n in range(8)]
        (tmp_path / "pairs.csv").write_text("\n".join(["a,b,same", *lines * 2, ""]))
        arguments = ("--pairs", tmp_path / "pairs.csv", "--data-root", workplace, "--out", tmp_path / "out")
        assert evaluated("--onnx", "colour.onnx", *arguments) == 0
        assert "10-fold accuracy" in capsys.readouterr().out
        assert json.loads((tmp_path / "out/metrics.json").read_text())["dataset"] is None


class TestWrongCommands:
    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["--exp", "nowhere"], "no run 'nowhere'"),
            (["--exp", "exp"], "no best.pt in the run exp"),
            (["--onnx", "gone.onnx", "--csv", "labels.csv"], "model file not found: gone.onnx"),
            (["--onnx", "colour.onnx"], "nothing to evaluate on"),
            (["--onnx", "colour.onnx", "--csv", "gone.csv"], "gone.csv"),
            (["--onnx", "labels.csv", "--csv", "labels.csv"], "no runtime reads '.csv'"),
            (["--onnx", "colour.onnx", "--csv", "labels.csv", "--config", "gone.yaml"], "configuration not found"),
            (["--onnx", "colour.onnx", "--pairs", "gone.txt"], "list of pairs gone.txt cannot be read"),
            (["--onnx", "colour.onnx", "--csv", "labels.csv", "--out", "labels.csv"], "cannot write labels.csv"),
        ],
    )
    def test_what_cannot_be_done_is_one_line(self, capsys: Capture, arguments: list[str], told: str) -> None:
        assert evaluated(*arguments) == 1
        assert told in error_line(capsys.readouterr().err)

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("", "img_path"),
            ("img_path,person_id\n", "no rows"),
            ("img_path,person_id\nimages/00_0_0.png,a\nimages/gone.png,b\n", "images/gone.png"),
            ("img_path,person_id\nimages/00_0_0.png,a\nimages/00_0_1.png,a\n", "one person"),
            ("img_path,person_id\nimages/00_0_0.png,a\nimages/01_0_0.png,b\n", "no two images show the same person"),
        ],
    )
    def test_a_csv_that_is_no_exam_says_why_and_leaves_no_folder(
        self, workplace: Path, tmp_path: Path, capsys: Capture, text: str, told: str
    ) -> None:
        (tmp_path / "bad.csv").write_text(text)
        where = ("--data-root", workplace, "--out", tmp_path / "out")
        assert evaluated("--onnx", "colour.onnx", "--csv", tmp_path / "bad.csv", *where) == 1
        assert told in error_line(capsys.readouterr().err)
        assert not (tmp_path / "out").exists()

    def test_an_evaluation_is_not_written_over(self, tmp_path: Path, capsys: Capture) -> None:
        arguments = ("--onnx", "colour.onnx", "--csv", "labels.csv", "-q", "--out", tmp_path / "out")
        assert evaluated(*arguments) == 0
        before = (tmp_path / "out/metrics.json").stat().st_mtime_ns
        assert evaluated(*arguments) == 1
        assert "already holds an evaluation" in error_line(capsys.readouterr().err)
        assert (tmp_path / "out/metrics.json").stat().st_mtime_ns == before

    def test_a_model_that_is_no_embedding_is_refused(self, workplace: Path, tmp_path: Path, capsys: Capture) -> None:
        onnx = pytest.importorskip("onnx")
        from onnx import TensorProto, helper

        images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 16, 8])
        maps = helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["n", 3, 16, 8])
        graph = helper.make_graph([helper.make_node("Relu", ["images"], ["maps"])], "cut", [images], [maps])
        opset = helper.make_opsetid("", 13)
        onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), str(tmp_path / "cut.onnx"))
        where = ("--csv", workplace / "labels.csv", "--pixels", "torchreid", "--out", tmp_path / "out")
        assert evaluated("--onnx", tmp_path / "cut.onnx", *where) == 1
        assert "does not put out one vector an image" in error_line(capsys.readouterr().err)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ([], "one of the arguments --exp --weights --onnx is required"),
            (["--exp", "exp", "--onnx", "x.onnx"], "not allowed with argument"),
            (["--exp", "exp", "--csv", "a", "--dataset", "b"], "not allowed with argument"),
            (["--exp", "exp", "--fars", "often"], "'often' is not a list of rates"),
            (["--exp", "exp", "--fars", "1e-2,1"], "not between 0 and 1"),
            (["--exp", "exp", "--batch-size", "0"], "not a whole number above 0"),
        ],
    )
    def test_wrong_flags_are_exit_code_two_and_one_line(self, capsys: Capture, arguments: list[str], told: str) -> None:
        assert evaluated(*arguments) == 2
        assert told in error_line(capsys.readouterr().err)
