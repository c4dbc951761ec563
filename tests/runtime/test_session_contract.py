from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from osnets import SMALL_HW, Osnets, checkpoint_model
from session_contract import OnnxContract, SessionContract, assert_answers
from tiny_models import SIZE_HW, Model, conv_mean

from sightline.errors import BackendError
from sightline.runtime import tensorrt as tensorrt_backend
from sightline.runtime.open import open_session
from sightline.runtime.session import Session


class TestOnnxRuntime(OnnxContract):
    backend = "onnxruntime"


class TestOpenVino(OnnxContract):
    backend = "openvino"

    def test_it_offers_only_what_the_processor_computes_in(self, model: Model) -> None:
        import openvino

        capable = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        for precision, capability in {"float32": "FP32", "bfloat16": "BF16", "float16": "FP16"}.items():
            if capability in capable:
                with self.open(model.path, precision=precision) as session:
                    assert session.precision == precision
                    assert session.run(model.feeds(2))["features"].dtype == np.float32
            else:
                with pytest.raises(BackendError, match=f"precision '{precision}' cannot be had here, only float32"):
                    self.open(model.path, precision=precision)

    @pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="signals of this kind are POSIX")
    def test_a_signal_is_survived_after_sessions_were_closed_in_the_order_they_were_opened(self, model: Model) -> None:
        program = (
            "import os, signal, sys\n"
            "from sightline.runtime.open import open_session\n"
            "signal.signal(signal.SIGUSR1, lambda *_: print('heard'))\n"
            "first, second = (open_session(sys.argv[1], 'openvino') for _ in range(2))\n"
            "first.close(); del first\n"
            "second.close(); del second\n"
            "os.kill(os.getpid(), signal.SIGUSR1)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, str(model.path)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr

    def test_a_model_saved_as_xml_answers_as_its_onnx_does(self, model: Model, tmp_path: Path) -> None:
        import openvino

        openvino.save_model(openvino.convert_model(model.path), tmp_path / "conv.xml", compress_to_fp16=False)
        feeds = model.feeds(5)
        with open_session(tmp_path / "conv.xml") as session:
            assert session.backend == "openvino"
            assert (session.inputs, session.outputs) == (model.inputs, model.outputs)
            assert_answers(session.run(feeds), model.answer(feeds))


class TestTorch(SessionContract):
    backend = "torch"
    lane_rounds = 2

    @pytest.fixture
    def model(self, osnets: Osnets) -> Model:
        return checkpoint_model(osnets.checkpoint("osnet_x0_25"), osnets.onnx("osnet_x0_25", size_hw=SMALL_HW))

    def test_an_image_too_small_for_the_network_is_refused_with_its_shape(self, session: Session) -> None:
        with pytest.raises(BackendError, match=r"torch failed to run osnet_x0_25 on \[1, 3, 2, 2\]"):
            session.run({"input": np.zeros((1, 3, 2, 2), np.float32)})


class TestUntrained(SessionContract):
    backend = "untrained"
    lane_rounds = 2

    @pytest.fixture
    def model(self, osnets: Osnets, tmp_path: Path) -> Model:
        nowhere = tmp_path / "osnet_x0_25_msmt17.onnx"
        return checkpoint_model(nowhere, osnets.untrained_onnx("osnet_x0_25", seed=0))

    def open(self, path: Path, **how: Any) -> Session:
        return super().open(path, allow_untrained=True, **how)

    def test_another_seed_is_another_network(self, session: Session, model: Model) -> None:
        feeds = model.feeds(1)
        with self.open(model.path, seed=1) as other:
            assert other.card.fingerprint != session.card.fingerprint
            assert np.abs(other.run(feeds)["features"] - session.run(feeds)["features"]).max() > 0.01

    def test_it_is_refused_where_it_was_not_allowed(self, model: Model) -> None:
        with pytest.raises(BackendError, match="is random weights; it must be allowed"):
            open_session(model.path, "untrained")


class TestCann(OnnxContract):
    """Ascend, through ONNX Runtime's provider."""

    backend = "onnxruntime"
    device = "ascend:0"

    @pytest.fixture(autouse=True)
    def _needs_an_ascend(self) -> None:
        import onnxruntime

        available = onnxruntime.get_available_providers()
        if "CANNExecutionProvider" not in available:
            pytest.skip(f"this onnxruntime has {', '.join(available)}, not CANNExecutionProvider")


class TestTensorRt(SessionContract):
    """Engines built here from the same tiny convolution."""

    backend = "tensorrt"
    device = "cuda:0"
    precision = "engine"

    @pytest.fixture(autouse=True)
    def _needs_tensorrt(self) -> None:
        reason = tensorrt_backend.missing()
        if reason:
            pytest.skip(reason)

    @pytest.fixture
    def model(self, tmp_path: Path) -> Model:
        onnx = conv_mean(tmp_path / "conv_mean.onnx")
        engine = tmp_path / "conv_mean.engine"
        engine.write_bytes(built_engine(onnx.path))
        return Model(engine, onnx.inputs, onnx.outputs, onnx.feeds, onnx.answer)


def built_engine(onnx: Path, *, largest_batch: int = 64) -> bytes:
    import tensorrt

    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    network = builder.create_network(0)
    parser = tensorrt.OnnxParser(network, logger)
    assert parser.parse(onnx.read_bytes())
    profile = builder.create_optimization_profile()
    profile.set_shape("images", (1, 3, *SIZE_HW), (8, 3, *SIZE_HW), (largest_batch, 3, *SIZE_HW))
    config = builder.create_builder_config()
    config.clear_flag(tensorrt.BuilderFlag.TF32)  # which would answer with ten bits of mantissa
    config.add_optimization_profile(profile)
    return bytes(builder.build_serialized_network(network, config))
