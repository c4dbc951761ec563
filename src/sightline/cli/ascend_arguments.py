"""The flags of `sightline ascend ACTION`. Where the guide has a script or a tool, its words are understood as well."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from sightline.card import PIXELS
from sightline.cli.model_arguments import positive, size_hw
from sightline.deploy.ascend.atc import LOG_LEVELS, SOC_VERSIONS
from sightline.deploy.ascend.batches import BATCHES

DATASETS = ("market1501", "duke")  # those laid out as Market-1501 is
Action = Callable[[str, str], argparse.ArgumentParser]


def whole_numbers(text: str) -> tuple[int, ...]:
    """(1, 16) for "1,16"."""
    return tuple(dict.fromkeys(positive(part.strip()) for part in text.split(",")))


def _from_zero(text: str) -> int:
    return 0 if text == "0" else positive(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number, e.g. 0.01") from exc
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to below 1, e.g. 0.01")
    return share


def _true_or_false(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise argparse.ArgumentTypeError(f"{text!r} is neither True nor False")
    return text.lower() == "true"


def configure_actions(action: Action) -> None:
    _export(action("export", "a checkpoint, or an ONNX, to simplified files of one batch size each"))
    _atc(action("atc", "the atc commands for those files; run where atc is, printed otherwise"))
    _preprocess(action("preprocess", "a folder of images to .bin files"))
    _info(action("info", "a folder of .bin files, or of images, to a .info list"))
    _infer(action("infer", "a dump of every input of a list, or the speed over rounds of noise"))
    _metrics(action("metrics", "rank-1 and mAP of two folders of dumps"))
    _report(action("report", "accuracy against the source, and throughput by batch size"))
    _run(action("run", "the whole chain, from the model to the report"))


def _add_source(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("-w", "--weights", type=Path, metavar="FILE", help="a checkpoint, or an ONNX of any batch")
    source.add_argument("--untrained", action="store_true", help="random weights of --arch, to try the chain")
    parser.add_argument("-a", "--arch", help="the network (default: told from the checkpoint)")
    parser.add_argument("--partial", action="store_true", help="accept weights that do not fill the network")
    parser.add_argument("--unsafe-pickle", action="store_true", help="load a checkpoint that may run code")
    parser.add_argument("--batches", type=whole_numbers, default=BATCHES, metavar="N,N", help="(default: 1,4,8,16,32)")
    _add_claims(parser)


def _add_claims(parser: argparse.ArgumentParser) -> None:
    claims = parser.add_argument_group("what a model without a card does not say")
    claims.add_argument("--pixels", choices=tuple(PIXELS), help="the pixels it was trained on")
    claims.add_argument("--size", type=size_hw, metavar="HEIGHTxWIDTH", help="the image size it was trained on")


def _add_soc(parser: argparse.ArgumentParser) -> None:
    known = ", ".join(SOC_VERSIONS)
    parser.add_argument(
        "--soc-version", default="310", metavar="SOC", help=f"{known}, or as npu-smi info shows it (default: 310)"
    )


def _export(parser: argparse.ArgumentParser) -> None:
    _add_source(parser)
    parser.add_argument("-o", "--output", type=Path, default=Path(), metavar="DIR", help="(default: this folder)")


def _atc(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="ONNX", help="files of a fixed batch")
    _add_soc(parser)
    parser.add_argument("--log", choices=LOG_LEVELS, default="debug", help="of atc (default: debug)")
    parser.add_argument("--print", action="store_true", dest="only_print", help="print, even where atc could be run")


def _preprocess(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="IMAGES", help="a folder, e.g. bounding_box_test")
    parser.add_argument("target", type=Path, metavar="BINS", help="the folder to write; made where missing")
    parser.add_argument(
        "-m", "--model", type=Path, help="an ONNX whose card says size and pixels (default: the guide's)"
    )
    parser.add_argument("--workers", type=positive, default=2, metavar="N", help="threads (default: 2)")
    _add_claims(parser)


def _info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=("bin", "jpg"), help="what the folder holds")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the inputs are")
    parser.add_argument("target", type=Path, metavar="LIST.info", help="the file to write")
    parser.add_argument("width", nargs="?", type=positive, metavar="WIDTH", help="of a .bin, e.g. 128")
    parser.add_argument("height", nargs="?", type=positive, metavar="HEIGHT", help="of a .bin, e.g. 256")


def _infer(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-m", "--model", "-om_path", type=Path, required=True, metavar="FILE", help="an .onnx, or an .om")
    add("--info", "-input_text_path", type=Path, metavar="LIST", help="the inputs; without it, rounds of noise")
    add("--device-id", "-device_id", type=_from_zero, default=0, metavar="N", help="and N of dumpOutput_deviceN")
    add("--batch-size", "-batch_size", type=positive, metavar="N", help="(default: the file's own, or 1)")
    add("--round", "-round", type=positive, default=50, metavar="N", help="rounds of noise (default: 50)")
    add(
        "--output-binary", "-output_binary", type=_true_or_false, default=False, metavar="BOOL", help="_1.bin, not .txt"
    )
    add("--work", type=Path, default=Path(), metavar="DIR", help="of result/ and of the list's paths (default: here)")
    add("--restart", action="store_true", help="remove the dumps of an earlier run first")
    add("--no-fallback", action="store_true", help="fail where there is no Ascend to run it")
    guide = parser.add_argument_group("of the guide's benchmark tool, checked or passed over")
    guide.add_argument("-input_width", type=positive, metavar="N", help="must be that of the list")
    guide.add_argument("-input_height", type=positive, metavar="N", help="must be that of the list")
    guide.add_argument("-model_type", choices=("vision",), help="the only kind there is here")
    guide.add_argument("-useDvpp", type=_true_or_false, metavar="BOOL", help="must be False: inputs are .bin files")


def _metrics(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("query", type=Path, metavar="QUERY", help="a folder of dumps")
    parser.add_argument("gallery", type=Path, metavar="GALLERY", help="a folder of dumps")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(), metavar="DIR", help="where the result goes")
    parser.add_argument("name", nargs="?", default="result_bs1.json", metavar="NAME", help="(default: result_bs1.json)")
    parser.add_argument("--query-info", type=Path, metavar="LIST", help="the inputs there must be a dump of")
    parser.add_argument("--gallery-info", type=Path, metavar="LIST", help="the inputs there must be a dump of")
    parser.add_argument("--dim", type=positive, metavar="N", help="numbers in a dump (default: as in the first)")
    parser.add_argument("--json", action="store_true", help="print all that was measured, as JSON")


def _add_comparison(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", metavar="FIGURES", help="of the source: 94.2,82.6 (R1,mAP), or a metrics.json")
    parser.add_argument(
        "--tolerance", type=_share, default=0.01, metavar="SHARE", help="that may be lost (default: 0.01)"
    )


def _report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("work", nargs="?", type=Path, default=Path(), metavar="DIR", help="(default: this folder)")
    _add_comparison(parser)
    _add_soc(parser)
    parser.add_argument(
        "--model", default="", metavar="NAME", help="whose speeds, e.g. osnet_x1_0, where there are more"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def _run(parser: argparse.ArgumentParser) -> None:
    _add_source(parser)
    parser.add_argument("--dataset", required=True, metavar="NAME", help=f"{' or '.join(DATASETS)}, or its folder")
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="where the dataset is")
    parser.add_argument("--work", type=Path, default=Path("ascend"), metavar="DIR", help="(default: ascend)")
    parser.add_argument("--ranked", type=whole_numbers, default=(1,), metavar="N,N", help="batches ranked (default: 1)")
    parser.add_argument("--round", type=positive, default=50, metavar="N", help="rounds of noise (default: 50)")
    parser.add_argument("--output-binary", type=_true_or_false, default=False, metavar="BOOL", help="_1.bin, not .txt")
    parser.add_argument("--restart", action="store_true", help="remove the dumps of an earlier run first")
    parser.add_argument("--no-fallback", action="store_true", help="fail where there is no Ascend")
    _add_comparison(parser)
    _add_soc(parser)
