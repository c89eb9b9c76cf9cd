from __future__ import annotations

import pytest
import torch

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.nnunet.recipe import (
    PlateauSchedule,
    WarmupSchedule,
    build_optimizer,
    plateau_learning_rate,
    warmup_learning_rate,
)

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


def test_the_warm_up_agrees_with_torchs_own():
    """torch's schedulers for the two parts, one after the other."""
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    warmup, total = 4, 20
    reference = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup),
            torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=total - warmup, power=0.9),
        ],
        milestones=[warmup],
    )
    for iteration in range(total):
        assert warmup_learning_rate(1e-3, iteration, warmup, total) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()


def test_a_warm_up_made_anew_goes_on_as_if_it_had_not_been():
    def rates(epochs):
        optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1)
        schedule = WarmupSchedule(optimizer, 1e-3, warmup=3, epochs=4, iterations_per_epoch=2)
        for epoch in epochs:
            schedule.step(epoch)
            for _ in range(2):
                yield optimizer.param_groups[0]["lr"]
                schedule.step_iteration()

    undisturbed = list(rates(range(4)))
    assert undisturbed == pytest.approx([warmup_learning_rate(1e-3, iteration, 3, 8) for iteration in range(8)])
    assert [*rates(range(2)), *rates(range(2, 4))] == undisturbed


def test_a_warm_up_without_end_is_refused():
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
    with pytest.raises(InputError, match=r"warmup_iterations: found 100, .* 100 iterations in all \(4 epochs of 25\)"):
        WarmupSchedule(optimizer, 1e-3, warmup=100, epochs=4, iterations_per_epoch=25)


class Heads(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = torch.nn.Linear(2, 2)
        self.decoder = torch.nn.Module()
        self.decoder.seg_layers = torch.nn.ModuleList([torch.nn.Linear(2, 2)])


def test_the_last_layers_have_a_rate_of_their_own_all_the_way():
    network = Heads()
    optimizer = build_optimizer("AdamW", network, 1e-3, 0.01, head_lr=1e-2)
    assert optimizer.param_groups[0]["params"] == list(network.encoder.parameters())
    assert optimizer.param_groups[1]["params"] == list(network.decoder.parameters())
    schedule = WarmupSchedule(optimizer, 1e-3, warmup=0, epochs=2, iterations_per_epoch=2)
    # As a checkpoint would.
    optimizer.load_state_dict(optimizer.state_dict())
    rates = []
    for epoch in range(2):
        schedule.step(epoch)
        for _ in range(2):
            rates.append([group["lr"] for group in optimizer.param_groups])
            schedule.step_iteration()
    assert rates[0] == pytest.approx([1e-3, 1e-2])
    assert [head / other for other, head in rates] == pytest.approx([10] * 4)
    assert rates[3][0] == pytest.approx(1e-3 * 0.25**0.9)


def test_all_layers_have_one_rate_otherwise():
    assert len(build_optimizer("Adam", Heads(), 1e-3, 0).param_groups) == 1
