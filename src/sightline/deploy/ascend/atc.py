"""ONNX to .om: the `atc` command of a fixed-batch file, and running it where CANN is installed."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from sightline.deploy.ascend.command import Command
from sightline.errors import BackendError, ConfigError, ModelFormatError
from sightline.onnx_file import read_onnx, require_whole

SOC_VERSIONS = ("310", "310P3", "910")
ONNX_FRAMEWORK = 5  # atc's number for it
LOG_LEVELS = ("debug", "info", "warning", "error", "null")
NO_ATC = "atc is not on the PATH; on a machine with CANN: source /usr/local/Ascend/ascend-toolkit/set_env.sh"


def soc_name(text: str) -> str:
    """ "Ascend310P3" for "310P3". Newer chips (310B4, 910B3, …) have names of their own: `npu-smi info` shows them."""
    said = re.fullmatch(r"(?:Ascend)?(\d{3}[0-9A-Za-z_]*)", text)
    if said is None:
        raise ConfigError(
            f"no SoC version {text!r}; expected {', '.join(SOC_VERSIONS)}, or the name npu-smi info shows"
        )
    return f"Ascend{said[1]}"


def chips_per_card(soc: str) -> int:
    """Four on the card of 310s, whose throughput is counted as four times that of a chip; one on all others."""
    return 4 if soc_name(soc) == "Ascend310" else 1


@dataclass(frozen=True)
class Conversion:
    """One file to be converted, by a command that runs in the folder of the file."""

    source: Path
    target: Path  # the .om
    command: Command

    def run(self) -> None:
        """Raises `BackendError` when atc fails, or says it did not and left no file."""
        self.command.run()
        if not self.target.is_file():
            raise BackendError(f"atc ended well but left no {self.target}; the command was: {self.command}")


def conversion(model: Path, *, soc: str = "310", log: str = "debug") -> Conversion:
    """How a fixed-batch ONNX becomes an .om beside it. Its input name and shape are read from the file."""
    stem = model.stem.removesuffix("_sim")
    argv = (
        "atc",
        f"--framework={ONNX_FRAMEWORK}",
        f"--model=./{model.name}",
        "--input_format=NCHW",
        f"--input_shape={input_shape(model)}",
        f"--output={stem}",
        f"--log={log}",
        f"--soc_version={soc_name(soc)}",
    )
    return Conversion(model, model.with_name(f"{stem}.om"), Command(argv, model.parent))


def input_shape(model: Path) -> str:
    """ "image:1,3,256,128". An open dimension is a `ModelFormatError`: atc would take it for the wrong number."""
    file = read_onnx(model)
    require_whole(file)
    if len(file.inputs) != 1 or len(file.inputs[0].shape) != 4:
        raise ModelFormatError(f"{model} takes {', '.join(map(str, file.inputs))}; expected one image (N, 3, H, W)")
    spec = file.inputs[0]
    if None in spec.shape:
        raise ModelFormatError(
            f"{model} takes {spec}, which leaves sizes open; fix them with `sightline ascend export`"
        )
    return f"{spec.name}:{','.join(map(str, spec.shape))}"


def atc_missing() -> str:
    """Why nothing can be converted here; empty when it can."""
    return "" if shutil.which("atc") else NO_ATC
