"""One picture of many cases: axial slices with the outlines of masks.

Colours are those of Okabe and Ito, which stay distinct under colour blindness; label 2 is dashed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import complete_or_absent
from nnunetv2_sa_unet.images.masks import OTHER, WMH
from nnunetv2_sa_unet.images.volumes import read_volume

__all__ = ["ORANGE", "SKY_BLUE", "Panel", "display_window", "draw_panels", "make_panel"]

SKY_BLUE, ORANGE = "#56B4E9", "#E69F00"
# The first mask is drawn wider, so that the second on top of it does not hide it.
_STYLES = ((SKY_BLUE, 1.6), (ORANGE, 0.7))
_DASHES = {WMH: "solid", OTHER: (0, (2.5, 1.5))}
_PANEL_INCHES = 3.2
_DOTS_PER_INCH = 150


@dataclass(frozen=True)
class Panel:
    """One slice to draw: patient's right on the left, front on top.

    Attributes:
        title: written above.
        image: brightness (rows, columns).
        masks: labels (rows, columns) by what the legend calls them, at most two.
        spacing: edges of a pixel in mm (row, column).
        window: brightness shown black and white.
    """

    title: str
    image: npt.NDArray[np.floating]
    masks: Mapping[str, npt.NDArray[np.integer]]
    spacing: tuple[float, float]
    window: tuple[float, float]


def make_panel(title: str, image: Path, masks: Mapping[str, Path]) -> Panel:
    """Choose the slice of a case that shows most.

    That is the slice with most label 1 in the first mask, or in the next one where the first has none;
    without any, the slice in the middle of the volume.

    Args:
        title: written above the slice.
        image: volume, any orientation.
        masks: labels on the same grid, by what the legend calls them.

    Raises:
        InputError: a file cannot be read, or a mask has another shape than the image.
    """
    volume = SimpleITK.DICOMOrient(read_volume(image), "LPS")
    brightness = SimpleITK.GetArrayFromImage(volume)
    labels = {}
    for name, path in masks.items():
        labels[name] = SimpleITK.GetArrayFromImage(SimpleITK.DICOMOrient(read_volume(path), "LPS"))
        if labels[name].shape != brightness.shape:
            raise InputError(
                f"{path}: {labels[name].shape} voxels (z, y, x), expected {brightness.shape} as in {image}"
            )
    chosen = len(brightness) // 2
    for label in labels.values():
        lesion = (label == WMH).sum(axis=(1, 2))
        if lesion.any():
            chosen = int(lesion.argmax())
            break
    column, row, _ = volume.GetSpacing()
    return Panel(
        title=title,
        image=brightness[chosen].astype(np.float32),
        masks={name: label[chosen] for name, label in labels.items()},
        spacing=(row, column),
        window=display_window(brightness),
    )


def display_window(brightness: npt.NDArray[Any]) -> tuple[float, float]:
    """The brightness of a FLAIR volume that is shown black and that shown white."""
    # The scalp's fat is brighter than any lesion: its brightest part may saturate.
    return 0.0, float(np.percentile(brightness, 99.3))


def draw_panels(path: Path, panels: Sequence[Panel], heading: str = "") -> None:
    """Draw all panels with one legend into one PNG."""
    columns = min(len(panels), 4)
    rows = -(-len(panels) // columns)
    extents = [_extent(panel) for panel in panels]
    height = max(high / wide for wide, high in extents) * _PANEL_INCHES + 0.35
    figure = Figure(figsize=(columns * _PANEL_INCHES, rows * height + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, panel in zip(axes, panels, strict=False):
        _draw(axis, panel)
    if heading:
        figure.suptitle(heading)
    figure.legend(handles=_legend(panels), loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    with complete_or_absent(path) as temporary:
        figure.savefig(temporary, dpi=_DOTS_PER_INCH, format="png")


def _extent(panel: Panel) -> tuple[float, float]:
    """Width and height in mm."""
    rows, columns = panel.image.shape
    return columns * panel.spacing[1], rows * panel.spacing[0]


def _draw(axis: Axes, panel: Panel) -> None:
    black, white = panel.window
    aspect = panel.spacing[0] / panel.spacing[1]
    axis.imshow(panel.image, cmap="gray", vmin=black, vmax=white, aspect=aspect, interpolation="nearest")
    axis.set_title(panel.title, fontsize=9)
    for mask, (colour, width) in zip(panel.masks.values(), _STYLES, strict=False):
        for value, dashes in _DASHES.items():
            inside = mask == value
            if inside.any():
                axis.contour(inside, levels=[0.5], colors=[colour], linewidths=width, linestyles=[dashes])


def _legend(panels: Sequence[Panel]) -> list[Line2D]:
    """A line for each mask, and for its other lesions where a panel shows some."""
    handles = []
    for index, name in enumerate(panels[0].masks):
        colour, width = _STYLES[index]
        for value, what in ((WMH, name), (OTHER, f"{name}, other")):
            if value == WMH or any((list(panel.masks.values())[index] == value).any() for panel in panels):
                handles.append(Line2D([], [], color=colour, lw=width, ls=_DASHES[value], label=what))
    return handles
