"""What sightline costs besides its arithmetic: memory over many images, and the time before it does anything.

    python benchmarks/footprint.py     # results to benchmarks/results/footprint.json

Memory is the peak resident size of a whole `sightline embed` process over folders of different sizes. Start-up is
processor time on top of a bare Python, which does not depend on what else the machine is doing as wall time would.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2

from embedding import MODELS, crops, export_models
from measuring import environment, keep

IMAGES = (500, 5_000, 20_000)
STARTS = 15

COMMANDS = {
    "python -c pass": ("-c", "pass"),
    "import sightline": ("-c", "import sightline"),
    "sightline --help": ("-m", "sightline", "--help"),
    "import onnxruntime, cv2, numpy": ("-c", "import onnxruntime, cv2, numpy"),
    "import torch": ("-c", "import torch"),
}


EMBED = """
import re, sys
from pathlib import Path
from sightline.cli import main
code = main(["embed", *sys.argv[1:], "-q"])
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
sys.exit(code)
"""


def peak_mb(arguments: Sequence[str]) -> float:
    """Peak resident megabytes of a process that embeds, by its own account.

    Not from the parent's resource usage: that peak includes the parent itself, copied for a moment by the fork.
    """
    done = subprocess.run([sys.executable, "-c", EMBED, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout.splitlines()[-1]) / 1024


def processor_ms(arguments: Sequence[str]) -> float:
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, _, usage = os.wait4(process.pid, 0)
    return 1e3 * (usage.ru_utime + usage.ru_stime)


def memory(folder: Path) -> dict[str, float]:
    pictures = [cv2.imencode(".jpg", crop)[1].tobytes() for crop in crops(100)]
    peaks = {}
    for count in IMAGES:
        images = folder / str(count)
        images.mkdir()
        for index in range(count):
            (images / f"{index:06}.jpg").write_bytes(pictures[index % len(pictures)])
        model, output = MODELS / "osnet_x0_25-uint8-None.onnx", folder / "features.npz"
        peaks[str(count)] = peak_mb((str(images), "-m", str(model), "-o", str(output)))
        shutil.rmtree(images)
    return peaks


def start_up() -> dict[str, float]:
    return {
        name: statistics.median(processor_ms(arguments) for _ in range(STARTS)) for name, arguments in COMMANDS.items()
    }


def main() -> None:
    export_models()
    with tempfile.TemporaryDirectory() as folder:
        results = {"peak_mb": memory(Path(folder)), "start_ms": start_up()}
    keep("footprint", {"environment": environment(("sightline", "onnxruntime", "numpy", "torch")), **results})


if __name__ == "__main__":
    main()
