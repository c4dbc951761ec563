"""What several test folders share: one small network, exported once, and the real material where it is there."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline.card import CARD_KEY, PIXELS, ImageInput, ModelCard, VectorOutput
from sightline.onnx_file import read_onnx, with_metadata

SHARED = Path(__file__).resolve().parents[1] / "../shared"


@pytest.fixture(autouse=True)
def messages_as_they_were() -> Iterator[None]:
    """A test that runs the program with --quiet must not silence what the next one listens for."""
    ours = logging.getLogger("sightline")
    before = ours.level
    yield
    ours.setLevel(before)


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> None:
    """For networks this small, torch's threads on a busy machine do little but wait for each other."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real crops and foreign models, which are not ours to ship."""
    if not (SHARED / "real").is_dir():
        pytest.skip("needs the real material in ../shared, which is not part of the project")
    return SHARED


@pytest.fixture(scope="session")
def bare_osnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An osnet_x0_25 with seeded random weights as others would export it: any batch, no card."""
    torch = pytest.importorskip("torch", reason="exporting a network needs torch")
    from sightline.nets.osnet import build_osnet

    path = tmp_path_factory.mktemp("models") / "bare.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        torch.onnx.export(
            build_osnet("osnet_x0_25", seed=0).eval(),
            (torch.zeros(1, 3, 256, 128),),
            str(path),
            dynamo=False,
            opset_version=13,
            input_names=["images"],
            output_names=["features"],
            dynamic_axes={"images": {0: "batch"}, "features": {0: "batch"}},
        )
    return path


@pytest.fixture(scope="session")
def osnet(bare_osnet: Path) -> Path:
    """The same file with a card. Its weights are called unknown, so that no warning joins the messages tested."""
    path = bare_osnet.with_name("osnet.onnx")
    card = ModelCard(
        task="reid",
        arch="osnet_x0_25",
        image=ImageInput("images", (256, 128), PIXELS["torchreid"]),
        output=VectorOutput("features", 512, normalised=False),
        fingerprint=read_onnx(bare_osnet).fingerprint,
    )
    with_metadata(bare_osnet, path, entries={CARD_KEY: card.to_json()})
    return path
