from __future__ import annotations

import pytest
import torch

from nnunetv2_sa_unet.nnunet.recipe import PlateauSchedule, plateau_learning_rate

FALLING = [1.0, 0.9, 0.8, 0.7]


@pytest.mark.parametrize(
    ("val_losses", "expected"),
    [
        ([], 1e-3),
        (FALLING, 1e-3),
        ([1.0, 1.0, 1.0], 1e-3),
        ([1.0, 1.0, 1.0, 1.0], 1e-4),  # three epochs without a better loss
        ([1.0, 1.1, 1.1, 0.9, 1.0, 1.0], 1e-3),  # a better one starts the count anew
        ([1.0, 0.99995, 0.99994, 0.99993], 1e-4),  # better by 1e-4 or less does not count
        ([1.0] * 7, 1e-5),
        ([1.0] * 100, 1e-8),  # the floor
    ],
)
def test_the_rate_falls_after_three_epochs_without_a_better_loss(val_losses, expected):
    assert plateau_learning_rate(1e-3, val_losses) == pytest.approx(expected)


def test_the_schedule_agrees_with_torchs_own():
    """torch's scheduler with the same numbers; its patience counts the epochs that it lets pass."""
    random = torch.Generator().manual_seed(0)
    val_losses = (1 + 0.05 * torch.rand(60, generator=random)).tolist()
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.Adam([parameter], lr=1e-3)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.1, patience=2, threshold=1e-4, threshold_mode="abs", min_lr=1e-8, eps=0
    )
    for epoch, loss in enumerate(val_losses):
        assert plateau_learning_rate(1e-3, val_losses[:epoch]) == pytest.approx(optimizer.param_groups[0]["lr"])
        reference.step(loss)


def test_a_schedule_made_anew_goes_on_as_if_it_had_not_been():
    val_losses = [1.0, 1.0, 1.0, 1.0, 0.5, 0.6, 0.6, 0.6, 0.6]
    rates = []
    for epoch in range(len(val_losses)):
        optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
        PlateauSchedule(optimizer, 1e-3, lambda: val_losses).step(epoch)
        rates.append(optimizer.param_groups[0]["lr"])

    assert rates == pytest.approx([1e-3] * 4 + [1e-4] * 4 + [1e-5])
