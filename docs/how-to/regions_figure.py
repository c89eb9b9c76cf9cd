"""Draw ``regions.png``: the regions of a synthetic head, found as ``segment --regions`` finds them.

python docs/how-to/regions_figure.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import SimpleITK

from nnunetv2_sa_unet.demo.synthetic import make_case
from nnunetv2_sa_unet.regions.assignment import REGIONS, VENTRICLES
from nnunetv2_sa_unet.regions.location import Location, locate

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.patches import Patch

PICTURE = Path(__file__).with_name("regions.png")
SEED, LOAD_ML, SLICES = 3, 20.0, (8, 16, 22, 27)
#: Okabe and Ito's.
COLOURS = ("#E69F00", "#56B4E9", "#CC79A7", "#009E73")


def main() -> None:
    case = make_case(SEED, LOAD_ML)
    wmh = SimpleITK.GetArrayFromImage(case.label) == 1
    found = locate(case.image, wmh, "voxel")
    assert isinstance(found, Location), found
    flair = SimpleITK.GetArrayFromImage(case.image).astype(float)
    figure, axes = plt.subplots(1, len(SLICES), figsize=(12, 4), facecolor="black")
    for axis, index in zip(axes, SLICES, strict=True):
        # As a radiologist looks at it: front up, the patient's right on the left.
        plane, labels, lesions = (values[index][::-1, ::-1] for values in (flair, found.labels, wmh))
        axis.imshow(plane, cmap="gray", vmin=0, vmax=np.percentile(flair, 99.5))
        tint = np.zeros((*labels.shape, 4))
        for number, colour in enumerate(COLOURS):
            of_region = (labels > 0) & (labels != VENTRICLES) & ((labels - 1) // 2 == number)
            tint[of_region] = matplotlib.colors.to_rgba(colour, 0.28)
            tint[of_region & lesions] = matplotlib.colors.to_rgba(colour, 1.0)
        axis.imshow(tint)
        if (labels == VENTRICLES).any():
            axis.contour(labels == VENTRICLES, [0.5], colors="white", linewidths=0.9)
        axis.set_axis_off()
    handles = [Patch(color=colour, label=region) for region, colour in zip(REGIONS, COLOURS, strict=True)]
    figure.legend(handles=handles, loc="lower center", ncols=4, frameon=False, labelcolor="white")
    figure.subplots_adjust(0, 0.08, 1, 1, 0.01, 0)
    figure.savefig(PICTURE, dpi=90, facecolor="black")


if __name__ == "__main__":
    main()
