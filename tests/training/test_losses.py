from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from sightline.errors import ConfigError
from sightline.nets.reid import ReidOutput, build_reid
from sightline.training.losses import ID_LOSSES, METRIC_LOSSES, LossPlan, TotalLoss
from sightline.training.losses.arcface import arcface
from sightline.training.losses.batch_hard_triplet import batch_hard_triplet
from sightline.training.losses.centre import CentreLoss
from sightline.training.losses.circle import circle
from sightline.training.losses.cosface import cosface
from sightline.training.losses.smoothed_cross_entropy import smoothed_cross_entropy

Array = NDArray[np.float64]
PairLoss = Callable[[Tensor, Tensor], Tensor]

P_BY_K = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, 7])  # the last one has no positive


def soft_triplet(features: Tensor, labels: Tensor) -> Tensor:
    return batch_hard_triplet(features, labels, margin=None)


def centre_at_zero(features: Tensor, labels: Tensor) -> Tensor:
    return CentreLoss(8, features.shape[1])(features, labels)


PAIR_LOSSES: dict[str, PairLoss] = {"triplet": batch_hard_triplet, "soft_triplet": soft_triplet, "circle": circle}
COSINE_LOSSES: dict[str, PairLoss] = {"arcface": arcface, "cosface": cosface}
ALL_LOSSES = PAIR_LOSSES | COSINE_LOSSES | {"centre": centre_at_zero, "softmax": smoothed_cross_entropy}


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def cosines_of(count: int, classes: int, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 1.9 * torch.rand(count, classes, generator=generator, dtype=torch.float64) - 0.95


def gradient_of(loss: PairLoss, values: Tensor, labels: Tensor) -> Tensor:
    """Fails on a NaN anywhere on the way back, even one that something before it would have masked."""
    leaf = values.detach().clone().requires_grad_()
    with torch.autograd.set_detect_anomaly(True):
        (gradient,) = torch.autograd.grad(loss(leaf, labels), leaf)
    return gradient


# The equations of the papers, one number after the other


def triplet_by_loop(features: Array, labels: list[int], *, margin: float | None) -> float:
    losses = []
    for a, anchor in enumerate(features):
        apart = [math.dist(anchor, other) for other in features]
        positives = [apart[i] for i in range(len(labels)) if labels[i] == labels[a] and i != a]
        negatives = [apart[i] for i in range(len(labels)) if labels[i] != labels[a]]
        if positives and negatives:
            gap = max(positives) - min(negatives)
            losses.append(math.log(1 + math.exp(gap)) if margin is None else max(0.0, margin + gap))
    return sum(losses) / len(losses)


def circle_by_loop(
    features: Array, labels: list[int], *, margin: float, scale: float, weighed_at: Array | None = None
) -> float:
    """`weighed_at`: the features that the weights are computed from, which the gradient holds still."""
    cosines, still = _cosines(features), _cosines(features if weighed_at is None else weighed_at)
    losses = []
    for a in range(len(labels)):
        positive, negative = 0.0, 0.0
        for i in range(len(labels)):
            if labels[i] != labels[a]:
                weight = max(0.0, still[a, i] + margin)
                negative += math.exp(scale * weight * (cosines[a, i] - margin))
            elif i != a:
                weight = max(0.0, 1 + margin - still[a, i])
                positive += math.exp(-scale * weight * (cosines[a, i] - (1 - margin)))
        if positive and negative:
            losses.append(math.log(1 + negative * positive))
    return sum(losses) / len(losses)


def _cosines(features: Array) -> Array:
    unit = features / np.sqrt((features**2).sum(1, keepdims=True))
    return np.array([[float(sum(x * y for x, y in zip(a, b, strict=True))) for b in unit] for a in unit])


def cross_entropy_by_loop(logits: Array, labels: list[int], *, smoothing: float = 0.0) -> float:
    losses = []
    for row, label in zip(logits, labels, strict=True):
        sum_of_all = sum(math.exp(logit) for logit in row)
        for k, logit in enumerate(row):
            target = smoothing / len(row) + (1 - smoothing if k == label else 0)
            losses.append(-target * math.log(math.exp(logit) / sum_of_all))
    return sum(losses) / len(labels)


def arcface_by_loop(cosines: Array, labels: list[int], *, margin: float, scale: float) -> float:
    logits = scale * cosines
    for row, label in enumerate(labels):
        angle = math.acos(cosines[row, label])
        falling = cosines[row, label] - margin * math.sin(margin)
        logits[row, label] = scale * (math.cos(angle + margin) if angle + margin < math.pi else falling)
    return cross_entropy_by_loop(logits, labels)


def cosface_by_loop(cosines: Array, labels: list[int], *, margin: float, scale: float) -> float:
    logits = scale * cosines
    for row, label in enumerate(labels):
        logits[row, label] -= scale * margin
    return cross_entropy_by_loop(logits, labels)


@settings(max_examples=25, deadline=None)
@given(labels=st.lists(st.integers(0, 3), min_size=4, max_size=12), seed=st.integers(0, 999), soft=st.booleans())
def test_the_triplet_loss_is_that_of_the_paper(labels: list[int], seed: int, soft: bool) -> None:
    labels = [8, 9, 9, *labels]
    features, margin = drawn(len(labels), 5, seed=seed), None if soft else 0.3
    expected = triplet_by_loop(features.numpy(), labels, margin=margin)
    assert batch_hard_triplet(features, torch.tensor(labels), margin=margin).item() == pytest.approx(
        expected, rel=1e-12
    )


@settings(max_examples=25, deadline=None)
@given(
    labels=st.lists(st.integers(0, 3), min_size=4, max_size=12),
    seed=st.integers(0, 999),
    margin=st.sampled_from([0.25, 0.4]),
    scale=st.sampled_from([1.0, 64.0]),
)
def test_the_circle_loss_is_that_of_the_paper(labels: list[int], seed: int, margin: float, scale: float) -> None:
    labels = [8, 9, 9, *labels]
    features = drawn(len(labels), 5, seed=seed)
    expected = circle_by_loop(features.numpy(), labels, margin=margin, scale=scale)
    loss = circle(features, torch.tensor(labels), margin=margin, scale=scale)
    assert loss.item() == pytest.approx(expected, rel=1e-10)


def test_the_defaults_of_the_circle_loss_are_those_promised() -> None:
    features = drawn(10, 5)
    expected = circle_by_loop(features.numpy(), P_BY_K.tolist(), margin=0.25, scale=64)
    assert circle(features, P_BY_K).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
def test_smoothed_cross_entropy_is_that_of_the_paper(smoothing: float) -> None:
    logits, labels = drawn(6, 4), [0, 1, 2, 3, 0, 0]
    loss = smoothed_cross_entropy(logits, torch.tensor(labels), smoothing=smoothing)
    expected = cross_entropy_by_loop(logits.numpy(), labels, smoothing=smoothing)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_arcface_is_that_of_the_paper(seed: int) -> None:
    cosines, labels = cosines_of(20, 6, seed=seed), [i % 6 for i in range(20)]
    cosines[0, 0], cosines[1, 1] = -0.93, -0.83  # 158° and 146°, on both sides of 180° less 0.5 rad
    loss = arcface(cosines, torch.tensor(labels))
    assert loss.item() == pytest.approx(arcface_by_loop(cosines.numpy(), labels, margin=0.5, scale=64), rel=1e-9)


def test_cosface_is_that_of_the_paper() -> None:
    cosines, labels = cosines_of(20, 6), [i % 6 for i in range(20)]
    loss = cosface(cosines, torch.tensor(labels))
    assert loss.item() == pytest.approx(cosface_by_loop(cosines.numpy(), labels, margin=0.4, scale=64), rel=1e-9)


@pytest.mark.parametrize("loss", COSINE_LOSSES.values(), ids=COSINE_LOSSES)
def test_a_margin_loss_can_smooth_its_labels(loss: Callable[..., Tensor]) -> None:
    cosines, labels = cosines_of(6, 4), [0, 1, 2, 3, 0, 0]
    smoothed = loss(cosines, torch.tensor(labels), margin=0.0, scale=3.0, smoothing=0.1)
    expected = cross_entropy_by_loop(3 * cosines.numpy(), labels, smoothing=0.1)
    assert smoothed.item() == pytest.approx(expected, rel=1e-5)


def test_the_centre_loss_is_half_the_mean_squared_distance() -> None:
    loss = CentreLoss(3, 5).double()
    centres, features, labels = drawn(3, 5, seed=1), drawn(6, 5), [0, 0, 1, 2, 2, 2]
    loss.load_state_dict({"centres": centres})
    expected = sum(math.dist(features[i], centres[k]) ** 2 for i, k in enumerate(labels)) / 2 / 6
    assert loss(features, torch.tensor(labels)).item() == pytest.approx(expected, rel=1e-12)


# Worked by hand


def test_a_triplet_on_a_line() -> None:
    features = torch.tensor([[0.0], [3.0], [4.0], [9.0]])
    # Farthest positive less nearest negative: 3-4, 3-1, 5-1, 5-6; with 0.3: 0, 2.3, 4.3, 0.
    assert batch_hard_triplet(features, torch.tensor([0, 0, 1, 1])).item() == pytest.approx(6.6 / 4)


def test_a_circle_with_one_pair_of_each_kind() -> None:
    features = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 5.0]])
    # Both anchors: positive 1 with weight 0.25, so -64*0.25*0.25; negative 0 with weight 0.25, so 64*0.25*-0.25.
    assert circle(features, torch.tensor([0, 0, 1])).item() == pytest.approx(math.log1p(math.exp(-8)), rel=1e-5)


def test_arcface_at_a_right_angle() -> None:
    # cos(90° + 0.5 rad) = -sin 0.5, against a cosine of 0.
    expected = math.log1p(math.exp(2 * math.sin(0.5)))
    assert arcface(torch.zeros(1, 2), torch.tensor([1]), scale=2.0).item() == pytest.approx(expected, rel=1e-6)


def test_cosface_at_a_right_angle() -> None:
    assert cosface(torch.zeros(1, 2), torch.tensor([1]), scale=2.0).item() == pytest.approx(math.log1p(math.exp(0.8)))


def test_even_logits_cost_the_logarithm_of_their_number_smoothed_or_not() -> None:
    assert smoothed_cross_entropy(torch.zeros(3, 5), torch.tensor([0, 1, 4])).item() == pytest.approx(math.log(5))


def test_two_features_pull_their_centre_to_their_mean() -> None:
    loss = CentreLoss(2, 1)
    loss(torch.tensor([[2.0], [4.0]]), torch.tensor([1, 1])).backward()
    assert loss.centres.grad is not None
    assert loss.centres.grad.tolist() == [[0.0], [-3.0]]


# Gradients


@pytest.mark.parametrize("name", ["triplet", "soft_triplet", "softmax", "arcface", "cosface"])
def test_gradients_are_those_of_the_values(name: str) -> None:
    values = cosines_of(6, 5) if name in COSINE_LOSSES else drawn(6, 5)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    assert torch.autograd.gradcheck(lambda x: ALL_LOSSES[name](x, labels), values.requires_grad_())


def test_the_gradients_of_the_centre_loss_are_those_of_its_values() -> None:
    loss = CentreLoss(3, 5).double()
    labels = torch.tensor([0, 0, 1, 2])

    def of_both(features: Tensor, centres: Tensor) -> Tensor:
        return torch.func.functional_call(loss, {"centres": centres}, (features, labels))

    inputs = (drawn(4, 5).requires_grad_(), drawn(3, 5, seed=1).requires_grad_())
    assert torch.autograd.gradcheck(of_both, inputs)


def test_the_gradient_of_the_circle_loss_holds_its_weights_still() -> None:
    features, labels, step = drawn(7, 3).numpy(), [0, 0, 1, 1, 1, 2, 2], 1e-6

    def at(moved: Array) -> float:
        return circle_by_loop(moved, labels, margin=0.25, scale=8, weighed_at=features)

    expected = np.zeros_like(features)
    for index in np.ndindex(*features.shape):
        moved = np.zeros_like(features)
        moved[index] = step
        expected[index] = (at(features + moved) - at(features - moved)) / (2 * step)
    found = gradient_of(lambda x, y: circle(x, y, scale=8.0), torch.from_numpy(features), torch.tensor(labels))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("at", [-1.0, 1.0, 1.0000001])
def test_arcface_has_a_finite_gradient_where_the_angle_has_none(at: float) -> None:
    assert gradient_of(arcface, torch.tensor([[at, 0.0]]), torch.tensor([0])).isfinite().all()


def test_arcface_never_rewards_a_larger_angle() -> None:
    cosines = torch.linspace(-1, 1, 4001, dtype=torch.float64)
    costs = [arcface(torch.tensor([[c, 0.0]]), torch.tensor([0]), scale=1.0).item() for c in cosines.tolist()]
    assert (np.diff(costs) < 0).all()


@pytest.mark.parametrize("loss", PAIR_LOSSES.values(), ids=PAIR_LOSSES)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_images_that_all_look_alike_give_finite_gradients(loss: PairLoss, value: float) -> None:
    features, labels = torch.full((6, 4), value), torch.tensor([0, 0, 1, 1, 2, 2])
    assert loss(features, labels).isfinite()
    assert gradient_of(loss, features, labels).isfinite().all()


@pytest.mark.parametrize("loss", PAIR_LOSSES.values(), ids=PAIR_LOSSES)
def test_an_image_twice_in_a_batch_still_teaches_apart_from_the_others(loss: PairLoss) -> None:
    features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    gradient = gradient_of(loss, features, torch.tensor([0, 0, 1, 1]))
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


# Batches that have nothing to compare

NOTHING_TO_COMPARE = {
    "one identity only": [3, 3, 3, 3],
    "one image of each": [0, 1, 2, 3],
    "one image": [0],
}


@pytest.mark.parametrize("labels", NOTHING_TO_COMPARE.values(), ids=NOTHING_TO_COMPARE)
@pytest.mark.parametrize("loss", PAIR_LOSSES.values(), ids=PAIR_LOSSES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_without_a_valid_anchor_the_loss_is_a_zero_that_can_go_backward(
    loss: PairLoss, labels: list[int], dtype: torch.dtype
) -> None:
    features, identities = drawn(len(labels), 4).to(dtype), torch.tensor(labels)
    assert loss(features, identities).item() == 0
    assert gradient_of(loss, features, identities).tolist() == torch.zeros(len(labels), 4).tolist()


@pytest.mark.parametrize("loss", PAIR_LOSSES.values(), ids=PAIR_LOSSES)
def test_an_image_without_a_positive_is_no_anchor_but_a_negative(loss: PairLoss) -> None:
    pair, labels = torch.tensor([[1.0, 0.0], [0.9, 0.2]]), torch.tensor([0, 0, 5])
    beside, apart = (torch.cat([pair, torch.tensor([other])]) for other in ([0.8, 0.3], [0.0, 1.0]))
    assert loss(beside, labels) > loss(apart, labels)
    assert gradient_of(loss, beside, labels)[2].abs().sum() > 0


@pytest.mark.parametrize("name", ["softmax", "centre", "arcface", "cosface"])
def test_one_image_is_a_batch(name: str) -> None:
    values = torch.tensor([[0.5, -0.5, 0.25]])
    assert ALL_LOSSES[name](values, torch.tensor([2])).item() > 0
    assert gradient_of(ALL_LOSSES[name], values, torch.tensor([2])).isfinite().all()


# Half precision


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ALL_LOSSES)
def test_half_precision_values_are_judged_in_full_precision(name: str, dtype: torch.dtype) -> None:
    values = (cosines_of(10, 8) if name in COSINE_LOSSES else drawn(10, 8)).to(dtype)
    loss = ALL_LOSSES[name](values, P_BY_K)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(ALL_LOSSES[name](values.double(), P_BY_K).item(), rel=1e-4)
    gradient = gradient_of(ALL_LOSSES[name], values, P_BY_K)
    assert gradient.dtype == dtype
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", ALL_LOSSES)
def test_autocast_changes_nothing(name: str) -> None:
    values = (cosines_of(10, 8) if name in COSINE_LOSSES else drawn(10, 8)).float()
    with torch.autocast("cpu", torch.bfloat16):
        loss = ALL_LOSSES[name](values, P_BY_K)
    assert loss.dtype == torch.float32
    assert loss.item() == ALL_LOSSES[name](values, P_BY_K).item()


@pytest.mark.parametrize("name", ["triplet", "soft_triplet", "centre"])
def test_distances_whose_squares_pass_float16_are_finite(name: str) -> None:
    features = (300 * drawn(10, 8)).half()
    loss = ALL_LOSSES[name](features, P_BY_K)
    assert loss.isfinite()
    assert gradient_of(ALL_LOSSES[name], features, P_BY_K).isfinite().all()


@pytest.mark.parametrize("scale", [64.0, 256.0])
def test_the_worst_pairs_do_not_overflow_the_circle_loss(scale: float) -> None:
    features = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    labels = torch.tensor([0, 0, 1, 1])
    # Positive -1 with weight 2.25, so 2.25*1.75; the negatives 1 with weight 1.25, so 1.25*0.75, and -1 with weight 0.
    assert circle(features, labels, scale=scale).item() == pytest.approx(scale * (2.25 * 1.75 + 1.25 * 0.75), rel=1e-6)
    assert gradient_of(lambda x, y: circle(x, y, scale=scale), features, labels).isfinite().all()


# What must not matter


@pytest.mark.parametrize("name", ALL_LOSSES)
def test_the_order_of_a_batch_does_not_matter(name: str) -> None:
    values = cosines_of(10, 8) if name in COSINE_LOSSES else drawn(10, 8)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(4))
    shuffled = ALL_LOSSES[name](values[order], P_BY_K[order])
    assert shuffled.item() == pytest.approx(ALL_LOSSES[name](values, P_BY_K).item(), rel=1e-6)


@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_the_numbers_of_the_identities_do_not_matter(name: str) -> None:
    features = drawn(10, 8)
    assert PAIR_LOSSES[name](features, P_BY_K).item() == PAIR_LOSSES[name](features, 1000 - 3 * P_BY_K).item()


def test_length_does_not_matter_to_the_circle_loss_and_does_to_the_triplet_loss() -> None:
    features = drawn(10, 8)
    assert circle(5 * features, P_BY_K).item() == pytest.approx(circle(features, P_BY_K).item())
    assert soft_triplet(5 * features, P_BY_K).item() != pytest.approx(soft_triplet(features, P_BY_K).item(), rel=0.1)


# Joined


def output_of(features: Tensor, logits: Tensor) -> ReidOutput:
    return ReidOutput(pre_bn=features, post_bn=torch.full_like(features, torch.nan), logits=logits)


def plan(**changed: Any) -> LossPlan:
    return LossPlan(**{"num_classes": 8, "reid_dim": 6, **changed})


PLANS: dict[str, tuple[LossPlan, PairLoss, PairLoss]] = {
    "defaults": (
        plan(),
        lambda x, y: smoothed_cross_entropy(x, y, smoothing=0.1),
        lambda x, y: batch_hard_triplet(x, y, margin=0.3),
    ),
    "circle": (
        plan(loss_type="circle", circle_margin=0.4, circle_scale=32.0, label_smooth=0.0),
        lambda x, y: smoothed_cross_entropy(x, y, smoothing=0.0),
        lambda x, y: circle(x, y, margin=0.4, scale=32.0),
    ),
    "soft triplet": (plan(loss_type="soft_triplet"), smoothed_cross_entropy, soft_triplet),
    "triplet of another margin": (
        plan(loss_type="triplet", triplet_margin=2.0),
        smoothed_cross_entropy,
        lambda x, y: batch_hard_triplet(x, y, margin=2.0),
    ),
    "centre": (plan(loss_type="centre"), smoothed_cross_entropy, centre_at_zero),
    "arcface": (
        plan(head="arcface", id_loss="arcface", label_smooth=0.0, arcface_margin=0.3, cosine_scale=30.0),
        lambda x, y: arcface(x, y, margin=0.3, scale=30.0),
        batch_hard_triplet,
    ),
    "cosface": (
        plan(head="arcface", id_loss="cosface", label_smooth=0.05, cosface_margin=0.35),
        lambda x, y: cosface(x, y, margin=0.35, scale=64.0, smoothing=0.05),
        batch_hard_triplet,
    ),
}


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_the_total_is_the_identity_loss_plus_the_weighted_metric_loss(name: str, weight: float) -> None:
    chosen, identity_loss, metric_loss = PLANS[name]
    chosen = LossPlan(**(vars(chosen) | {"metric_weight": weight}))
    features, logits = drawn(10, 6), cosines_of(10, 8)
    total, parts = TotalLoss(chosen)(output_of(features, logits), P_BY_K)
    identity, metric = identity_loss(logits, P_BY_K), metric_loss(features, P_BY_K)
    assert {key: part.item() for key, part in parts.items()} == {
        chosen.id_loss: pytest.approx(identity.item()),
        chosen.loss_type: pytest.approx(metric.item()),
    }
    assert total.item() == pytest.approx(identity.item() + weight * metric.item())


def test_without_a_metric_loss_the_total_is_the_identity_loss() -> None:
    logits = drawn(10, 8)
    total, parts = TotalLoss(plan(loss_type="none"))(output_of(drawn(10, 6), logits), P_BY_K)
    assert total.item() == smoothed_cross_entropy(logits, P_BY_K).item()
    assert list(parts) == ["softmax"]


def test_the_parts_keep_no_graph_and_the_total_does() -> None:
    features = drawn(10, 6).requires_grad_()
    total, parts = TotalLoss(plan())(output_of(features, 2 * features[:, :1].expand(-1, 8)), P_BY_K)
    assert total.requires_grad
    assert not any(part.requires_grad for part in parts.values())


def test_only_the_centre_loss_learns() -> None:
    shapes = {
        name: [tuple(parameter.shape) for parameter in TotalLoss(plan(loss_type=name)).parameters()]
        for name in METRIC_LOSSES
    }
    assert shapes == {"triplet": [], "soft_triplet": [], "circle": [], "centre": [(8, 6)], "none": []}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"loss_type": "tripled"},
            "loss_type is 'tripled'; expected one of triplet, soft_triplet, circle, centre, none",
        ),
        ({"id_loss": "ce"}, "id_loss is 'ce'; expected one of softmax, arcface, cosface"),
        ({"head": "arcface"}, "head arcface cannot train with id_loss softmax; use arcface or cosface"),
        ({"id_loss": "cosface"}, "head bnneck cannot train with id_loss cosface; use softmax"),
    ],
)
def test_losses_that_do_not_exist_or_do_not_fit_are_refused(changed: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(**changed)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("head", "id_loss", "loss_type"),
    [
        ("bnneck", "softmax", "triplet"),
        ("torchreid", "softmax", "circle"),
        ("arcface", "arcface", "none"),
        ("arcface", "cosface", "centre"),
    ],
)
def test_a_network_learns_one_batch_by_heart_under_autocast(head: str, id_loss: str, loss_type: str) -> None:
    net = build_reid("osnet_x0_25", num_classes=4, head=head, reid_dim=32, seed=0)
    losses = TotalLoss(LossPlan(num_classes=4, reid_dim=32, head=head, id_loss=id_loss, loss_type=loss_type))
    images = drawn(8, 3, 64, 32, dtype=torch.float32)
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    optimizer = torch.optim.Adam([*net.parameters(), *losses.parameters()], lr=1e-3)
    values = [_step(net, losses, optimizer, images=images, labels=labels) for _ in range(12)]
    assert np.isfinite(values).all()
    assert values[-1] < 0.7 * values[0]


def _step(
    net: nn.Module, losses: TotalLoss, optimizer: torch.optim.Optimizer, *, images: Tensor, labels: Tensor
) -> float:
    with torch.autocast("cpu", torch.bfloat16):
        total, _ = losses(net(images, "both"), labels)
    optimizer.zero_grad()
    total.backward()
    optimizer.step()
    return float(total.detach())


def test_every_identity_loss_is_tried_above() -> None:
    assert {chosen.id_loss for chosen, *_ in PLANS.values()} == set(ID_LOSSES)
