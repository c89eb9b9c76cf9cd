import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.transpose import TransposeAxesTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.cropping import center_crop
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_sa_unet.nnunet import augmentation
from nnunetv2_sa_unet.nnunet.augmentation import (
    in_plane_deformation,
    paper_initial_patch_size,
    paper_mirror_axes,
    paper_training_transforms,
    transposition_obstacle,
)

# Patch and spacing: 3d anisotropic, 3d oblong in plane, 2d, 2d oblong and isotropic 3d.
GEOMETRIES = [
    ((4, 48, 48), (6.5, 0.9, 0.9)),
    ((4, 40, 56), (3.0, 1.0, 1.0)),
    ((48, 48), (0.9, 0.9)),
    ((30, 80), (0.8, 1.2)),
    ((12, 32, 32), (1.0, 1.0, 1.0)),
]


def seed(value: int) -> None:
    np.random.seed(value)  # noqa: NPY002  # the generator that the transforms use
    torch.manual_seed(value)


def loaded(patch: Sequence[int], spacing: Sequence[float], channels: int = 2) -> dict[str, torch.Tensor]:
    """What nnU-Net's loader hands over: random smooth blobs with labels 0, 1, 2, and noise as image."""
    size = paper_initial_patch_size(patch, spacing)
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand((1, 1, *(max(2, edge // 6) for edge in size)), generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size, mode="bilinear" if len(size) == 2 else "trilinear")
    segmentation = torch.bucketize(smooth[0], torch.tensor([0.5, 0.65])).to(torch.int16)
    return {
        "image": torch.randn((channels, *size), generator=generator),
        "segmentation": segmentation,
    }


def pipeline(patch: Sequence[int], spacing: Sequence[float], scales: Any = None, **nnunet: Any) -> ComposeTransforms:
    return paper_training_transforms(patch, spacing, paper_mirror_axes(patch), scales, **nnunet)


def contains(transforms: ComposeTransforms, kind: type[BasicTransform]) -> bool:
    return any(isinstance(transform, kind) for transform in transforms.transforms)


def set_probabilities(monkeypatch: pytest.MonkeyPatch, spatial: float, intensity: float) -> None:
    for name in ("P_ROTATION", "P_ELASTIC"):
        monkeypatch.setattr(augmentation, name, spatial)
    for name in ("P_CHANNEL_SHIFT", "P_BIAS_FIELD", "P_GHOSTING"):
        monkeypatch.setattr(augmentation, name, intensity)


@pytest.fixture
def every_transform_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    set_probabilities(monkeypatch, spatial=1, intensity=1)


@pytest.mark.parametrize(("patch", "spacing"), GEOMETRIES)
@pytest.mark.usefixtures("every_transform_applied")
def test_shapes_and_types_are_those_of_the_patch(patch: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    transforms = pipeline(patch, spacing)
    for i in range(5):
        seed(i)
        result = transforms(**loaded(patch, spacing))
        assert result["image"].shape == (2, *patch)
        assert result["image"].dtype == torch.float32
        assert result["image"].isfinite().all()
        assert result["segmentation"].shape == (1, *patch)
        assert result["segmentation"].dtype == torch.int16
        assert set(result["segmentation"].unique().tolist()) <= {0, 1, 2}


@pytest.mark.parametrize(("patch", "spacing"), GEOMETRIES)
def test_the_same_seed_gives_the_same_patch_and_another_seed_another(
    patch: tuple[int, ...], spacing: tuple[float, ...]
) -> None:
    results = []
    for value in (0, 0, 1):
        seed(value)
        transforms = pipeline(patch, spacing)
        results.append([transforms(**loaded(patch, spacing)) for _ in range(4)])
    first, again, other = results
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a["image"], b["image"])
        assert torch.equal(a["segmentation"], b["segmentation"])
    assert any(not torch.equal(a["image"], b["image"]) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(("patch", "spacing"), GEOMETRIES)
def test_labels_follow_the_image(
    patch: tuple[int, ...], spacing: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_probabilities(monkeypatch, spatial=1, intensity=0)
    transforms = pipeline(patch, spacing)
    for i in range(8):
        seed(i)
        sample = loaded(patch, spacing, channels=1)
        # Two labels: where three meet, the most probable one need not have half of the weight.
        sample["segmentation"].clamp_(max=1)
        before = sample["segmentation"].float()
        sample["image"] = before.clone()
        result = transforms(**sample)
        # Exactly halfway between labels either answer is right, hence the tolerance about one half.
        interpolated, label = result["image"], result["segmentation"] == 1
        assert label[interpolated > 0.51].all()
        assert not label[interpolated < 0.49].any()
        assert label.any()
        assert not torch.equal(label, center_crop(before, patch) == 1)


@pytest.mark.parametrize(("patch", "spacing"), GEOMETRIES)
def test_the_initial_patch_leaves_no_border_in_the_result(patch: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    deformation = ComposeTransforms(in_plane_deformation(patch, spacing, p_rotation=1, p_elastic=1))
    size = paper_initial_patch_size(patch, spacing)
    assert size[:-2] == patch[:-2]
    for i in range(40):
        seed(i)
        ones = {"image": torch.ones(1, *size), "segmentation": torch.ones(1, *size, dtype=torch.int16)}
        result = deformation(**ones)
        torch.testing.assert_close(result["image"], torch.ones(1, *patch))
        assert (result["segmentation"] == 1).all()


def test_a_smaller_initial_patch_would_show_a_border() -> None:
    patch, spacing = (64, 64), (1.0, 1.0)
    deformation = ComposeTransforms(in_plane_deformation(patch, spacing, p_rotation=1, p_elastic=1))
    lowest = 1
    for i in range(40):
        seed(i)
        ones = {"image": torch.ones(1, *patch), "segmentation": torch.ones(1, *patch, dtype=torch.int16)}
        lowest = min(lowest, int(deformation(**ones)["segmentation"].min()))
    assert lowest == -1


def millimetres(size: Sequence[int], spacing: Sequence[float]) -> torch.Tensor:
    """Each voxel's in-plane position from the centre, shape (2, *size)."""
    positions = [(torch.arange(n) - (n - 1) / 2) * step for n, step in zip(size, spacing, strict=True)]
    return torch.stack(torch.meshgrid(*positions, indexing="ij")[-2:])


def elastic_mm(patch: tuple[int, ...], spacing: tuple[float, ...], i: int) -> np.ndarray[Any, Any]:
    """The displacement of each voxel as seen in an image of positions, shape (2, y, x)."""
    seed(i)
    deformation = ComposeTransforms(in_plane_deformation(patch, spacing, p_rotation=0, p_elastic=1))
    image = millimetres(paper_initial_patch_size(patch, spacing), spacing)
    displacement = (deformation(image=image)["image"] - millimetres(patch, spacing)).double().numpy()
    if displacement.ndim == 4:
        assert np.ptp(displacement, axis=1).max() < 1e-3
        return np.asarray(displacement[:, 0])
    return np.asarray(displacement)


@pytest.mark.parametrize(
    ("patch", "spacing"),
    [((4, 160, 160), (7.0, 0.9, 0.9)), ((192, 128), (0.6, 1.1)), ((256, 256), (1.0, 1.0))],
)
def test_the_elastic_displacement_is_the_stated_one_in_mm(patch: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    fields = [elastic_mm(patch, spacing, i) for i in range(20)]
    peaks = np.array([np.abs(field).max(axis=(1, 2)) for field in fields])
    assert peaks.min() >= 2 - 1e-3
    assert peaks.max() <= 4 + 1e-3
    # Both ends of the range are drawn.
    assert peaks.min() < 2.5
    assert peaks.max() > 3.5
    rms = [float(np.sqrt((field**2).sum(0).mean())) for field in fields]
    assert min(rms) > 0.7
    assert max(rms) < 3
    assert 1 < float(np.median(rms)) < 2


def test_the_elastic_field_does_not_fold() -> None:
    for i in range(20):
        field = elastic_mm((128, 128), (1.0, 1.0), i)
        dy, dx = np.gradient(field, axis=(1, 2))
        jacobian = (1 + dy[0]) * (1 + dx[1]) - dy[1] * dx[0]
        assert jacobian.min() > 0


@pytest.mark.parametrize(
    ("patch", "spacing", "words"),
    [
        ((16, 160, 160), (6.5, 0.9, 0.9), None),
        ((160, 160), (0.9, 0.93), None),
        ((16, 160, 192), (6.5, 0.9, 0.9), "160 x 192 voxels"),
        ((160, 160), (0.9, 1.2), "0.9 x 1.2 mm"),
    ],
)
def test_transposition_needs_square_patches_of_square_voxels(
    patch: tuple[int, ...], spacing: tuple[float, ...], words: str | None
) -> None:
    obstacle = transposition_obstacle(patch, spacing)
    transposes = contains(pipeline(patch, spacing), TransposeAxesTransform)
    if words is None:
        assert obstacle is None
        assert transposes
    else:
        assert obstacle is not None
        assert words in obstacle
        assert not transposes


def test_transposition_and_flips_reach_all_eight_symmetries_of_the_square(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_probabilities(monkeypatch, spatial=0, intensity=0)
    patch, spacing = (3, 16, 16), (3.0, 1.0, 1.0)
    transforms, sample, seen = pipeline(patch, spacing), loaded(patch, spacing, channels=1), set()
    seed(0)
    for _ in range(200):
        result = transforms(**{key: value.clone() for key, value in sample.items()})
        seen.add(result["image"].numpy().tobytes())
    # Times two for the flip along z.
    assert len(seen) == 16


def test_only_the_axes_given_are_flipped() -> None:
    patch, spacing = (4, 32, 32), (3.0, 1.0, 1.0)
    transforms = paper_training_transforms(patch, spacing, (0, 2), None)
    flips = [t for t in transforms.transforms if isinstance(t, MirrorTransform)]
    assert [t.allowed_axes for t in flips] == [(0, 2)]
    assert not contains(paper_training_transforms(patch, spacing, (), None), MirrorTransform)
    assert paper_mirror_axes(patch) == (0, 1, 2)
    assert paper_mirror_axes((32, 32)) == (0, 1)


@pytest.mark.parametrize("patch", [(4, 32, 32), (32, 32)])
@pytest.mark.usefixtures("every_transform_applied")
def test_regions_with_an_ignore_label_and_deep_supervision(patch: tuple[int, ...]) -> None:
    spacing = (3.0, 1.0, 1.0)[-len(patch) :]
    scales = [[1.0] * len(patch), [1.0] * (len(patch) - 2) + [0.5, 0.5]]
    transforms = pipeline(patch, spacing, scales, regions=[(1, 2), 2], ignore_label=3)
    sample = loaded(patch, spacing)
    sample["segmentation"][..., :5] = 3
    seed(0)
    fine, coarse = transforms(**sample)["segmentation"]
    assert fine.shape == (3, *patch)
    assert coarse.shape == (3, *patch[:-2], 16, 16)
    assert fine.dtype == coarse.dtype == torch.bool
    whole, second, _ = fine
    assert whole.any()
    assert (whole | ~second).all()


@pytest.mark.parametrize("patch", [(4, 32, 32), (32, 32)])
@pytest.mark.usefixtures("every_transform_applied")
def test_channels_that_the_cascade_appends_stay_one_hot(patch: tuple[int, ...]) -> None:
    spacing = (3.0, 1.0, 1.0)[-len(patch) :]
    transforms = pipeline(patch, spacing, is_cascaded=True, foreground_labels=[1, 2])
    noise_free = 0
    for i in range(10):
        seed(i)
        sample = loaded(patch, spacing)
        # The previous stage predicts the truth, so that both must come out alike.
        sample["segmentation"] = sample["segmentation"].repeat(2, *(1,) * len(patch))
        result = transforms(**sample)
        assert result["image"].shape == (4, *patch)
        assert result["segmentation"].shape == (1, *patch)
        one_hot = result["image"][2:]
        assert set(one_hot.unique().tolist()) <= {0, 1}
        truth = torch.stack([result["segmentation"][0] == value for value in (1, 2)])
        noise_free += int(torch.equal(one_hot == 1, truth))
    # nnU-Net disturbs the previous stage's prediction in about half of the patches.
    assert 0 < noise_free < 10


@pytest.mark.usefixtures("every_transform_applied")
def test_voxels_outside_the_mask_for_normalisation_stay_zero() -> None:
    patch, spacing = (4, 32, 32), (3.0, 1.0, 1.0)
    transforms = pipeline(patch, spacing, use_mask_for_norm=[True, False])
    sample = loaded(patch, spacing)
    sample["segmentation"] = torch.where(sample["segmentation"] == 0, -1, 1).to(torch.int16)
    seed(0)
    result = transforms(**sample)
    outside = result["segmentation"][0] == 0
    assert outside.any()
    assert (result["image"][0][outside] == 0).all()
    assert (result["image"][0][~outside] != 0).all()
    assert (result["image"][1] != 0).all()


def test_an_unknown_order_of_nnunets_transforms_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nnUNetTrainer, "get_training_transforms", staticmethod(lambda *_, **__: ComposeTransforms([])))
    with pytest.raises(RuntimeError, match="0 MirrorTransform"):
        pipeline((4, 32, 32), (3.0, 1.0, 1.0))


def test_the_pipeline_can_be_sent_to_a_worker() -> None:
    patch, spacing = (4, 32, 32), (3.0, 1.0, 1.0)
    transforms = pipeline(patch, spacing)
    results = []
    for each in (transforms, pickle.loads(pickle.dumps(transforms))):
        seed(3)
        results.append(each(**loaded(patch, spacing))["image"])
    assert torch.equal(*results)
