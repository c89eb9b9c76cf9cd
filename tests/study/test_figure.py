"""The figure of all cases by scanner."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
from matplotlib.colors import to_rgb

from nnunetv2_sa_unet.scores.metrics import CaseMetrics
from nnunetv2_sa_unet.study.figure import draw_scanners
from nnunetv2_sa_unet.study.tables import cases_by_scanner, make_models

BLUE, ORANGE = "#0072B2", "#E69F00"


def scores(dice: float, h95: float | None = 5.0) -> dict[str, CaseMetrics]:
    cases = [f"{site}_{number}" for site in ("Utrecht", "GE3T") for number in range(4)]
    return {
        case: CaseMetrics(dice + index / 50, h95, 10.0 * index, dice, dice, 1.0, 1.0, 1, 1)
        for index, case in enumerate(cases)
    }


def draw(path: Path, models: dict[str, dict[str, CaseMetrics]]) -> None:
    draw_scanners(path, make_models(models), cases_by_scanner(list(scores(0))))


def pixels_of(path: Path, colour: str) -> int:
    picture = matplotlib.image.imread(path)[..., :3]
    return int((np.abs(picture - np.array(to_rgb(colour))).max(axis=-1) < 0.1).sum())


def test_every_model_has_dots_of_its_colour(tmp_path: Path) -> None:
    draw(tmp_path / "one.png", {"a": scores(0.2)})
    draw(tmp_path / "two.png", {"a": scores(0.2), "b": scores(0.6)})
    assert pixels_of(tmp_path / "one.png", BLUE) > 50
    assert pixels_of(tmp_path / "one.png", ORANGE) == 0
    assert pixels_of(tmp_path / "two.png", ORANGE) > 50


def test_what_has_no_value_is_not_drawn(tmp_path: Path) -> None:
    some = scores(0.6)
    some["GE3T_0"] = replace(some["GE3T_0"], avd_percent=None)
    draw(tmp_path / "some.png", {"a": scores(0.2), "b": some})
    draw(tmp_path / "none.png", {"a": scores(0.2), "b": scores(0.6, h95=None)})
    assert pixels_of(tmp_path / "some.png", ORANGE) > pixels_of(tmp_path / "none.png", ORANGE) > 50


def test_more_models_than_colours_make_a_wider_figure(tmp_path: Path) -> None:
    widths = []
    for models in (1, 12):
        path = tmp_path / f"{models}.png"
        draw(path, {f"model{number}": scores(0.3) for number in range(models)})
        widths.append(matplotlib.image.imread(path).shape[1])
    assert widths[1] > widths[0]


def test_a_name_is_no_formula(tmp_path: Path) -> None:
    draw(tmp_path / "figure.png", {r"$\foo$": scores(0.2), "$x": scores(0.6)})
    assert pixels_of(tmp_path / "figure.png", ORANGE) > 50
