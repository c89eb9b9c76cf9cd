from __future__ import annotations

import pytest
import torch
from scipy import ndimage

from nnunetv2_sa_unet.networks.dropblock import DropBlock


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("size", [(60, 50), (20, 24, 22)])
def test_about_the_fraction_is_dropped_and_the_mean_kept(size: tuple[int, ...]) -> None:
    x = torch.ones(4, 8, *size)
    out = DropBlock(0.1, 7 if len(size) == 2 else 3)(x)

    # Blocks overlap, so that a little less is dropped.
    assert 0.07 < (out == 0).float().mean() < 0.11
    assert out.mean().item() == pytest.approx(1, rel=1e-4)
    assert len(out.unique()) == 2


@pytest.mark.parametrize("size", [(60, 50), (20, 24, 22)])
def test_what_is_dropped_is_made_of_whole_blocks_within_the_map(size: tuple[int, ...]) -> None:
    dropped = (DropBlock(0.05, 5)(torch.ones(1, 1, *size)) == 0)[0, 0].numpy()
    opened = ndimage.binary_opening(dropped, structure=torch.ones([5] * len(size)).numpy())

    assert dropped.any()
    assert (opened == dropped).all()


def test_every_channel_and_image_has_its_own_mask() -> None:
    dropped = DropBlock(0.1, 5)(torch.ones(2, 2, 40, 40)) == 0

    assert not torch.equal(dropped[0, 0], dropped[0, 1])
    assert not torch.equal(dropped[0, 0], dropped[1, 0])


@pytest.mark.parametrize("module", [DropBlock(0.1, 7).eval(), DropBlock(0, 7)])
def test_nothing_changes_in_evaluation_or_at_0(module: DropBlock) -> None:
    x = torch.randn(1, 2, 9, 9)

    assert module(x) is x


@pytest.mark.parametrize("size", [(4, 3), (1, 1), (2, 3, 4)])
def test_a_map_smaller_than_the_block_is_dropped_whole_or_not_at_all(size: tuple[int, ...]) -> None:
    out = DropBlock(0.3, 7)(torch.ones(8, 16, *size))

    assert out.isfinite().all()
    assert all(len(channel.unique()) == 1 for channel in out.flatten(0, 1)) or min(size) > 1


def test_nothing_is_left_without_a_division_by_zero() -> None:
    assert not DropBlock(1, 7)(torch.ones(1, 1, 3, 3)).any()


def test_16_bit_holds_the_number_of_kept_values() -> None:
    """It has more than 65,504, the largest number of 16 bit."""
    x = torch.ones(2, 4, 128, 128, dtype=torch.float16)
    out = DropBlock(0.1, 7)(x)

    assert out.dtype == torch.float16
    assert out.float().mean().item() == pytest.approx(1, rel=1e-3)


def test_the_gradient_is_that_of_the_mask() -> None:
    x = torch.randn(1, 2, 20, 20, requires_grad=True)
    out = DropBlock(0.2, 5)(x)
    out.sum().backward()

    assert x.grad is not None
    assert torch.equal(x.grad == 0, out == 0)
