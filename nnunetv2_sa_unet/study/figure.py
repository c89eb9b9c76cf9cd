"""Every case of every model as a dot, with a box over them, by scanner.

Colours are those of Okabe and Ito, which stay distinct under colour blindness; models have shapes as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nnunetv2_sa_unet.files import complete_or_absent
from nnunetv2_sa_unet.scores.statistics import SEED
from nnunetv2_sa_unet.study.result_table import METRICS, Metric
from nnunetv2_sa_unet.study.tables import Model, scanner_label
from nnunetv2_sa_unet.text import printable

__all__ = ["draw_scanners"]

_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#F0E442")
_MARKERS = "os^vD<>P"
_AXIS_NAMES = {"dice": "Dice", "h95": "H95 (mm)", "avd": "AVD (fraction)", "recall": "lesion recall", "f1": "lesion F1"}
_AVD_TICKS = (0, 0.25, 0.5, 0.75, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_BOX_INCHES, _ROW_INCHES, _MARGIN_INCHES = 0.3, 2.1, 1.2
_FEWEST_INCHES, _MOST_INCHES = 6.0, 24.0
_DOTS_PER_INCH = 150


def draw_scanners(path: Path, models: Sequence[Model], groups: Mapping[str, Sequence[str]]) -> None:
    """Draw one row of axes a metric into a PNG; cases without a value are not in it, and its axes say how many.

    AVD is linear to 1 (100 %) and logarithmic beyond, where few cases would press all others flat.

    Args:
        path: of the PNG.
        models: see ``tables.make_models``.
        groups: their cases by scanner.
    """
    boxes = len(groups) * (len(models) + 1)
    width = min(max(boxes * _BOX_INCHES + _MARGIN_INCHES, _FEWEST_INCHES), _MOST_INCHES)
    # A name is no formula, whatever stands between two $ in it.
    with rc_context({"text.parse_math": False}):
        figure = Figure(figsize=(width, len(METRICS) * _ROW_INCHES + 1), layout="constrained")
        FigureCanvasAgg(figure)
        for axis, metric in zip(figure.subplots(len(METRICS), 1, sharex=True), METRICS, strict=True):
            _draw(axis, metric, models, groups)
        axis.set_xticks(
            [index * (len(models) + 1) + (len(models) - 1) / 2 for index in range(len(groups))],
            [f"{printable(scanner_label(site))} (n = {len(cases)})" for site, cases in groups.items()],
        )
        names = [printable(model.label) for model in models]
        handles = [Line2D([], [], label=name, ls="none", **_style(index)) for index, name in enumerate(names)]
        columns = max(1, int(width // 3))
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=9, frameon=False)
        with complete_or_absent(path) as temporary:
            figure.savefig(temporary, dpi=_DOTS_PER_INCH, format="png")


def _draw(axis: Axes, metric: Metric, models: Sequence[Model], groups: Mapping[str, Sequence[str]]) -> None:
    random = np.random.default_rng(SEED)
    without = 0
    for site_index, cases in enumerate(groups.values()):
        for index, model in enumerate(models):
            found = [getattr(model.cases[case], metric.key) for case in cases]
            values = np.array([value for value in found if value is not None]) * metric.unit
            without += len(found) - len(values)
            if values.size == 0:
                continue
            position = site_index * (len(models) + 1) + index
            axis.boxplot(
                [values],
                positions=[position],
                widths=0.8,
                showfliers=False,
                patch_artist=True,
                boxprops={"facecolor": (*to_rgb(_COLOURS[index % len(_COLOURS)]), 0.2), "linewidth": 0.7},
                whiskerprops={"linewidth": 0.7},
                capprops={"linewidth": 0.7},
                medianprops={"color": "black", "linewidth": 1.5},
                zorder=1,
            )
            across = position + random.uniform(-0.2, 0.2, values.size)
            axis.plot(across, values, ls="none", zorder=2, **_style(index))
    axis.set_ylabel(_AXIS_NAMES[metric.name] + (f"\n{without} without a value" if without else ""))
    axis.grid(axis="y", alpha=0.3)
    if metric.name == "avd":
        axis.set_yscale("symlog", linthresh=1)
        top = max(1, axis.get_ylim()[1])
        ticks = [tick for tick in _AVD_TICKS if tick <= top]
        axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set_ylim(0, top)
    else:
        axis.set_ylim(*((-0.03, 1.03) if metric.name != "h95" else (0, None)))


def _style(index: int) -> dict[str, Any]:
    """The look of a model's dots."""
    return {
        "color": _COLOURS[index % len(_COLOURS)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "markersize": 3.5,
        "markeredgecolor": "black",
        "markeredgewidth": 0.3,
    }
