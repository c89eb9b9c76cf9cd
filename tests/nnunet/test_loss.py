from __future__ import annotations

import numpy as np
import pytest
import torch

from nnunetv2_sa_unet.nnunet.loss import PaperLoss, dice_alone


def reference(probabilities: np.ndarray, one_hot: np.ndarray, valid: np.ndarray) -> float:
    """Binary cross-entropy and Dice in float64 from probabilities, as the script's formulas have them."""
    keep = np.broadcast_to(valid, one_hot.shape).astype(bool)
    p, t = probabilities[keep], one_hot[keep].astype(float)
    cross_entropy = -np.mean(t * np.log(p) + (1 - t) * np.log(1 - p))
    return cross_entropy + 1 - 2 * (p * t).sum() / (p.sum() + t.sum() + 1e-5)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.fixture
def logits():
    return torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(0)) * 3


@pytest.fixture
def labels():
    return torch.randint(0, 3, (2, 1, 4, 5, 6), generator=torch.Generator().manual_seed(1))


def one_hot(labels):
    return np.stack([labels[:, 0] == c for c in range(3)], 1)


def test_labels_agree_with_the_formula(logits, labels):
    expected = reference(softmax(logits.double().numpy()), one_hot(labels.numpy()), np.ones((2, 1, 4, 5, 6)))

    assert PaperLoss(False, None, False)(logits, labels).item() == pytest.approx(expected, rel=1e-5)


def test_regions_agree_with_the_formula(logits, labels):
    regions = torch.cat((labels > 0, labels == 1, labels == 2), 1)
    probabilities = 1 / (1 + np.exp(-logits.double().numpy()))
    expected = reference(probabilities, regions.numpy(), np.ones((2, 1, 4, 5, 6)))

    assert PaperLoss(True, None, False)(logits, regions).item() == pytest.approx(expected, rel=1e-5)


def test_voxels_with_the_ignore_label_do_not_count(logits, labels):
    ignored = labels.clone()
    ignored[:, :, :2] = 3
    expected = PaperLoss(False, None, False)(logits[:, :, 2:], labels[:, :, 2:])

    assert torch.isclose(PaperLoss(False, 3, False)(logits, ignored), expected)
    regions = torch.cat((labels > 0, labels == 1, labels == 2, ignored == 3), 1)
    expected = PaperLoss(True, None, False)(logits[:, :, 2:], regions[:, :3, 2:])
    assert torch.isclose(PaperLoss(True, 3, False)(logits, regions), expected)


def test_sure_predictions_stay_finite_with_their_gradient(labels):
    logits = (torch.nn.functional.one_hot(labels[:, 0], 3).movedim(-1, 1).float() * 400).requires_grad_()
    wrong = torch.flip(logits, (1,))
    for prediction in (logits, wrong):
        loss = PaperLoss(False, None, False)(prediction, labels)
        (gradient,) = torch.autograd.grad(loss, logits, retain_graph=True)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()
    assert PaperLoss(False, None, False)(logits, labels) < 1e-4


def test_16_bit_logits_are_summed_in_float32():
    logits = torch.randn(1, 3, 64, 64, 64, generator=torch.Generator().manual_seed(0)).bfloat16()
    labels = torch.zeros(1, 1, 64, 64, 64, dtype=torch.int16)
    with torch.autocast("cpu", torch.bfloat16):
        loss = PaperLoss(False, None, False)(logits, labels)

    assert loss.dtype == torch.float32
    assert torch.isclose(loss, PaperLoss(False, None, False)(logits.float(), labels))


def nnunets_loss(ignore_label=None, regions=False):
    """As nnU-Net's trainer builds it."""
    from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
    from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

    dice = {"batch_dice": False, "smooth": 1e-5, "do_bg": regions, "ddp": False}
    if regions:
        return DC_and_BCE_loss({}, dice, use_ignore_label=False, dice_class=MemoryEfficientSoftDiceLoss)
    return DC_and_CE_loss(dice, {}, ignore_label=ignore_label, dice_class=MemoryEfficientSoftDiceLoss)


def dice_of(p, t, valid=1):
    """The winner's Dice of a class over the whole batch, which its script smooths by 1."""
    return (2 * (p * t * valid).sum() + 1) / ((p * valid).sum() + (t * valid).sum() + 1)


def test_dice_alone_is_that_of_the_whole_batch_smoothed_by_1(logits, labels):
    loss = nnunets_loss()
    dice_alone(loss)
    p, t = softmax(logits.double().numpy()), one_hot(labels.numpy())
    expected = -np.mean([dice_of(p[:, c], t[:, c]) for c in (1, 2)])

    assert loss(logits, labels).item() == pytest.approx(expected, rel=1e-5)


def test_dice_alone_leaves_ignored_voxels_out(logits, labels):
    loss = nnunets_loss(ignore_label=3)
    dice_alone(loss)
    ignored = labels.clone()
    ignored[:, :, :2] = 3
    valid = np.ones((2, 4, 5, 6))
    valid[:, :2] = 0
    p, t = softmax(logits.double().numpy()), one_hot(labels.numpy())
    expected = -np.mean([dice_of(p[:, c], t[:, c], valid) for c in (1, 2)])

    assert loss(logits, ignored).item() == pytest.approx(expected, rel=1e-5)


def test_dice_alone_of_regions_is_that_of_their_sigmoids(logits):
    loss = nnunets_loss(regions=True)
    dice_alone(loss)
    regions = logits.flip(0) > 0
    p, t = 1 / (1 + np.exp(-logits.double().numpy())), regions.numpy()
    expected = -np.mean([dice_of(p[:, c], t[:, c]) for c in range(3)])

    assert loss(logits, regions).item() == pytest.approx(expected, rel=1e-5)
