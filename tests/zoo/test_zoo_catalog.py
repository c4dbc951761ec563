from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sightline.card import PIXELS
from sightline.errors import ModelNotFoundError
from sightline.files import model_kind
from sightline.zoo import CATALOG, ZooModel, cache_dir, find

OSNETS = {"osnet_x1_0", "osnet_x0_75", "osnet_x0_5", "osnet_x0_25", "osnet_ibn_x1_0"}
OSNETS |= {"osnet_ain_x1_0", "osnet_ain_x0_75", "osnet_ain_x0_5", "osnet_ain_x0_25"}
DETECTORS = {"yolox_nano", "yolox_tiny", "yolox_s", "yunet"}
MODELS = pytest.mark.parametrize("model", CATALOG.values(), ids=CATALOG)


@MODELS
def test_every_model_is_described_in_words_the_rest_understands(model: ZooModel) -> None:
    assert re.fullmatch(r"[a-z0-9_]+", model.name)
    assert model.arch in OSNETS | DETECTORS
    assert model.name.startswith(model.arch)
    assert model.pixels in PIXELS
    assert min(model.size_hw) > 0
    assert model.licence
    assert model.trained_on
    assert model.note


@MODELS
def test_every_model_comes_over_https_from_its_publisher(model: ZooModel) -> None:
    parts = urlsplit(model.url)
    publishers = {"drive.google.com", "huggingface.co", "github.com", "media.githubusercontent.com"}
    assert parts.scheme == "https"
    assert parts.hostname in publishers
    assert not any(character.isspace() for character in model.url)


@MODELS
def test_hashes_are_whole_and_sizes_are_possible(model: ZooModel) -> None:
    assert model.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", model.sha256)
    assert model.size_bytes is None or 100_000 < model.size_bytes < 100_000_000


@MODELS
def test_the_file_name_says_the_format_to_the_runtimes(model: ZooModel) -> None:
    assert model_kind(Path(model.file_name)) == model.format
    assert "/" not in model.file_name


def test_names_files_addresses_and_hashes_are_each_used_once() -> None:
    for field in ("name", "file_name", "url", "sha256"):
        values = [getattr(model, field) for model in CATALOG.values() if getattr(model, field) is not None]
        assert len(values) == len(set(values)), field
    assert all(name == model.name for name, model in CATALOG.items())


def test_imagenet_weights_are_never_offered_for_re_identification() -> None:
    imagenet = {model.arch for model in CATALOG.values() if "imagenet" in model.name}
    assert imagenet == OSNETS
    for model in CATALOG.values():
        is_imagenet = "imagenet" in model.name
        assert (model.weights == "imagenet") == is_imagenet
        assert (model.task == "backbone") == is_imagenet
        assert ("does NOT re-identify" in model.note) == is_imagenet


def test_every_width_is_published_for_every_dataset() -> None:
    for width in ("x1_0", "x0_75", "x0_5", "x0_25"):
        for data in ("market1501", "dukemtmc", "msmt17", "msmt17_combineall", "imagenet"):
            assert find(f"osnet_{width}_{data}").arch == f"osnet_{width}"


def test_the_published_pointer_of_yunet_is_what_the_catalog_promises() -> None:
    """Git LFS pointer of face_detection_yunet_2023mar.onnx in opencv/opencv_zoo."""
    assert find("yunet").sha256 == "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
    assert find("yunet").size_bytes == 232_589


def test_a_mistyped_name_gets_the_nearest_ones() -> None:
    with pytest.raises(ModelNotFoundError, match=r"'osnet_x1_0_market'.*osnet_x1_0_market1501.*sightline models list"):
        find("osnet_x1_0_market")


def test_a_name_like_no_other_gets_no_guess() -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        find("@")
    assert "did you mean" not in str(caught.value)


def test_the_catalog_cannot_be_changed_by_accident() -> None:
    with pytest.raises(TypeError):
        CATALOG["mine"] = find("yunet")


def test_the_cache_folder_is_the_chosen_one_then_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("SIGHTLINE_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("USERPROFILE", "/home/somebody")
    assert cache_dir().as_posix().endswith("/home/somebody/.cache/sightline")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert cache_dir().as_posix().endswith("/home/somebody/.cache/sightline")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert cache_dir().as_posix() == "/local/sightline"
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_dir().as_posix() == "/xdg/sightline"
    monkeypatch.setenv("SIGHTLINE_CACHE", "/chosen")
    assert cache_dir().as_posix() == "/chosen"
