"""Draw a FLAIR volume as it is and spoiled in five ways, with what ``segment`` says of each.

python docs/how-to/quality_figure.py IMAGE OUTPUT
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

import matplotlib as mpl
import numpy as np
import SimpleITK

from nnunetv2_sa_unet.images.quality import measure
from nnunetv2_sa_unet.images.volumes import read_volume

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from image_quality import bright_fluid, cut, ghosts, noise

mpl.use("Agg")
from matplotlib import pyplot as plt


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    image = SimpleITK.DICOMOrient(read_volume(arguments.image), "LPS")
    kinds = {
        "as it is": image,
        "every 2nd line of k-space × 0.7": ghosts(image, 2, 0.7),
        "noise": noise(image, 0.1),
        "20 mm of the back cut off": cut(image, 1, 20, False),
        "bright fluid, as in T2": bright_fluid(image),
    }
    figure, axes = plt.subplots(1, len(kinds), figsize=(15, 4.2), facecolor="white")
    for axis, (name, volume) in zip(axes, kinds.items(), strict=True):
        values = SimpleITK.GetArrayFromImage(volume)
        found = measure(volume)
        plane = values[len(values) * 6 // 10]
        spacing = volume.GetSpacing()
        axis.imshow(plane, cmap="gray", vmin=0, vmax=np.percentile(plane, 99.5) * 0.8, aspect=spacing[1] / spacing[0])
        axis.set_title(name, fontsize=11)
        said = [finding.sentence for finding in found.findings()] if found is not None else []
        axis.set_xlabel(textwrap.fill("; ".join(said) or "no flag", 34), fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.tight_layout()
    figure.savefig(arguments.output, dpi=80)


if __name__ == "__main__":
    main()
