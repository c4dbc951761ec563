"""Programs that speak as CANN's do, over the same files and flags: small, but they really read, compute and write.

Each takes the mean of every channel of a `.bin`, which is what `mean_colour_model` computes.
"""

from __future__ import annotations

import sys
from pathlib import Path

SHARED = f"""#!{sys.executable}
import sys
from pathlib import Path
import numpy as np

def means(path, channels=3):
    return np.fromfile(path, "<f4").reshape(channels, -1).mean(axis=1)

def flags(prefix):
    pairs = (argument[len(prefix):].partition("=") for argument in sys.argv[1:] if argument.startswith(prefix))
    return {{name: value for name, _, value in pairs}}
"""

BENCHMARK = (
    SHARED
    + """
said = flags("-")
device = said["device_id"]
Path("result").mkdir(exist_ok=True)
if "round" in said:
    name = f"PureInfer_perf_of_{Path(said['om_path']).stem}_in_device_{device}.txt"
    Path("result", name).write_text("ave_throughputRate = 240.622samples/s, ave_latency = 4.24716ms\\n")
    print("[INFO] ave_throughputRate: 240.622samples/s, ave_latency: 4.24716ms")
    sys.exit()
assert said["model_type"] == "vision" and said["useDvpp"] == "False", said
assert (said["input_width"], said["input_height"]) == ("8", "16"), said
out = Path("result", f"dumpOutput_device{device}")
out.mkdir(exist_ok=True)
for line in Path(said["input_text_path"]).read_text().splitlines():
    index, path, width, height = line.split(" ")
    row = means(path)
    if said["output_binary"] == "True":
        row.astype("<f4").tofile(out / (Path(path).stem + "_1.bin"))
    else:
        (out / (Path(path).stem + "_1.txt")).write_text(" ".join(map(str, row.tolist())) + " ")
"""
)

AIS_BENCH = (
    SHARED
    + """
said = flags("--")
if "loop" in said:
    print("[INFO] NPU_compute_time (ms): min = 24.8, max = 25.2, mean = 25.0, median = 25.0, percentile(99%) = 25.2")
    print(f"[INFO] throughput 1000*batchsize.mean({said['batchsize']})/NPU_compute_time.mean(25.0): 640.0")
    sys.exit()
out = Path(said["output"], said["output_dirname"])
out.mkdir(parents=True)
for path in sorted(Path(said["input"]).glob("*.bin")):
    row = means(path)
    if said["outfmt"] == "BIN":
        row.astype("<f4").tofile(out / f"{path.stem}_0.bin")
    else:
        np.savetxt(out / f"{path.stem}_0.txt", row[None])
Path(said["output"], said["output_dirname"] + "_summary.json").write_text("{}")
"""
)

MSAME = (
    SHARED
    + """
said = flags("--")
if "input" not in said:
    print("Inference average time : 4.25 ms")
    print("Inference average time without first time: 4.20 ms")
    sys.exit()
out = Path(said["output"], "20260101_12_00_00_000000")
out.mkdir(parents=True)
for path in sorted(Path(said["input"]).glob("*.bin")):
    means(path).astype("<f4").tofile(out / f"{path.stem}_output_0.bin")
"""
)

ATC = (
    SHARED
    + """
said = flags("--")
assert said["framework"] == "5" and said["input_format"] == "NCHW", said
if not Path(said["model"]).is_file():
    print("ATC run failed, Please check the detail log")
    print("E10001: Value [" + said["model"] + "] for parameter [--model] is invalid.")
    sys.exit(255)
Path(said["output"] + ".om").write_bytes(b"om" + said["input_shape"].encode())
print("ATC run success, welcome to the next use.")
"""
)

SILENT_FAILURE = f"#!{sys.executable}\nimport sys\nsys.exit(1)\n"
DOES_NOTHING = f"#!{sys.executable}\n"


def install(folder: Path, name: str, program: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(program, encoding="utf-8")
    path.chmod(0o755)
    return path


def install_module(folder: Path, name: str, program: str) -> None:
    """A package that `python -m` runs."""
    package = folder / name
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(program, encoding="utf-8")
