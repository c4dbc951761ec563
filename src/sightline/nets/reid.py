"""The network that is trained: an OSNet whose neck keeps what is compared apart from what is classified.

::

    images → backbone → global average → neck → pre_bn    for the metric loss
                                              → post_bn   compared by cosine, and exported
                                                → classifier → logits

Cross entropy wants features that fan out by angle, a metric loss wants them close by distance; on one vector the two
pull against each other, and a batch norm between two vectors settles it (Luo et al., Bag of Tricks, CVPRW 2019). But
for the head all parameters have OSNet's names, so published and ImageNet weights start any of these networks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple, cast, get_args, overload

import torch
from torch import Tensor, nn
from torch.nn import functional

from sightline.errors import CardError, CheckpointError, ConfigError
from sightline.nets.checkpoint import Checkpoint, Coverage, State, guess_arch, load_into
from sightline.nets.osnet import ArchSpec, OSNet, arch_named, seeded

Task = Literal["reid", "classification", "both"]


class ReidOutput(NamedTuple):
    """All a training step needs of one batch."""

    pre_bn: Tensor  # (N, reid_dim), for metric losses
    post_bn: Tensor  # (N, reid_dim), what the classifier sees and what is compared
    logits: Tensor  # (N, num_classes); of the head "arcface" cosines, to which the loss adds margin and scale


class CosineClassifier(nn.Linear):
    """One centre per class. The logits are the cosines to them, so how long a centre is does not matter."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__(features, classes, bias=False)
        nn.init.normal_(self.weight, std=0.01)

    def forward(self, input: Tensor) -> Tensor:
        """(N, features) to (N, classes). Never in half precision, in which near the centre all angles are one."""
        with torch.autocast(input.device.type, enabled=False):
            unit = functional.normalize(input.to(self.weight.dtype))
            return functional.linear(unit, functional.normalize(self.weight))


def _bottleneck(inputs: int, outputs: int) -> nn.Sequential:
    """Without a bias in the norm and in the classifier, the classes are parted by hyperplanes through the origin."""
    neck = _neck(inputs, outputs, reduce=inputs != outputs)
    neck.get_parameter("bn.bias").requires_grad_(False)
    return neck


def _face(inputs: int, outputs: int) -> nn.Sequential:
    return _neck(inputs, outputs, reduce=True)


def _neck(inputs: int, outputs: int, *, reduce: bool) -> nn.Sequential:
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    if reduce:
        linear = nn.Linear(inputs, outputs, bias=False)
        # Keeps distances at their scale, and so a margin on them at its meaning, whatever the two dimensions.
        nn.init.kaiming_normal_(linear.weight, mode="fan_out", nonlinearity="linear")
        parts["linear"] = linear
    parts["bn"] = nn.BatchNorm1d(outputs)
    return nn.Sequential(parts)


def _plain_classifier(features: int, classes: int) -> nn.Linear:
    classifier = nn.Linear(features, classes, bias=False)
    nn.init.normal_(classifier.weight, std=0.001)
    return classifier


def _around_norm(neck: nn.Sequential, pooled: Tensor) -> tuple[Tensor, Tensor]:
    before: Tensor = neck[:-1](pooled)
    return before, neck[-1](before)


def _one_for_both(fc: nn.Sequential, pooled: Tensor) -> tuple[Tensor, Tensor]:
    vectors: Tensor = fc(pooled)
    return vectors, vectors


@dataclass(frozen=True)
class Head:
    """What follows the global average. The maker of its neck and its classifier: None for OSNet's own."""

    name: str
    module: str  # the attribute its neck is, and so the first part of its parameters' names
    norm: str  # where in the network its batch norm is; it has reid_dim channels
    split: Callable[[nn.Sequential, Tensor], tuple[Tensor, Tensor]]  # (neck, pooled) to (pre_bn, post_bn)
    makers: tuple[Callable[[int, int], nn.Sequential], Callable[[int, int], nn.Linear]] | None = None


HEADS: Mapping[str, Head] = MappingProxyType(
    {
        head.name: head
        for head in (
            Head("bnneck", "neck", "neck.bn", _around_norm, (_bottleneck, _plain_classifier)),
            # The published layout, to go on training published weights: both losses share the vector after the ReLU.
            Head("torchreid", "fc", "fc.1", _one_for_both),
            Head("arcface", "face", "face.bn", _around_norm, (_face, CosineClassifier)),
        )
    }
)

_FROZEN = "neck.bn.bias"
_HEAD_MODULES = frozenset({"classifier", *(head.module for head in HEADS.values())})


def head_named(name: str) -> Head:
    """The head of that name. Raises `ConfigError` with all names."""
    if name not in HEADS:
        raise ConfigError(f"no head {name!r}; expected one of {', '.join(HEADS)}")
    return HEADS[name]


def build_reid(
    arch: str,
    *,
    num_classes: int,
    head: str = "bnneck",
    reid_dim: int = 512,
    last_stride_1: bool = False,
    seed: int | None = None,
) -> ReidNet:
    """A network with fresh weights, in training mode on the CPU; with 0 classes one that only compares.

    `seed` as in `build_osnet`. Raises `UnknownArchError`, and `ConfigError` for an unknown head or impossible sizes.
    """
    spec, chosen = arch_named(arch), head_named(head)
    if num_classes < 0 or reid_dim < 1:
        raise ConfigError(f"num_classes is {num_classes} and reid_dim {reid_dim}; expected at least 0 and 1")
    with seeded(seed):
        return ReidNet(spec, num_classes=num_classes, head=chosen, reid_dim=reid_dim, last_stride_1=last_stride_1)


class ReidNet(OSNet):
    """Images (N, 3, H, W) to vectors (N, reid_dim) that are not L2-normalised, and on request to what a loss needs.

    `last_stride_1` leaves out the last halving of the maps: twice the detail in each direction, for some more work.
    """

    def __init__(
        self, spec: ArchSpec, *, num_classes: int, head: Head, reid_dim: int = 512, last_stride_1: bool = False
    ) -> None:
        super().__init__(spec, num_classes=num_classes, feature_dim=reid_dim)
        self.head = head
        self.last_stride_1 = last_stride_1
        if last_stride_1:
            # In its place, so that no parameter is renamed.
            self.set_submodule("pool3.1" if spec.family == "ain" else "conv3.2.1", nn.Identity())
        if head.makers is not None:
            make_neck, make_classifier = head.makers
            del self.fc
            self.add_module(head.module, make_neck(spec.channels[-1], reid_dim))
            self.classifier = make_classifier(reid_dim, num_classes) if num_classes else None

    @overload
    def forward(self, images: Tensor, task: Literal["reid", "classification"] = "reid") -> Tensor: ...

    @overload
    def forward(self, images: Tensor, task: Literal["both"]) -> ReidOutput: ...

    def forward(self, images: Tensor, task: Task = "reid") -> Tensor | ReidOutput:
        """The vectors to compare ("reid"), the logits ("classification"), or all ("both"); in training as in eval.

        Raises `ConfigError` for another task, or for logits where there are no classes.
        """
        pooled = torch.flatten(self.global_avgpool(self.feature_map(images)), 1)
        pre_bn, post_bn = self.head.split(self.neck_module, pooled)
        if task == "reid":
            return post_bn
        if task not in get_args(Task):
            raise ConfigError(f"no task {task!r}; expected one of {', '.join(get_args(Task))}")
        if self.classifier is None:
            raise ConfigError(f"task {task!r} needs a classifier; expected a network built with num_classes")
        logits: Tensor = self.classifier(post_bn)
        return logits if task == "classification" else ReidOutput(pre_bn, post_bn, logits)

    @property
    def neck_module(self) -> nn.Sequential:
        """Whatever stands between the global average and the vectors: `neck`, `fc` or `face`, as the head has it."""
        return cast(nn.Sequential, self.get_submodule(self.head.module))

    def backbone_parameters(self) -> Iterator[nn.Parameter]:
        """Those that published weights can fill, frozen ones included."""
        return (parameter for name, parameter in self.named_parameters() if not _in_head(name))

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Those that always start fresh. A bias that is frozen at 0 is left out: nobody should thaw it by accident."""
        return (parameter for name, parameter in self.named_parameters() if _in_head(name) and name != _FROZEN)


def start_from(net: ReidNet, checkpoint: Checkpoint) -> Coverage:
    """Fill the whole backbone with published, ImageNet or earlier weights, and of the head what has names and shapes.

    Raises `CheckpointError`, `net` untouched, when a part of the backbone would have kept its random weights.
    """
    state = checkpoint.state
    shapes = {name: tensor.shape for name, tensor in net.state_dict().items() if not _in_head(name)}
    required = {name: shape for name, shape in shapes.items() if not name.endswith("num_batches_tracked")}
    unfilled = [name for name, shape in required.items() if name not in state or state[name].shape != shape]
    if unfilled:
        raise CheckpointError(
            f"{checkpoint.origin} holds weights of {guess_arch(state) or 'no OSNet'}, which leave {len(unfilled)} of "
            f"{len(required)} backbone tensors unfilled ({unfilled[0]} first); expected weights of {net.spec.name}"
        )
    return load_into(net, checkpoint, partial=True)


def reid_facts(net: ReidNet) -> dict[str, str]:
    """What the weights alone do not tell of their network, for `ModelCard.extra`; `rebuild` reads it."""
    return {"head": net.head.name, "last_stride_1": str(net.last_stride_1).lower()}


def rebuild(state: State, extra: Mapping[str, str]) -> ReidNet:
    """The network these weights are of, ready for `load_into` to fill it. Without facts, one of the published layout.

    Raises `CheckpointError` for weights of no OSNet or without the head that the facts say, `CardError` for such facts.
    """
    arch = guess_arch(state)
    if arch is None:
        raise CheckpointError("these tensors fit no network sightline knows; expected those of an OSNet")
    head = HEADS[_fact(extra, "head", HEADS, default="torchreid")]
    return build_reid(
        arch,
        num_classes=_rows(state, "classifier.weight") if "classifier.weight" in state else 0,
        head=head.name,
        reid_dim=_rows(state, f"{head.norm}.weight"),
        last_stride_1=_fact(extra, "last_stride_1", ("true", "false"), default="false") == "true",
    )


def _in_head(name: str) -> bool:
    return name.partition(".")[0] in _HEAD_MODULES


def _fact(extra: Mapping[str, str], key: str, expected: Collection[str], *, default: str) -> str:
    value = extra.get(key, default)
    if value not in expected:
        raise CardError(f"card extra.{key} is {value!r}; expected one of {', '.join(expected)}")
    return value


def _rows(state: State, name: str) -> int:
    tensor = state.get(name)
    if tensor is None or tensor.ndim == 0 or tensor.numel() == 0:
        raise CheckpointError(f"these weights have no {name}; expected the head that their card names")
    return tensor.shape[0]
