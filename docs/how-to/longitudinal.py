"""Draw ``longitudinal.png``: a synthetic head at two visits, compared by the command.

    python docs/how-to/longitudinal.py WORK --disable_tta

WORK is a folder for the images and what the command makes of them; a run that was stopped goes on. What stands behind
it goes to the command.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nnunetv2_sa_unet.commands.main import main as command
from nnunetv2_sa_unet.demo.synthetic import Visit, make_visits
from nnunetv2_sa_unet.images.pictures import display_window
from nnunetv2_sa_unet.longitudinal.matching import KINDS

PICTURE = Path(__file__).with_suffix(".png")
VISITS = (Visit(5.0, (3.0, -2.0, 4.0), (2.5, -3.0, 1.3)), Visit(9.0, (-4.0, 3.0, -2.0), (-3.0, 2.0, 3.0)))
#: As on the page.
COLOURS = dict(zip(KINDS, ("#D55E00", "#E69F00", "#b9c0c8", "#56B4E9", "#009E73", "#CC79A7"), strict=True))
SLICES = 3


def main(work: Path) -> None:
    work.mkdir(parents=True, exist_ok=True)
    names = ["visit1.nii.gz", "visit2.nii.gz"]
    if not all((work / name).exists() for name in names):
        for name, case in zip(names, make_visits(21, VISITS), strict=True):
            SimpleITK.WriteImage(case.image, str(work / name))
    table = work / "pairs.csv"
    with table.open("w", newline="") as stream:
        csv.writer(stream).writerows([("subject", "first", "second"), ("synthetic", *names)])
    command(["longitudinal", "--pairs", str(table), "-o", str(work / "out"), *sys.argv[2:]])
    draw(work / "out", "synthetic")


def draw(out: Path, pair: str) -> None:
    """Draw the slices that show most of each kind of change, the first visit above the second."""
    kinds = values(out / "changes" / f"{pair}_changes.nii.gz")
    spacing = SimpleITK.ReadImage(str(out / "changes" / f"{pair}_changes.nii.gz")).GetSpacing()
    areas = [(kinds == number).sum(axis=(1, 2)) for number, kind in enumerate(KINDS, 1) if kind != "stable"]
    best = [int(np.argmax(area)) for area in areas if area.any()]
    most = np.argsort(sum(areas))[::-1].tolist()
    chosen = sorted(list(dict.fromkeys([*best, *most]))[:SLICES])
    figure = Figure(figsize=(2.6 * SLICES, 6.7), layout="constrained", facecolor="black")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, SLICES)
    for row, role in enumerate(("first", "second")):
        image = values(out / "images" / f"{pair}_{role}.nii.gz")
        mask = values(out / "masks" / f"{pair}_{role}_wmh.nii.gz") == 1
        black, white = display_window(image)
        for column, index in enumerate(chosen):
            axis = axes[row, column]
            axis.axis("off")
            axis.imshow(image[index], cmap="gray", vmin=black, vmax=white, aspect=spacing[1] / spacing[0])
            axis.set_title(f"{role} visit, slice {index + 1}", color="white", fontsize=9)
            for number, kind in enumerate(KINDS, 1):
                inside = mask[index] & (kinds[index] == number)
                if inside.any():
                    axis.contour(inside, levels=[0.5], colors=[COLOURS[kind]], linewidths=1.2)
    handles = [Line2D([], [], color=COLOURS[kind], label=kind) for kind in KINDS]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, fontsize=9, frameon=False, labelcolor="white")
    figure.savefig(PICTURE, dpi=110)


def values(path: Path) -> Any:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
