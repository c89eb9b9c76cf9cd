from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_sa_unet.nnunet import sites_augmentation
from nnunetv2_sa_unet.nnunet.sites_augmentation import sites_training_transforms

GEOMETRIES = [((6, 32, 32), (3.0, 1.0, 1.0)), ((12, 24, 24), (1.0, 1.0, 1.0)), ((32, 32), (1.0, 1.0))]


def nnunets(patch: tuple[int, ...], **labels: Any) -> ComposeTransforms:
    axes = tuple(range(len(patch)))
    return nnUNetTrainer.get_training_transforms(patch, (-0.2, 0.2), None, axes, len(patch) == 3, **labels)


def patch_of(patch: tuple[int, ...], channels: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    image = torch.randn((channels, *patch), generator=generator)
    return {"image": image, "segmentation": (image[:1] > 1).to(torch.int16)}


@pytest.fixture
def every_transform_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("P_BIAS_FIELD", "P_INTENSITY_MAP", "P_THICK_SLICES", "P_GAMMA"):
        monkeypatch.setattr(sites_augmentation, name, 1)


@pytest.mark.parametrize(("patch", "spacing"), GEOMETRIES)
def test_nnunets_augmentation_stays_and_ours_comes_right_before_the_flips(
    patch: tuple[int, ...], spacing: tuple[float, ...]
) -> None:
    before = nnunets(patch).transforms
    after = sites_training_transforms(nnunets(patch), spacing).transforms
    added = len(after) - len(before)
    assert added == (4 if len(patch) == 3 else 3)  # a slice has no neighbours
    flips = next(i for i, transform in enumerate(after) if isinstance(transform, MirrorTransform))
    kinds = [repr(transform) for transform in after]
    names = (
        ("BiasField", "IntensityMap", "ThickSlices", "Gamma") if added == 4 else ("BiasField", "IntensityMap", "Gamma")
    )
    for name, kind in zip(names, kinds[flips - added : flips], strict=True):
        assert f"{name}Transform" in kind
    assert [type(t) for t in before] == [type(t) for t in after[: flips - added] + after[flips:]]


@pytest.mark.parametrize(("patch", "spacing"), GEOMETRIES)
@pytest.mark.usefixtures("every_transform_applied")
def test_only_intensities_change(patch: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    sample = patch_of(patch)
    ours = sites_training_transforms(ComposeTransforms([MirrorTransform(())]), spacing)
    results = []
    for value in (0, 0, 1):
        np.random.seed(value)  # noqa: NPY002  # the generator that the transforms use
        torch.manual_seed(value)
        result = ours(**{key: tensor.clone() for key, tensor in sample.items()})
        assert torch.equal(result["segmentation"], sample["segmentation"])
        assert result["image"].shape == sample["image"].shape
        assert result["image"].dtype == torch.float32
        assert result["image"].isfinite().all()
        results.append(result["image"])
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.usefixtures("every_transform_applied")
def test_what_nnunet_does_after_its_flips_comes_after_ours() -> None:
    patch, spacing = (6, 32, 32), (3.0, 1.0, 1.0)
    transforms = sites_training_transforms(
        nnunets(patch, use_mask_for_norm=[True, False], is_cascaded=True, foreground_labels=[1]), spacing
    )
    sample = patch_of(patch)
    sample["segmentation"] = torch.where(sample["segmentation"] == 0, -1, 1).to(torch.int16).repeat(2, 1, 1, 1)
    result = pickle.loads(pickle.dumps(transforms))(**sample)
    outside = result["segmentation"][0] == 0
    assert (result["image"][0][outside] == 0).all()
    assert set(result["image"][2].unique().tolist()) <= {0, 1}


def test_another_nnunet_is_refused() -> None:
    with pytest.raises(RuntimeError, match="0 MirrorTransform"):
        sites_training_transforms(ComposeTransforms([]), (3.0, 1.0, 1.0))
