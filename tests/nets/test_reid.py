from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sightline.card import ModelCard
from sightline.errors import CardError, CheckpointError, ConfigError, UnknownArchError
from sightline.nets.checkpoint import load_into, read_checkpoint, save_checkpoint, weights_fingerprint
from sightline.nets.osnet import ARCHS, build_osnet
from sightline.nets.reid import HEADS, ReidNet, ReidOutput, build_reid, rebuild, reid_facts, start_from

# What each head adds to a state dict, for 128 channels, 64-d features and 7 identities.
HEAD_KEYS = {
    "bnneck": {
        "neck.linear.weight": (64, 128),
        "neck.bn.weight": (64,),
        "neck.bn.bias": (64,),
        "neck.bn.running_mean": (64,),
        "neck.bn.running_var": (64,),
        "neck.bn.num_batches_tracked": (),
        "classifier.weight": (7, 64),
    },
    "torchreid": {
        "fc.0.weight": (64, 128),
        "fc.0.bias": (64,),
        "fc.1.weight": (64,),
        "fc.1.bias": (64,),
        "fc.1.running_mean": (64,),
        "fc.1.running_var": (64,),
        "fc.1.num_batches_tracked": (),
        "classifier.weight": (7, 64),
        "classifier.bias": (7,),
    },
    "arcface": {
        "face.linear.weight": (64, 128),
        "face.bn.weight": (64,),
        "face.bn.bias": (64,),
        "face.bn.running_mean": (64,),
        "face.bn.running_var": (64,),
        "face.bn.num_batches_tracked": (),
        "classifier.weight": (7, 64),
    },
}
FROZEN = "neck.bn.bias"
SMALL = "osnet_x0_25"


def small(
    head: str = "bnneck", *, num_classes: int = 7, reid_dim: int = 64, last_stride_1: bool = False, seed: int = 0
) -> ReidNet:
    return build_reid(
        SMALL, num_classes=num_classes, head=head, reid_dim=reid_dim, last_stride_1=last_stride_1, seed=seed
    )


def images(count: int = 3) -> Tensor:
    return torch.randn(count, 3, 64, 32, generator=torch.Generator().manual_seed(0))


def settled(net: ReidNet) -> ReidNet:
    """In eval, with batch norms that have seen images and are not the identity."""
    net.train()
    with torch.no_grad():
        for _ in range(3):
            net(images(8))
    return net.eval()


def shapes(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def is_backbone(name: str) -> bool:
    return name.startswith(("conv", "pool"))


def with_gradient(net: nn.Module) -> set[str]:
    return {name for name, parameter in net.named_parameters() if parameter.grad is not None and parameter.grad.any()}


# Names


@pytest.mark.parametrize("head", HEADS)
def test_a_head_adds_its_own_names_and_keeps_those_of_the_backbone(head: str) -> None:
    state = shapes(small(head).state_dict())
    assert {name: shape for name, shape in state.items() if not is_backbone(name)} == HEAD_KEYS[head]
    published = shapes(build_osnet(SMALL).state_dict())
    assert {name: shape for name, shape in state.items() if is_backbone(name)} == {
        name: shape for name, shape in published.items() if is_backbone(name)
    }


@pytest.mark.parametrize("arch", ARCHS)
def test_every_backbone_keeps_its_published_names(arch: str) -> None:
    published = build_osnet(arch, num_classes=5).state_dict()
    assert shapes(build_reid(arch, num_classes=5, head="torchreid").state_dict()) == shapes(published)
    neck = {name for name in build_reid(arch, num_classes=5, last_stride_1=True).state_dict() if is_backbone(name)}
    assert neck == {name for name in published if is_backbone(name)}


def test_a_neck_of_the_backbones_width_needs_no_linear_layer() -> None:
    assert "neck.linear.weight" in small(reid_dim=127).state_dict()
    assert "neck.linear.weight" not in small(reid_dim=128).state_dict()
    assert "face.linear.weight" in small("arcface", reid_dim=128).state_dict()


# What comes out


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("training", [True, False])
def test_each_task_gives_its_part_of_all(head: str, training: bool) -> None:
    net = small(head).train(training)
    both = net(images(), "both")
    assert isinstance(both, ReidOutput)
    assert [tuple(part.shape) for part in both] == [(3, 64), (3, 64), (3, 7)]
    torch.testing.assert_close(net(images()), both.post_bn)
    torch.testing.assert_close(net(images(), "reid"), both.post_bn)
    torch.testing.assert_close(net(images(), task="classification"), both.logits)


def test_the_neck_normalises_what_the_metric_loss_sees_and_classifies_the_result() -> None:
    net = settled(small())
    with torch.no_grad():
        pooled = net.feature_map(images()).mean((2, 3))
        both = net(images(), "both")
    state = net.state_dict()
    before = pooled @ state["neck.linear.weight"].T
    spread = (state["neck.bn.running_var"] + 1e-5).sqrt()
    after = (before - state["neck.bn.running_mean"]) / spread * state["neck.bn.weight"]
    torch.testing.assert_close(both.pre_bn, before)
    torch.testing.assert_close(both.post_bn, after)
    torch.testing.assert_close(both.logits, after @ state["classifier.weight"].T)


def test_without_a_linear_layer_the_metric_loss_sees_the_pooled_maps() -> None:
    net = settled(small(reid_dim=128))
    with torch.no_grad():
        torch.testing.assert_close(net(images(), "both").pre_bn, net.feature_map(images()).mean((2, 3)))


def test_the_torchreid_head_computes_what_osnet_does() -> None:
    net, published = small("torchreid"), build_osnet(SMALL, num_classes=7, feature_dim=64, loss="triplet", seed=1)
    published.load_state_dict(net.state_dict())
    logits, vectors = published(images())
    both = net(images(), "both")
    torch.testing.assert_close(both.logits, logits)
    torch.testing.assert_close(both.pre_bn, vectors)
    assert both.pre_bn is both.post_bn
    torch.testing.assert_close(net.eval()(images()), published.eval()(images()))


def test_the_arcface_head_gives_cosines_to_centres_of_any_length() -> None:
    net = settled(small("arcface"))
    with torch.no_grad():
        both = net(images(), "both")
    centres = net.state_dict()["classifier.weight"]
    expected = [[functional.cosine_similarity(vector, centre, dim=0) for centre in centres] for vector in both.post_bn]
    torch.testing.assert_close(both.logits, torch.tensor(expected))
    centres *= torch.arange(1.0, 8.0).unsqueeze(1)
    torch.testing.assert_close(net(images(), "classification"), both.logits)


def test_cosines_are_computed_in_full_precision_under_autocast() -> None:
    net = settled(small("arcface"))
    assert net.classifier is not None
    vectors = torch.randn(5, 64, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        cosines = net.classifier(vectors)
        from_halves = net.classifier(vectors.bfloat16())
    assert torch.equal(cosines, net.classifier(vectors))
    assert from_halves.dtype == torch.float32


@pytest.mark.parametrize("arch", ["osnet_x0_25", "osnet_ibn_x1_0", "osnet_ain_x0_25"])
def test_a_last_stride_of_1_doubles_the_map_and_renames_nothing(arch: str) -> None:
    halved = build_reid(arch, num_classes=2, seed=0).eval()
    kept = build_reid(arch, num_classes=2, last_stride_1=True, seed=0).eval()
    assert halved.feature_map(images(1)).shape[2:] == (4, 2)
    assert kept.feature_map(images(1)).shape[2:] == (8, 4)
    assert shapes(kept.state_dict()) == shapes(halved.state_dict())
    assert weights_fingerprint(kept.state_dict()) == weights_fingerprint(halved.state_dict())


@pytest.mark.parametrize("head", HEADS)
def test_a_network_without_classes_compares_and_says_why_it_cannot_classify(head: str) -> None:
    net = small(head, num_classes=0).eval()
    assert net(images()).shape == (3, 64)
    assert not any(name.startswith("classifier") for name in net.state_dict())
    with pytest.raises(ConfigError, match="task 'both' needs a classifier; expected a network built with num_classes"):
        net(images(), "both")


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(ConfigError, match="no head 'bnnek'; expected one of bnneck, torchreid, arcface"):
        small("bnnek")
    with pytest.raises(UnknownArchError, match=r"did you mean osnet_x1_0"):
        build_reid("osnet_x10", num_classes=2)
    with pytest.raises(ConfigError, match="num_classes is -1 and reid_dim 64; expected at least 0 and 1"):
        small(num_classes=-1)
    with pytest.raises(ConfigError, match="num_classes is 7 and reid_dim 0"):
        small(reid_dim=0)


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(ConfigError, match="no task 'embed'; expected one of reid, classification, both"):
        small()(images(), "embed")


# Fresh weights


@pytest.mark.parametrize("head", HEADS)
def test_a_seed_decides_all_weights_and_leaves_the_global_state_alone(head: str) -> None:
    torch.manual_seed(5)
    first = small(head, seed=3).state_dict()
    drawn_after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), drawn_after)
    second, other = small(head, seed=3).state_dict(), small(head, seed=4).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


def test_a_fresh_classifier_is_as_small_as_the_bag_of_tricks_has_it() -> None:
    state = build_reid(SMALL, num_classes=500, seed=0).state_dict()
    assert state["classifier.weight"].std().item() == pytest.approx(0.001, rel=0.02)


def test_a_fresh_neck_keeps_distances_at_their_scale() -> None:
    linear = small(reid_dim=64).state_dict()["neck.linear.weight"]
    vectors = torch.randn(200, 128, generator=torch.Generator().manual_seed(1))
    ratio = (vectors @ linear.T).norm(dim=1) / vectors.norm(dim=1)
    assert ratio.mean().item() == pytest.approx(1, rel=0.1)


# Gradients


def test_the_metric_loss_does_not_pass_the_batch_norm() -> None:
    net = small()
    net(images(), "both").pre_bn.square().sum().backward()
    learning = with_gradient(net)
    assert {"conv1.conv.weight", "conv5.conv.weight", "neck.linear.weight"} <= learning
    assert not {"neck.bn.weight", "neck.bn.bias", "classifier.weight"} & learning


def test_cross_entropy_passes_the_batch_norm_but_never_its_frozen_bias() -> None:
    net = small()
    functional.cross_entropy(net(images(), "both").logits, torch.tensor([0, 1, 2])).backward()
    assert {"conv1.conv.weight", "neck.linear.weight", "neck.bn.weight", "classifier.weight"} <= with_gradient(net)
    assert net.get_parameter(FROZEN).grad is None


def test_the_frozen_bias_is_zero_after_training_however_long() -> None:
    net = small()
    optimizer = torch.optim.AdamW([*net.backbone_parameters(), *net.head_parameters()], lr=0.1, weight_decay=0.1)
    for _ in range(3):
        functional.cross_entropy(net(images(), "classification"), torch.tensor([0, 1, 2])).backward()
        optimizer.step()
    assert not net.get_parameter(FROZEN).any()
    assert not torch.equal(net.get_parameter("neck.bn.weight"), torch.ones(64))


@pytest.mark.parametrize("head", HEADS)
def test_every_parameter_is_of_the_backbone_or_of_the_head(head: str) -> None:
    net = small(head)
    names = {parameter: name for name, parameter in net.named_parameters()}

    def named(parameters: Iterable[nn.Parameter]) -> set[str]:
        return {names[parameter] for parameter in parameters}

    assert named(net.backbone_parameters()) == {name for name in names.values() if is_backbone(name)}
    assert named(net.head_parameters()) == {name for name in HEAD_KEYS[head] if name in names.values()} - {FROZEN}


@pytest.mark.parametrize("head", HEADS)
def test_all_parameters_but_the_frozen_bias_learn_from_both_losses(head: str) -> None:
    net = small(head, seed=2)
    both = net(torch.randn(16, 3, 128, 64, generator=torch.Generator().manual_seed(3)), "both")
    (functional.cross_entropy(both.logits, torch.arange(16) % 7) + both.pre_bn.square().mean()).backward()
    without = {name for name, parameter in net.named_parameters() if parameter.grad is None}
    assert without == ({FROZEN} if head == "bnneck" else set())


# Weights of others


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A checkpoint as the public ones are: OSNet's names, a classifier of its own identities."""
    path = tmp_path / "published.pth"
    torch.save({"state_dict": build_osnet(SMALL, num_classes=751, seed=9).state_dict()}, path)
    return path


@pytest.mark.parametrize("head", HEADS)
def test_published_weights_fill_the_whole_backbone(head: str, published: Path) -> None:
    net = small(head, reid_dim=512)
    fresh = net.state_dict()["classifier.weight"].clone()
    coverage = start_from(net, read_checkpoint(published))
    assert not [name for name in coverage.missing if is_backbone(name)]
    assert not coverage.wrong_shape
    assert not coverage.classifier
    source = torch.load(published, weights_only=True)["state_dict"]
    own = net.state_dict()
    assert all(torch.equal(own[name], source[name]) for name in own if is_backbone(name))
    assert torch.equal(own["classifier.weight"], fresh)
    assert coverage.complete == (head == "torchreid")


def test_what_starts_fresh_is_said(published: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        start_from(small(), read_checkpoint(published))
    assert "keeps its initial weights" in caplog.text


def test_a_backbone_that_would_stay_random_is_refused_and_left_untouched(published: Path) -> None:
    net = build_reid("osnet_x0_5", num_classes=7, seed=0)
    before = weights_fingerprint(net.state_dict())
    with pytest.raises(CheckpointError, match=r"holds weights of osnet_x0_25, .* expected weights of osnet_x0_5$"):
        start_from(net, read_checkpoint(published))
    assert weights_fingerprint(net.state_dict()) == before


def test_one_missing_tensor_of_the_backbone_is_named(published: Path) -> None:
    checkpoint = read_checkpoint(published)
    state = {name: tensor for name, tensor in checkpoint.state.items() if name != "conv5.bn.weight"}
    with pytest.raises(CheckpointError, match=r"leave 1 of \d+ backbone tensors unfilled \(conv5\.bn\.weight first\)"):
        start_from(small(), replace(checkpoint, state=state))


def test_weights_from_before_step_counters_start_a_network_too(published: Path) -> None:
    checkpoint = read_checkpoint(published)
    state = {name: tensor for name, tensor in checkpoint.state.items() if not name.endswith("num_batches_tracked")}
    assert start_from(small("torchreid", reid_dim=512), replace(checkpoint, state=state)).complete


# Its own checkpoints


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("last_stride_1", [True, False])
@pytest.mark.parametrize("reid_dim", [64, 128])
def test_a_trained_network_comes_back_from_its_checkpoint(
    tmp_path: Path, head: str, last_stride_1: bool, reid_dim: int
) -> None:
    net = settled(small(head, last_stride_1=last_stride_1, reid_dim=reid_dim))
    card = ModelCard(task="reid", arch=SMALL, extra=reid_facts(net))
    save_checkpoint(tmp_path / "best.pt", net, card=card)
    checkpoint = read_checkpoint(tmp_path / "best.pt")
    assert checkpoint.card == card
    again = rebuild(checkpoint.state, card.extra).eval()
    assert load_into(again, checkpoint).complete
    with torch.no_grad():
        for ours, theirs in zip(again(images(), "both"), net(images(), "both"), strict=True):
            assert torch.equal(ours, theirs)


def test_the_facts_are_what_the_weights_do_not_tell() -> None:
    assert reid_facts(small("arcface", last_stride_1=True)) == {"head": "arcface", "last_stride_1": "true"}
    assert reid_facts(small()) == {"head": "bnneck", "last_stride_1": "false"}


@pytest.mark.parametrize("arch", ARCHS)
def test_the_arch_and_sizes_are_read_from_the_weights(arch: str) -> None:
    net = build_reid(arch, num_classes=11, reid_dim=96)
    again = rebuild(net.state_dict(), reid_facts(net))
    assert again.spec.name == arch
    assert again.feature_dim == 96
    assert shapes(again.state_dict()) == shapes(net.state_dict())


def test_a_checkpoint_without_facts_is_read_as_a_published_one() -> None:
    again = rebuild(build_osnet(SMALL, num_classes=3, feature_dim=48).state_dict(), {})
    assert reid_facts(again) == {"head": "torchreid", "last_stride_1": "false"}
    assert shapes(again.state_dict())["classifier.weight"] == (3, 48)


def test_a_checkpoint_whose_classifier_was_cut_off_compares() -> None:
    net = small()
    state = {name: tensor for name, tensor in net.state_dict().items() if not name.startswith("classifier")}
    assert rebuild(state, reid_facts(net)).classifier is None


@pytest.mark.parametrize(
    ("extra", "error", "message"),
    [
        ({"head": "neck"}, CardError, "card extra.head is 'neck'; expected one of bnneck, torchreid, arcface"),
        ({"head": "bnneck", "last_stride_1": "yes"}, CardError, "card extra.last_stride_1 is 'yes'; expected one of"),
        ({"head": "arcface"}, CheckpointError, "these weights have no face.bn.weight; expected the head that"),
    ],
)
def test_facts_that_contradict_the_weights_are_refused(
    extra: dict[str, str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        rebuild(small().state_dict(), extra)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("shape", [(), (0,)])
def test_a_malformed_head_is_refused(shape: tuple[int, ...]) -> None:
    net = small()
    for name in ("neck.bn.weight", "classifier.weight"):
        with pytest.raises(CheckpointError, match=f"these weights have no {name}"):
            rebuild(net.state_dict() | {name: torch.zeros(shape)}, reid_facts(net))


def test_weights_of_no_osnet_are_refused() -> None:
    with pytest.raises(CheckpointError, match="fit no network sightline knows"):
        rebuild({"layer1.0.conv1.weight": torch.zeros(64, 3, 7, 7)}, {})


# Export


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("last_stride_1", [True, False])
def test_an_exported_network_gives_the_same_vectors_at_any_batch(
    tmp_path: Path, head: str, last_stride_1: bool
) -> None:
    net, path = settled(small(head, last_stride_1=last_stride_1)), tmp_path / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        torch.onnx.export(
            net,
            (images(1),),
            str(path),
            dynamo=False,
            opset_version=13,
            input_names=["input"],
            output_names=["reid_features"],
            dynamic_axes={"input": {0: "batch"}, "reid_features": {0: "batch"}},
        )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["reid_features"]
    for count in (1, 3):
        (vectors,) = session.run(None, {"input": images(count).numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(vectors, net(images(count)).numpy(), rtol=1e-3, atol=1e-4)
