"""Draw what each transform of the augmentation ``paper`` or ``sites`` does to a volume and its label.

python docs/explanation/augmentation_figure.py paper|sites IMAGE LABEL OUTPUT
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import SimpleITK as sitk  # noqa: N813  # the library's own abbreviation
import torch
from acvl_utils.cropping_and_padding.bounding_boxes import crop_and_pad_nd
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.transpose import TransposeAxesTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms

from nnunetv2_sa_unet.nnunet.augmentation import (
    bias_field,
    channel_shift,
    in_plane_deformation,
    motion_ghosting,
    paper_initial_patch_size,
)
from nnunetv2_sa_unet.nnunet.sites_augmentation import intensity_map, sites_bias_field, sites_gamma, thick_slices

mpl.use("Agg")
from matplotlib import pyplot as plt

PATCH = (16, 208, 208)
GRID_STEP = 13
LABEL_COLOURS = {1: "#ff3b30", 2: "#34c7f5"}


def load(image_path: Path, label_path: Path) -> tuple[torch.Tensor, torch.Tensor, tuple[float, ...]]:
    """Read image and label as (1, z, y, x), the image standardised as nnU-Net does, with the spacing."""
    image = sitk.ReadImage(image_path)
    label = sitk.GetArrayFromImage(sitk.ReadImage(label_path)).astype(np.int16)
    array = sitk.GetArrayFromImage(image).astype(np.float32)
    array = (array - array.mean()) / array.std()
    return torch.from_numpy(array[None]), torch.from_numpy(label[None]), image.GetSpacing()[::-1]


def crop(volume: torch.Tensor, centre: Sequence[int], size: Sequence[int], padding: int) -> torch.Tensor:
    box = [[c - s // 2, c - s // 2 + s] for c, s in zip(centre, size, strict=True)]
    return torch.from_numpy(np.array(crop_and_pad_nd(volume.numpy(), box, padding)))


# (title, transform, seed)
Panel = tuple[str, BasicTransform, int]


def paper_panels(spacing: tuple[float, ...]) -> list[Panel]:
    """The seeds were picked so that every transform does something."""
    middle = central_patch(spacing)
    return [
        ("the patch", middle, 0),
        ("rotation", ComposeTransforms(in_plane_deformation(PATCH, spacing, 1, 0)), 3),
        ("elastic deformation", ComposeTransforms(in_plane_deformation(PATCH, spacing, 0, 1)), 1),
        ("channel shift", ComposeTransforms([middle, channel_shift()]), 2),
        ("bias field", ComposeTransforms([middle, bias_field(spacing)]), 12),
        ("motion ghosting", ComposeTransforms([middle, motion_ghosting()]), 2),
        ("flips", ComposeTransforms([middle, MirrorTransform((1, 2))]), 3),
        ("transposition", ComposeTransforms([middle, TransposeAxesTransform((1, 2))]), 2),
    ]


def sites_panels(spacing: tuple[float, ...]) -> list[Panel]:
    """Two draws of what varies most."""
    middle = central_patch(spacing)
    return [
        ("the patch", middle, 0),
        ("bias field", ComposeTransforms([middle, sites_bias_field(spacing)]), 12),
        ("bias field", ComposeTransforms([middle, sites_bias_field(spacing)]), 7),
        ("thick slices", ComposeTransforms([middle, thick_slices()]), 0),
        ("intensity map", ComposeTransforms([middle, intensity_map()]), 0),
        ("intensity map", ComposeTransforms([middle, intensity_map()]), 2),
        ("gamma", ComposeTransforms([middle, sites_gamma()]), 6),
        ("gamma", ComposeTransforms([middle, sites_gamma()]), 9),
    ]


def central_patch(spacing: tuple[float, ...]) -> BasicTransform:
    return ComposeTransforms(in_plane_deformation(PATCH, spacing, p_rotation=0, p_elastic=0))


PANELS = {"paper": paper_panels, "sites": sites_panels}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("augmentation", choices=PANELS)
    for name in ("image", "label", "output"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args()
    image, label, spacing = load(args.image, args.label)
    # A square lattice as a second channel shows the displacement.
    lattice = torch.zeros_like(image)
    lattice[..., ::GRID_STEP, :] = lattice[..., ::GRID_STEP] = 1

    z = int((label[0] > 0).sum(dim=(1, 2)).argmax())
    centre = (z, *(int(axis.float().mean()) for axis in torch.where(image[0, z] > 0)))
    size = paper_initial_patch_size(PATCH, spacing)
    volume = crop(torch.cat((image, lattice)), centre, size, 0), crop(label, centre, size, -1)
    window = np.quantile(image.numpy(), (0.02, 0.985))
    figure, axes = plt.subplots(2, 4, figsize=(11, 5.8), layout="constrained")
    for axis, (title, transform, seed) in zip(axes.flat, PANELS[args.augmentation](spacing), strict=True):
        np.random.seed(seed)  # noqa: NPY002  # the generator that the transforms use
        torch.manual_seed(seed)
        result = transform(image=volume[0].clone(), segmentation=volume[1].clone())
        # Flips and transposition leave z alone here, so the middle slice stays the middle slice.
        shown, grid = result["image"][:, PATCH[0] // 2].numpy()
        outline = result["segmentation"][0, PATCH[0] // 2].numpy()
        axis.imshow(shown, cmap="gray", vmin=window[0], vmax=window[1])
        if title in ("rotation", "elastic deformation"):
            axis.imshow(np.ones_like(grid), cmap="cool", alpha=0.35 * grid.clip(0, 1))
        for value, colour in LABEL_COLOURS.items():
            if (outline == value).any():
                axis.contour(outline == value, levels=[0.5], colors=colour, linewidths=0.7)
        axis.set_title(title, fontsize=10)
        axis.axis("off")
    figure.savefig(args.output, dpi=92)


if __name__ == "__main__":
    main()
