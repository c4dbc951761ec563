from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from painted_people import Painted, mean_colour, mean_colour_model, paint, write_labels
from sightline.errors import ConfigError, ImageError, SightlineError
from sightline.reid.embedder import Embedder
from sightline.runtime.open import open_session
from sightline.training.config import DataSection, TrainingConfig, TrainSection, ValSection
from sightline.training.evaluate import Evaluation, Reading, embed_images, evaluate
from sightline.training.exam import EVERYBODY, HELD_OUT, Exam, choose_exam
from sightline.training.pair_list import Pair, read_pairs
from sightline.training.records import Record
from sightline.training.report import figures, model_figures, write_report


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mean_colour_model(tmp_path_factory.mktemp("model") / "colour.onnx")


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> list[Painted]:
    return paint(tmp_path_factory.mktemp("painted") / "images", people="abcdefgh")


@pytest.fixture(scope="module")
def csv(painted: list[Painted]) -> Path:
    return write_labels(painted[0].path.parents[1] / "labels.csv", painted)


def records(painted: list[Painted]) -> tuple[Record, ...]:
    return tuple(Record(item.path, item.person, item.camera) for item in painted)


def judged(model: Path, exam: Exam | None, **asked: object) -> Evaluation:
    with open_session(model) as session:
        return evaluate(Embedder(session), exam, **asked)  # type: ignore[arg-type]


def scores_by_loop(shown: list[Painted], *, across_cameras: bool = True) -> tuple[list[float], list[float]]:
    """Genuine and impostor scores, ascending: every two pictures, looked at one after the other."""
    vectors = [mean_colour(item.path) for item in shown]
    genuine, impostor = [], []
    for i, one in enumerate(shown):
        for j in range(i):
            other, score = shown[j], float(vectors[i] @ vectors[j])
            if one.person != other.person:
                impostor.append(score)
            elif one.camera != other.camera or not across_cameras:
                genuine.append(score)
    return sorted(genuine), sorted(impostor)


def ranked_by_loop(query: tuple[Record, ...], gallery: tuple[Record, ...]) -> list[list[bool]]:
    """For each query with a match, whether each gallery picture is right, closest first, its own camera left out."""
    answers = []
    for asked in query:
        kept = [shown for shown in gallery if (shown.person, shown.camera) != (asked.person, asked.camera)]
        kept.sort(key=lambda shown: -float(mean_colour(asked.path) @ mean_colour(shown.path)))
        right = [shown.person == asked.person for shown in kept]
        if any(right):
            answers.append(right)
    return answers


class TestFigures:
    def test_the_pairs_are_every_two_images_and_genuine_ones_are_of_two_cameras(
        self, model: Path, csv: Path, painted: list[Painted]
    ) -> None:
        found = judged(model, choose_exam(str(csv))).verification
        genuine, impostor = scores_by_loop(painted)
        np.testing.assert_allclose(found.genuine, genuine, atol=1e-6)
        np.testing.assert_allclose(found.impostor, impostor, atol=1e-6)
        # 8 people × 6 images: 15 pairs each, 3 of them within a camera; and 28 pairs of people × 36.
        assert (found.eer.genuine_pairs, found.eer.impostor_pairs) == (8 * 12, 28 * 36)
        assert found.protocol == "every two images, all; genuine pairs across cameras only"

    def test_the_error_rates_are_those_of_counting(self, model: Path, csv: Path, painted: list[Painted]) -> None:
        found = judged(model, choose_exam(str(csv)), fars=(0.1, 0.001)).verification
        genuine, impostor = (np.array(scores) for scores in scores_by_loop(painted))
        gaps = [abs((impostor >= at).mean() - (genuine < at).mean()) for at in (*genuine, *impostor)]
        assert min(gaps) <= 1 / 96
        at = found.eer.threshold
        assert abs((impostor >= at).mean() - found.eer.rate) <= 1 / 96
        assert abs((genuine < at).mean() - found.eer.rate) <= 1 / 96
        at_a_tenth = np.sort(impostor)[::-1][int(0.1 * len(impostor))]  # the first that may not pass
        assert found.tars[0].tar == pytest.approx((genuine > at_a_tenth).mean())
        # 0.1 of 1008 impostors are 100 false accepts, 0.001 of them one.
        assert [tar.reliable for tar in found.tars] == [True, False]

    def test_the_ranking_is_that_of_a_sorted_list(self, model: Path, csv: Path) -> None:
        exam = choose_exam(str(csv))
        ranking = judged(model, exam, ranked=True).ranking
        assert ranking is not None
        answers = ranked_by_loop(exam.query, exam.gallery)
        assert ranking.queries == len(answers) > 8
        assert ranking.rank_k(1) == pytest.approx(np.mean([right[0] for right in answers]))
        assert ranking.rank_k(5) == pytest.approx(np.mean([any(right[:5]) for right in answers]))
        precisions = []
        for right in answers:
            hits = [place for place, is_right in enumerate(right, start=1) if is_right]
            precisions.append(np.mean([(count + 1) / place for count, place in enumerate(hits)]))
        assert ranking.map_mean_precision == pytest.approx(np.mean(precisions))
        assert 0.2 < ranking.map_mean_precision < 1, "the painted people are meant to be neither trivial nor hopeless"

    def test_ranking_again_gives_a_second_ranking_of_the_same_queries(self, model: Path, csv: Path) -> None:
        found = judged(model, choose_exam(str(csv)), reranked=True)
        assert found.ranking is not None and found.reranked is not None
        assert found.reranked.queries == found.ranking.queries
        assert found.reranked.map_mean_precision != found.ranking.map_mean_precision

    def test_without_being_asked_for_nothing_is_ranked(self, model: Path, csv: Path) -> None:
        assert judged(model, choose_exam(str(csv))).ranking is None

    def test_an_official_query_meets_only_its_gallery_and_is_always_ranked(
        self, model: Path, painted: list[Painted]
    ) -> None:
        shown = records(painted)
        query, gallery = shown[::6], tuple(record for index, record in enumerate(shown) if index % 6)
        found = judged(model, Exam("own", "the query and gallery of the dataset", shown, query, gallery))
        assert found.ranking is not None and found.ranking.queries == 8
        # Each query has 5 images of its person, one of them by its own camera, and 7 × 5 of others.
        assert found.verification.eer.genuine_pairs == 8 * 4
        assert found.verification.eer.impostor_pairs == 8 * 35

    def test_how_images_are_read_changes_no_vector(self, model: Path, painted: list[Painted]) -> None:
        paths = [item.path for item in painted]
        told: list[int] = []
        with open_session(model) as session:
            embedder = Embedder(session)
            one = embed_images(embedder, paths, Reading(batch_size=1, workers=1))
            many = embed_images(embedder, paths, Reading(batch_size=20, workers=3, progress=told.append))
        np.testing.assert_allclose(one.rows, many.rows, atol=1e-6)
        np.testing.assert_allclose(many.rows, [mean_colour(path) for path in paths], atol=1e-6)
        assert told == [20, 20, 8]

    def test_a_checkpoint_and_its_onnx_file_get_the_same_figures(
        self, bare_osnet: Path, osnet: Path, csv: Path, tmp_path: Path
    ) -> None:
        from dataclasses import replace

        from sightline.nets.checkpoint import save_checkpoint
        from sightline.nets.osnet import build_osnet

        with open_session(osnet) as session:
            card = session.card
        assert card.image is not None and card.output is not None
        named = replace(card, image=replace(card.image, name="input"), output=replace(card.output, name="features"))
        save_checkpoint(tmp_path / "net.pt", build_osnet("osnet_x0_25", seed=0), card=named)
        exam = choose_exam(str(csv), max_images=20)
        both = [judged(path, exam, ranked=True) for path in (tmp_path / "net.pt", osnet)]
        (torch_ranking, onnx_ranking) = (found.ranking for found in both)
        assert torch_ranking is not None and onnx_ranking is not None
        np.testing.assert_allclose(both[0].verification.genuine, both[1].verification.genuine, atol=1e-4)
        assert both[0].verification.eer.rate == pytest.approx(both[1].verification.eer.rate, abs=0.02)
        assert torch_ranking.map_mean_precision == pytest.approx(onnx_ranking.map_mean_precision, abs=0.02)

    def test_an_onnx_model_is_judged_without_torch(self, model: Path, csv: Path, tmp_path: Path) -> None:
        program = (
            "import sys\nfrom sightline.cli import VERBS, eval as verb\nimport argparse\n"
            "parser = argparse.ArgumentParser(); verb.configure(parser)\n"
            f"args = parser.parse_args(['--onnx', {str(model)!r}, '--csv', {str(csv)!r}, '--cmc',"
            f" '--out', {str(tmp_path / 'out')!r}])\n"
            "args.quiet = True\nassert verb.run(args) == 0\nprint('torch' in sys.modules)\n"
        )
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
        assert (run.stdout, run.returncode) == ("False\n", 0), run.stderr


class TestWhoIsJudged:
    def config(self, csv: Path, *, val_split: float = 0.5, seed: int = 3) -> TrainingConfig:
        return TrainingConfig(
            data=DataSection(dataset=str(csv)), train=TrainSection(seed=seed), val=ValSection(val_split=val_split)
        )

    def test_only_the_people_a_run_held_out_are(self, csv: Path) -> None:
        from sightline.training.records import read_csv
        from sightline.training.split import split_by_identity

        exam = choose_exam(None, config=self.config(csv))
        trained, held_out = split_by_identity(read_csv(csv), share=0.5, seed=3)
        assert exam.people == HELD_OUT and exam.identities == 4
        assert {record.person for record in exam.images} == {record.person for record in held_out}
        assert not {record.person for record in exam.images} & {record.person for record in trained}

    def test_naming_the_data_of_the_run_is_no_way_around_that(self, csv: Path) -> None:
        roundabout = csv.parent / "images" / ".." / csv.name
        assert choose_exam(str(roundabout), config=self.config(csv)).people == HELD_OUT

    def test_a_csv_with_images_the_run_was_trained_on_is_refused_with_counts(
        self, csv: Path, painted: list[Painted]
    ) -> None:
        other = write_labels(csv.with_name("renamed.csv"), painted)
        message = r"4 of the 8 people in .*renamed\.csv were trained on \(24 of its images\)"
        with pytest.raises(ConfigError, match=message):
            choose_exam(str(other), config=self.config(csv))

    def test_namesakes_of_people_the_run_was_trained_on_are_counted(self, csv: Path, tmp_path: Path) -> None:
        other = write_labels(tmp_path / "other.csv", paint(tmp_path / "images", people="abcdefghxyz", seed=9))
        exam = choose_exam(str(other), config=self.config(csv))
        assert exam.people == EVERYBODY and exam.identities == 11
        assert len(exam.notes) == 1 and exam.notes[0].startswith("4 of the 11 people have the name of one")

    def test_strangers_need_no_note(self, csv: Path, tmp_path: Path) -> None:
        other = write_labels(tmp_path / "other.csv", paint(tmp_path / "images", people="xyz"))
        assert choose_exam(str(other), config=self.config(csv)).notes == ()

    def test_a_run_whose_data_is_gone_cannot_be_checked_and_that_is_said(self, csv: Path, tmp_path: Path) -> None:
        config = self.config(tmp_path / "gone.csv")
        (note,) = choose_exam(str(csv), config=config).notes
        assert note.startswith("not checked whether the model was trained on these people: ") and "gone.csv" in note

    def test_nor_can_one_whose_configuration_names_no_data(self, csv: Path) -> None:
        (note,) = choose_exam(str(csv), config=TrainingConfig()).notes
        assert note.endswith("its configuration names no data")

    def test_a_run_that_held_nobody_out_has_nobody_to_be_judged_by(self, csv: Path) -> None:
        with pytest.raises(ConfigError, match="held nobody out"):
            choose_exam(None, config=self.config(csv, val_split=0))

    def test_without_a_run_and_without_data_there_is_nothing(self) -> None:
        with pytest.raises(ConfigError, match="nothing to evaluate on"):
            choose_exam(None)

    def test_a_limit_on_images_leaves_out_whole_people(self, csv: Path) -> None:
        exam = choose_exam(str(csv), max_images=20)
        counts = {person: [r.person for r in exam.images].count(person) for person in {r.person for r in exam.images}}
        assert list(counts.values()) == [6, 6, 6]  # a fourth would make 24
        assert exam.notes == ("18 of 48 images: people drawn at random up to --max-samples",)
        assert choose_exam(str(csv), max_images=20) == exam

    def test_two_people_are_kept_whatever_the_limit(self, csv: Path) -> None:
        assert choose_exam(str(csv), max_images=1).identities == 2

    def test_no_limit_is_zero(self, csv: Path) -> None:
        assert len(choose_exam(str(csv), max_images=0).images) == 48


class TestPoorData:
    def test_one_camera_cannot_be_ranked_and_still_has_error_rates(self, model: Path, tmp_path: Path) -> None:
        painted = paint(tmp_path / "images", people="abcd", cameras=1, shots=3)
        exam = choose_exam(str(write_labels(tmp_path / "labels.csv", painted)))
        assert exam.query == () and "nobody was seen by two cameras" in exam.notes[0]
        found = judged(model, exam, ranked=True)
        assert found.ranking is None
        genuine, impostor = scores_by_loop(painted, across_cameras=False)
        np.testing.assert_allclose(found.verification.genuine, genuine, atol=1e-6)
        np.testing.assert_allclose(found.verification.impostor, impostor, atol=1e-6)

    def test_a_query_and_gallery_of_one_camera_have_error_rates_too(self, model: Path, tmp_path: Path) -> None:
        painted = paint(tmp_path / "images", people="123", cameras=1, shots=3)
        for index, item in enumerate(painted):
            for part in ("bounding_box_train", "bounding_box_test" if index % 3 else "query"):
                target = tmp_path / "market1501" / part / f"{int(item.person):04}_c1s1_{index:06}_00.jpg"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(item.path.read_bytes())
        exam = choose_exam(str(tmp_path / "market1501"))
        assert exam.is_official and "nobody was seen by two cameras" in exam.notes[0]
        found = judged(model, exam)
        assert found.ranking is None
        assert (found.verification.eer.genuine_pairs, found.verification.eer.impostor_pairs) == (3 * 2, 3 * 4)

    def test_one_person_cannot_be_told_from_anybody(self, model: Path, painted: list[Painted]) -> None:
        alone = records(painted)[:6]
        with pytest.raises(SightlineError, match="expected at least two identities"):
            judged(model, Exam("alone", EVERYBODY, alone, (), ()))

    def test_one_image_of_each_gives_no_genuine_pair(self, model: Path, painted: list[Painted]) -> None:
        strangers = records(painted)[::6]
        with pytest.raises(SightlineError, match="no two images show the same person"):
            judged(model, Exam("strangers", EVERYBODY, strangers, (), ()))

    def test_missing_images_are_counted_and_named_before_anything_runs(
        self, model: Path, painted: list[Painted], tmp_path: Path
    ) -> None:
        paths = [painted[0].path, *(tmp_path / f"{number}.png" for number in range(5))]
        told: list[int] = []
        with open_session(model) as session, pytest.raises(ImageError) as caught:
            embed_images(Embedder(session), paths, Reading(batch_size=1, progress=told.append))
        named = ", ".join(str(tmp_path / f"{number}.png") for number in range(3))
        assert str(caught.value) == f"5 of 6 images are not there: {named} and 2 more; expected them all"
        assert told == []

    def test_an_image_that_cannot_be_decoded_is_named(self, model: Path, tmp_path: Path) -> None:
        (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
        with open_session(model) as session, pytest.raises(ImageError, match=r"broken\.png"):
            embed_images(Embedder(session), [tmp_path / "broken.png"])


class TestPairs:
    def test_the_list_of_lfw_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "pairs.txt").write_text("10\t300\nAnna_B\t1\t12\nAnna_B\t3\tCarl\t4\n")
        assert read_pairs(tmp_path / "pairs.txt", root=Path("lfw")) == [
            Pair(Path("lfw/Anna_B/Anna_B_0001.jpg"), Path("lfw/Anna_B/Anna_B_0012.jpg"), same=True),
            Pair(Path("lfw/Anna_B/Anna_B_0003.jpg"), Path("lfw/Carl/Carl_0004.jpg"), same=False),
        ]

    def test_a_csv_is_read_relative_to_itself(self, tmp_path: Path) -> None:
        (tmp_path / "pairs.csv").write_text('a,b,same\nx.jpg,"y, z.jpg",1\nx.jpg,w.jpg,False\n')
        assert read_pairs(tmp_path / "pairs.csv") == [
            Pair(tmp_path / "x.jpg", tmp_path / "y, z.jpg", same=True),
            Pair(tmp_path / "x.jpg", tmp_path / "w.jpg", same=False),
        ]

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("a,b,same\nx.jpg,y.jpg,perhaps\n", "pair 1 cannot be read"),
            ("a,b,same\nx.jpg,y.jpg,1\nx.jpg\n", "pair 2 cannot be read"),
            ("10 300\nAnna one two\n", "pair 1 cannot be read"),
            ("10 300\n", "lists no pairs"),
            ("", "lists no pairs"),
        ],
    )
    def test_what_is_no_list_says_which_pair(self, tmp_path: Path, text: str, told: str) -> None:
        (tmp_path / "pairs.txt").write_text(text)
        with pytest.raises(ImageError, match=told):
            read_pairs(tmp_path / "pairs.txt")

    def test_a_list_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match=r"gone\.txt cannot be read"):
            read_pairs(tmp_path / "gone.txt")

    def test_the_accuracy_is_that_of_the_threshold_which_suits_the_other_folds(
        self, model: Path, painted: list[Painted]
    ) -> None:
        rng = np.random.default_rng(4)
        chosen = [rng.choice(len(painted), 2, replace=False) for _ in range(40)]
        shown = [(painted[i], painted[j]) for i, j in chosen]
        # Every other pair is made genuine by taking a neighbour of the first, which is of the same person.
        shown = [(a, painted[(painted.index(a) // 6) * 6 + 1] if n % 2 else b) for n, (a, b) in enumerate(shown)]
        pairs = [Pair(a.path, b.path, a.person == b.person) for a, b in shown]
        found = judged(model, None, pairs=pairs)
        scores = [float(mean_colour(pair.first) @ mean_colour(pair.second)) for pair in pairs]
        right = []
        for fold in range(10):
            rest = [k for k in range(40) if k // 4 != fold]
            thresholds = [1 - step * 0.01 / 2 for step in range(400)]
            best = max(thresholds, key=lambda at: sum((scores[k] >= at) == pairs[k].same for k in rest))
            right.append(sum((scores[k] >= best) == pairs[k].same for k in range(fold * 4, fold * 4 + 4)) / 4)
        assert found.ten_fold is not None and found.ten_fold.accuracy == pytest.approx(np.mean(right))
        assert found.verification.eer.genuine_pairs == sum(pair.same for pair in pairs)

    def test_ten_folds_need_ten_pairs(self, model: Path, painted: list[Painted]) -> None:
        pairs = [Pair(painted[0].path, painted[1].path, same=True)] * 9
        with pytest.raises(SightlineError, match="the list has 9 pairs"):
            judged(model, None, pairs=pairs)


class TestReport:
    def test_everything_is_written_and_the_same_figures_are_the_same_bytes(
        self, model: Path, csv: Path, tmp_path: Path
    ) -> None:
        pytest.importorskip("matplotlib")
        exam = choose_exam(str(csv))
        folders = (tmp_path / "one", tmp_path / "two")
        with open_session(model) as session:
            embedder = Embedder(session)
            found = evaluate(embedder, exam, ranked=True, reranked=True)
            for folder in folders:
                folder.mkdir()
                facts = model_figures(embedder, task="reid")
                write_report(found, folder, model=facts, title="colour", size_hw=(16, 8))
        names = {path.name for path in folders[0].iterdir()}
        assert names == {"roc.png", "scores.png", "cmc.png", "worst_queries.html", "metrics.json"}
        for name in names:
            assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()

    def test_the_json_holds_what_was_measured_by_what(self, model: Path, csv: Path) -> None:
        with open_session(model) as session:
            embedder = Embedder(session)
            found = evaluate(embedder, choose_exam(str(csv)), ranked=True)
            got = json.loads(json.dumps(figures(found, model=model_figures(embedder, task="reid")), allow_nan=False))
            assert got["model"]["fingerprint"] == session.card.fingerprint
        assert got["model"]["backend"] == "onnxruntime" and got["model"]["task"] == "reid"
        assert found.ranking is not None
        assert got["ranking"]["rank_1"] == found.ranking.rank_k(1)
        assert got["ranking"]["map_mean_precision"] == found.ranking.map_mean_precision
        assert got["ranking"]["map_trapezoid"] == found.ranking.map_trapezoid
        assert got["ranking"]["queries"] == found.ranking.queries
        assert got["reranked"] is None and got["ten_fold"] is None
        assert got["dataset"]["images"] == 48 and got["dataset"]["identities"] == 8
        assert got["dataset"]["people"] == EVERYBODY
        assert [row["far"] for row in got["verification"]["tar_at_far"]] == [0.1, 0.01, 0.001]
        assert got["verification"]["eer"]["impostor_pairs"] == 28 * 36
