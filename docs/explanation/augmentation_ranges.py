"""Measure the elastic displacement and the bias field of the augmentation ``paper``.

python docs/explanation/augmentation_ranges.py
"""

from __future__ import annotations

import numpy as np
import torch
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms

from nnunetv2_sa_unet.nnunet.augmentation import bias_field, in_plane_deformation, paper_initial_patch_size

# In-plane patch and spacing in mm; all of the elastic deformation happens in plane.
PLANES = [
    ((64, 64), (1.0, 1.0)),
    ((160, 128), (1.0, 1.0)),
    ((160, 160), (0.9, 0.9)),
    ((224, 224), (1.0, 1.0)),
    ((256, 256), (1.0, 1.0)),
]
HEAD_PATCH, HEAD_SPACING = (16, 208, 208), (7.7, 0.9, 0.9)
FIELDS = 60


def positions(size: tuple[int, ...], spacing: tuple[float, ...]) -> torch.Tensor:
    axes = [(torch.arange(n) - (n - 1) / 2) * step for n, step in zip(size, spacing, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def main() -> None:
    np.random.seed(0)  # noqa: NPY002  # the generator that the transforms use
    torch.manual_seed(0)
    for patch, spacing in PLANES:
        deform = ComposeTransforms(in_plane_deformation(patch, spacing, p_rotation=0, p_elastic=1))
        rms, largest, jacobian = [], [], []
        for _ in range(FIELDS):
            # What an image of positions shows after the transform is where each voxel came from.
            source = deform(image=positions(paper_initial_patch_size(patch, spacing), spacing))["image"]
            length = np.linalg.norm((source - positions(patch, spacing)).numpy(), axis=0)
            rms.append(np.sqrt((length**2).mean()))
            largest.append(length.max())
            dy, dx = np.gradient(source.numpy(), *spacing, axis=(1, 2))
            jacobian.append((dy[0] * dx[1] - dy[1] * dx[0]).min())
        print(
            f"{patch} at {spacing} mm: RMS {min(rms):.1f}-{max(rms):.1f} mm (median {np.median(rms):.1f}), "
            f"largest {min(largest):.1f}-{max(largest):.1f} mm, smallest Jacobian {min(jacobian):.2f}"
        )

    # An ellipse that is to the patch about what a head is, in every slice.
    y, x = torch.meshgrid(torch.linspace(-1, 1, HEAD_PATCH[1]), torch.linspace(-1, 1, HEAD_PATCH[2]), indexing="ij")
    head = (y / 0.85) ** 2 + (x / 0.7) ** 2 < 1
    field = bias_field(HEAD_SPACING)
    variation: dict[str, list[float]] = {"whole head": [], "middle slice": []}
    for _ in range(FIELDS):
        values = field.get_parameters(image=torch.zeros(1, *HEAD_PATCH))["fields"][0][:, head]
        for name, part in (("whole head", values), ("middle slice", values[HEAD_PATCH[0] // 2])):
            variation[name].append(100 * float(1 - part.min() / part.max()))
    for name, percent in variation.items():
        lower, median, upper = np.percentile(percent, (5, 50, 95))
        print(f"bias field varies in the {name} by {lower:.0f}-{upper:.0f} % (median {median:.0f} %)")


if __name__ == "__main__":
    main()
