"""What is wrong with a sound model file as a model of people."""

from __future__ import annotations

from collections.abc import Iterator

from sightline.deploy.doctor.model import Model
from sightline.deploy.doctor.rules import Finding, Place, Rule
from sightline.reid.embedder import CLASSIFIER_WIDTHS

# The newest opset that the TensorRT of a DeepStream can have known: that of the onnx release before it. TensorRT 10.9
# (DeepStream 8) came before onnx 1.18 and its opset 23; the published list of 10.15 ends at 24.
NEWEST_OPSET = {8: 22, 9: 24}

ONNX007 = Rule(
    "ONNX007",
    "error",
    "the output is not one vector an image",
    "A gallery compares rows of (N, D). An output of four dimensions is a feature map: the pooling at the end of the "
    "network was lost in the export, and its numbers would be compared position by position.",
    "Export the network with its pooling and embedding layer; `sightline export` does.",
    bad="output: embedding [N, 512, 16, 8]",
    good="output: embedding [N, 512]",
)
ONNX008 = Rule(
    "ONNX008",
    "error",
    "the output is the classifier of the training set",
    "751 (Market-1501), 702 (DukeMTMC), 767 (CUHK03), 1041 and 4101 (MSMT17) are numbers of training identities, "
    "1000 are the classes of ImageNet. Such scores say which of those somebody resembles; they do not tell new "
    "people apart.",
    "Export the network without its classifier.",
    bad="output: logits [N, 751]",
    good="output: embedding [N, 512]",
)
ONNX009 = Rule(
    "ONNX009",
    "warning",
    "the output is half precision",
    "A probe that reads two-byte numbers as float32 gets garbage, and reads past the end of the buffer: the "
    'process ends with a segmentation fault, in Jupyter with "Kernel died".',
    "Export with a float32 output and let network-mode=2 make the engine FP16; or check the layer's data type in "
    "the probe.",
    bad="output: embedding float16[N, 512]",
    good="output: embedding float32[N, 512]",
)
ONNX010 = Rule(
    "ONNX010",
    "warning",
    "the opset is newer than TensorRT's parser knows",
    "An engine is built from the ONNX file on the target, by the TensorRT of that DeepStream. It refuses "
    "operators of an opset it has never heard of.",
    "Export with an older opset; 17 does for every network here.",
    bad="opset 24",
    good="opset 17",
)
ONNX012 = Rule(
    "ONNX012",
    "error",
    "the weights never learned to tell people apart",
    "torchreid's build_model(pretrained=True) loads the ImageNet classifier, not a re-identification model: the "
    "vectors look sound and rank Market-1501 at 13 % instead of 94 %. Random weights give everybody the same "
    "vector.",
    "Load a re-identification checkpoint before exporting; `sightline export` refuses anything else.",
)
ONNX013 = Rule(
    "ONNX013",
    "warning",
    "the model takes one size of batch only",
    "trtexec refuses explicit shapes for it, so no engine of another batch can be built by hand, and a scene with more "
    "people than the batch is run in turns. nvinfer can usually override it, unless a Reshape holds it too.",
    "Export it with an open batch: `sightline export` does unless told otherwise.",
    bad="input: float32[1, 3, 256, 128]",
    good="input: float32[batch, 3, 256, 128]",
)
ONNX014 = Rule(
    "ONNX014",
    "error",
    "the batch is a constant within the graph",
    "A Reshape was exported with the batch of the example written into it, as PyTorch's newer exporter does for OSNet. "
    "Any other batch fails, or rows of several people end up in one vector.",
    "Export it with the tracing exporter (`sightline export`), and run `sightline doctor MODEL --probe`.",
    bad="input: float32[batch, 3, 256, 128], Reshape to [1, 512]",
    good="input: float32[batch, 3, 256, 128], Flatten",
)
ONNX015 = Rule(
    "ONNX015",
    "note",
    "the model does not say what it should be fed",
    "A graph tells names, sizes and types. It tells neither colour order, mean and deviation, nor whether anybody "
    "trained it; so nobody can check a configuration against it, which is how wrong preprocessing stays "
    "unnoticed.",
    "Write it down once: `sightline inspect MODEL --pixels torchreid --write WITH_CARD.onnx`.",
)
RULES = (ONNX007, ONNX008, ONNX009, ONNX010, ONNX012, ONNX013, ONNX014, ONNX015)


def model_findings(model: Model, *, for_reid: bool, deepstream: tuple[int, int]) -> Iterator[Finding]:
    """All about one file. `for_reid`: somebody uses it to tell people apart, whatever it looks like."""
    yield from model.problems
    if model.file is None:
        return
    yield from _opset(model, deepstream)
    if for_reid or _looks_like_an_embedder(model):
        yield from _output(model)
        yield from _batch(model)
        yield from _weights(model)


def _looks_like_an_embedder(model: Model) -> bool:
    """An image in, and one row of numbers or one feature map an image out; a card of another task says no."""
    if model.carries_card and model.card is not None:
        return model.is_of_people
    outputs = model.file.outputs if model.file else ()
    return model.image is not None and len(outputs) == 1 and len(outputs[0].shape) in {2, 4}


def _opset(model: Model, deepstream: tuple[int, int]) -> Iterator[Finding]:
    newest = NEWEST_OPSET.get(deepstream[0])
    if model.file is not None and newest is not None and model.file.opset > newest:
        expected = f"opset {newest} or older, for the TensorRT of DeepStream {deepstream[0]}.{deepstream[1]}"
        yield ONNX010.found(Place(model.path), f"opset {model.file.opset}", expected)


def _output(model: Model) -> Iterator[Finding]:
    place, outputs = Place(model.path), model.file.outputs if model.file else ()
    rows = [spec for spec in outputs if len(spec.shape) == 2]
    unknown = any(spec.shape == () for spec in outputs)
    if not rows and not unknown:
        yield ONNX007.found(place, ", ".join(map(str, outputs)) or "no output", "one output (N, D)")
    known_net = model.card is not None and model.card.arch != "unknown"
    for spec in rows if len(rows) == 1 and not known_net else ():
        if spec.shape[1] in CLASSIFIER_WIDTHS:
            yield ONNX008.found(place, spec, "an embedding")
    for spec in outputs:
        if spec.dtype == "float16":
            yield ONNX009.found(place, spec, "float32")


def _batch(model: Model) -> Iterator[Finding]:
    place, fixed = Place(model.path), model.fixed_batch
    if fixed is not None:
        known = model.carries_card and model.card is not None and model.card.image is not None
        yield ONNX013.found(place, f"batches of {fixed}", "an open batch", severity="note" if known else "warning")
    elif model.image is not None and model.graph is not None and model.graph.constant_batches:
        first = model.graph.constant_batches[0]
        yield ONNX014.found(
            place, f"a Reshape to batch {first}, with an open batch declared", "an open batch throughout"
        )


def _weights(model: Model) -> Iterator[Finding]:
    if model.card is None:
        return
    place = Place(model.path)
    if model.card.weights in {"untrained", "imagenet"}:
        yield ONNX012.found(place, f"{model.card.weights} weights, by the model's card", "re-identification weights")
    unknowns = model.card.unknowns()
    if unknowns:
        yield ONNX015.found(place, f"nobody says: {'; '.join(unknowns)}", "a card in the file")
