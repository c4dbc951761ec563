from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from painted_people import mean_colour_model
from sightline.card import Threshold
from sightline.errors import ImageError, ModelFormatError
from sightline.reid.embedder import Embedder
from sightline.reid.faces import (
    ARCFACE_POINTS,
    FaceEmbedder,
    FaceFinder,
    aligned,
    decode_yunet,
    main_face,
    similarity_transform,
)
from sightline.reid.thresholds import calibration_of, keep_thresholds
from sightline.runtime.open import open_session
from sightline.synth.cameras import camera
from sightline.synth.faces import face_identity, shoot_face
from sightline.types import Array, Detections, Image

TEMPLATE = np.array(ARCFACE_POINTS, np.float32)


def turned(points: Array, *, degrees: float, scale: float, shift: tuple[float, float]) -> Array:
    angle = np.deg2rad(degrees)
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (points @ matrix.T + shift).astype(np.float32)


def least_squares(source: Array, target: Array) -> Array:
    """Four unknowns and two equations a point, solved by the book."""
    rows, wanted = [], []
    for (x, y), (u, v) in zip(source.astype(float), target.astype(float), strict=True):
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
        wanted += [u, v]
    a, b, c, d = np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)[0]
    return np.array([[a, -b, c], [b, a, d]])


class TestSimilarity:
    @given(seed=st.integers(0, 10_000))
    @settings(max_examples=50, deadline=None)
    def test_it_is_the_least_squares_solution(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        source, target = (rng.uniform(0, 200, (5, 2)).astype(np.float32) for _ in range(2))
        assert np.allclose(similarity_transform(source, target), least_squares(source, target), atol=1e-6)

    def test_opencv_agrees_where_no_point_is_an_outlier(self) -> None:
        rng = np.random.default_rng(3)
        source = turned(TEMPLATE, degrees=-17, scale=3.1, shift=(400, 90)) + rng.normal(0, 2, (5, 2)).astype(np.float32)
        peer, _ = cv2.estimateAffinePartial2D(source, TEMPLATE, ransacReprojThreshold=1e3, refineIters=100)
        assert np.allclose(similarity_transform(source, TEMPLATE), peer, atol=1e-3)

    def test_a_turned_and_scaled_template_is_turned_back_exactly(self) -> None:
        moved = turned(TEMPLATE, degrees=33, scale=2.5, shift=(120, -40))
        matrix = similarity_transform(moved, TEMPLATE)
        assert np.allclose(np.c_[moved, np.ones(5)] @ matrix.T, TEMPLATE, atol=1e-3)

    def test_a_mirrored_face_is_not_mirrored_back(self) -> None:
        matrix = similarity_transform(TEMPLATE * np.float32([-1, 1]), TEMPLATE)
        assert np.linalg.det(matrix[:, :2]) > 0

    @pytest.mark.parametrize("points", [np.ones((5, 2)), np.full((5, 2), np.nan)])
    def test_points_that_are_none_are_refused(self, points: Array) -> None:
        with pytest.raises(ImageError, match="five different ones"):
            similarity_transform(points.astype(np.float32), TEMPLATE)


class TestAlignment:
    def test_the_five_points_land_where_arcface_wants_them(self) -> None:
        points = turned(TEMPLATE, degrees=20, scale=3, shift=(150, 60))
        image = np.zeros((600, 600, 3), np.uint8)
        for x, y in points:
            cv2.circle(image, (round(float(x)), round(float(y))), 6, (255, 255, 255), -1)
        crop = aligned(image, points)
        assert crop.shape == (112, 112, 3)
        for x, y in TEMPLATE:
            assert crop[round(float(y)), round(float(x))].min() > 200
        assert (crop > 128).all(axis=2).sum() < 5 * 25  # and nowhere else

    def test_the_template_is_arcfaces(self) -> None:
        assert np.allclose(TEMPLATE.mean(axis=0), [56.0262, 71.9008], atol=1e-3)


def faces(*boxes: tuple[float, float, float, float]) -> Detections:
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32), np.ones(count, np.float32), np.zeros(count, np.int64), np.zeros((count, 5, 2))
    )


class TestMainFace:
    def test_it_is_the_largest(self) -> None:
        assert main_face(faces((0, 0, 20, 20), (50, 50, 90, 90)), (200, 200)) == 1

    def test_of_two_alike_it_is_the_one_in_the_middle(self) -> None:
        assert main_face(faces((0, 0, 40, 40), (80, 80, 120, 120)), (200, 200)) == 1

    def test_a_small_face_in_the_middle_does_not_win_over_one_much_larger(self) -> None:
        assert main_face(faces((95, 95, 105, 105), (0, 0, 60, 60)), (200, 200)) == 1


def empty_outputs(size_hw: tuple[int, int]) -> dict[str, Array]:
    outputs = {}
    for stride in (8, 16, 32):
        rows = (size_hw[0] // stride) * (size_hw[1] // stride)
        for part, width in {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}.items():
            outputs[f"{part}_{stride}"] = np.zeros((1, rows, width), np.float32)
    return outputs


def see(outputs: dict[str, Array], stride: int, cell: int, *, cls: float, obj: float, box: list[float]) -> None:
    outputs[f"cls_{stride}"][0, cell] = cls
    outputs[f"obj_{stride}"][0, cell] = obj
    outputs[f"bbox_{stride}"][0, cell] = box
    outputs[f"kps_{stride}"][0, cell] = [0, 0, 1, 0, 0.5, 0.5, 0, 1, 1, 1]


class TestDecoding:
    def test_a_cell_is_decoded_as_by_hand(self) -> None:
        outputs = empty_outputs((64, 96))
        see(outputs, 16, 8, cls=0.9, obj=0.4, box=[0.5, 0.25, np.log(3), np.log(2)])  # row 1, column 2 of 4 by 6
        found = decode_yunet(outputs, (64, 96), min_score=0.5)
        assert found.scores == pytest.approx([0.6])  # the root of 0.9 x 0.4
        assert found.boxes_xyxy[0] == pytest.approx([40 - 24, 20 - 16, 40 + 24, 20 + 16])
        assert found.landmarks_xy is not None
        assert found.landmarks_xy[0].tolist() == [[32, 16], [48, 16], [40, 24], [32, 32], [48, 32]]

    def test_of_two_boxes_on_one_face_the_surer_one_stays(self) -> None:
        outputs = empty_outputs((64, 64))
        see(outputs, 8, 9, cls=0.8, obj=0.8, box=[0, 0, 1, 1])
        see(outputs, 8, 10, cls=0.9, obj=0.9, box=[-1, 0, 1, 1])
        see(outputs, 32, 3, cls=0.7, obj=0.7, box=[0.5, 0.5, -1, -1])  # far away
        found = decode_yunet(outputs, (64, 64))
        assert found.scores == pytest.approx([0.9, 0.7])

    def test_scores_that_are_not_numbers_are_no_faces(self) -> None:
        outputs = empty_outputs((32, 32))
        see(outputs, 32, 0, cls=np.nan, obj=1, box=[0, 0, 0, 0])
        assert len(decode_yunet(outputs, (32, 32))) == 0

    def test_another_number_of_cells_than_the_picture_has_is_refused(self) -> None:
        with pytest.raises(ModelFormatError, match="at stride 8"):
            decode_yunet(empty_outputs((64, 64)), (96, 96))


def test_a_model_that_is_no_yunet_is_named(tmp_path: Path) -> None:
    refused = pytest.raises(ModelFormatError, match=r"colour\.onnx is not a YuNet")
    with open_session(mean_colour_model(tmp_path / "colour.onnx")) as session, refused:
        FaceFinder(session)


@pytest.fixture
def finder(shared: Path) -> Iterator[FaceFinder]:
    with open_session(shared / "real/models/yunet_s.onnx") as session:
        yield FaceFinder(session)


def portrait(who: int = 1) -> Image:
    """A painted face with room around it, on the picture's right."""
    face = shoot_face(face_identity(who), camera(1), seed=3)
    return cv2.copyMakeBorder(face, 40, 100, 200, 30, cv2.BORDER_REPLICATE)


EYES = TEMPLATE[:2] + np.float32([200, 40])  # in a portrait


class TestYuNet:
    def test_painted_faces_are_found_where_they_were_painted(self, finder: FaceFinder) -> None:
        for who in range(8):
            found = finder.faces_in(portrait(who))
            assert len(found) == 1
            assert found.landmarks_xy is not None
            assert np.abs(found.landmarks_xy[0, :2] - EYES).max() < 14

    def test_opencvs_own_reader_of_the_model_finds_the_same(self, finder: FaceFinder) -> None:
        canvas = np.zeros((640, 640, 3), np.uint8)
        image = portrait()
        canvas[: image.shape[0], : image.shape[1]] = image
        peer = cv2.FaceDetectorYN.create(str(finder.session.path), "", (640, 640), score_threshold=0.6)
        _, rows = peer.detect(canvas)
        found = finder.faces_in(image)
        assert len(rows) == len(found) == 1
        x, y, width, height = rows[0, :4]
        assert np.allclose(found.boxes_xyxy[0], [x, y, x + width, y + height], atol=0.5)
        assert found.landmarks_xy is not None
        assert np.allclose(found.landmarks_xy[0].ravel(), rows[0, 4:14], atol=0.5)
        assert found.scores[0] == pytest.approx(rows[0, 14], abs=1e-3)

    def test_faces_that_fill_a_large_picture_are_found_in_smaller_copies(self, finder: FaceFinder) -> None:
        tight = [shoot_face(face_identity(who), camera(who % 4), seed=who)[12:105, 12:105] for who in range(12)]
        found = [finder.faces_in(cv2.resize(face, (1280, 1280))) for face in tight]
        assert [len(faces) for faces in found] == [1] * 12
        middles = [faces.boxes_xyxy[0].reshape(2, 2).mean(axis=0) / 1280 for faces in found]
        assert np.abs(np.array(middles) - 0.5).max() < 0.2  # in pixels of the picture, not of the copy

    def test_a_picture_without_a_face_is_named(self, finder: FaceFinder) -> None:
        with pytest.raises(ImageError, match=r"no face found in wall\.png"):
            finder.aligned_face(np.full((90, 90, 3), 120, np.uint8), name="wall.png")

    def test_a_threshold_for_whole_pictures_is_not_one_for_aligned_faces(
        self, finder: FaceFinder, tmp_path: Path
    ) -> None:
        threshold = Threshold(0.7, 0.01, "single", 5_000)
        with open_session(mean_colour_model(tmp_path / "colour.onnx")) as session:
            keep_thresholds(Embedder(session), [threshold], beside=True)
            faces = FaceEmbedder(session, finder)
            assert calibration_of(faces).limit("single").value is None
            keep_thresholds(faces, [threshold], beside=True)
            assert calibration_of(faces).limit("single").value == 0.7
            assert calibration_of(Embedder(session)).limit("single").value is None

    def test_an_embedder_reads_the_aligned_face_and_tells_who_has_none(
        self, finder: FaceFinder, tmp_path: Path
    ) -> None:
        cv2.imwrite(str(tmp_path / "face.png"), portrait())
        cv2.imwrite(str(tmp_path / "wall.png"), np.full((90, 90, 3), 120, np.uint8))
        with open_session(mean_colour_model(tmp_path / "colour.onnx")) as session:
            embedder = FaceEmbedder(session, finder)
            face, wall, broken = embedder.embed_files(
                [tmp_path / "face.png", tmp_path / "wall.png", tmp_path / "none.png"]
            )
            expected = embedder.embed([finder.aligned_face(portrait())]).vectors[0]
        assert face.vector is not None and np.array_equal(face.vector, expected)
        assert wall.vector is None and "no face found" in wall.reason and "wall.png" in wall.reason
        assert broken.vector is None and "does not exist" in broken.reason
