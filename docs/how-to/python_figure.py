"""Segment the sample from Python and draw the slice with most lesion: FLAIR, probability and mask.

    python docs/how-to/python_figure.py docs/how-to/python.png

Takes as long as one volume does.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import SimpleITK
from matplotlib.figure import Figure

from nnunetv2_sa_unet import segment
from nnunetv2_sa_unet.demo.sample import SAMPLE


def main() -> None:
    """Draw it."""
    image = SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(SAMPLE)), "LPS")
    found = segment(image, min_volume=5)
    flair, probability, mask = map(SimpleITK.GetArrayFromImage, (image, found.probability, found.mask))
    z = int(np.argmax((mask == 1).sum((1, 2))))
    x, y, _ = image.GetSpacing()
    figure = Figure((9, 3.4), dpi=110, layout="constrained")
    axes = figure.subplots(1, 3)
    for axis, title in zip(axes, ("image", "found.probability", "found.mask"), strict=True):
        axis.imshow(flair[z], cmap="gray", aspect=y / x)
        axis.set_title(title, family="monospace", fontsize=10)
        axis.set_axis_off()
    axes[1].imshow(np.ma.masked_less(probability[z], 0.02), cmap="magma", vmin=0, vmax=1, alpha=0.8, aspect=y / x)
    axes[2].contour(mask[z] == 1, [0.5], colors="#ffb000", linewidths=1)
    figure.suptitle(f"{found.volume_ml:.1f} ml in {found.lesions} lesions", fontsize=10)
    figure.savefig(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
