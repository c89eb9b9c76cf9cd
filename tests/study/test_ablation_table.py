"""The table of an ablation study, from the summaries of ``evaluate`` to Markdown and CSV."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.plans.variants import VARIANTS
from nnunetv2_sa_unet.study.ablation_table import ablation_table, rows
from nnunetv2_sa_unet.study.formats import as_markdown, write_csv
from nnunetv2_sa_unet.study.published import PAPER


def summary(path: Path, dice: float, cases: int = 4, with_avd: int = 4) -> Path:
    def metric(mean: float, n: int) -> dict[str, Any]:
        spread = {"std": 0.1, "interval": [mean / 2, mean * 2]} if n > 1 else {"std": None, "interval": None}
        empty = [f"case{number}" for number in range(n, cases)]
        return {"mean": mean if n else None, **spread, "cases": n, "empty": empty}

    metrics = {"dice": metric(dice, cases), "h95_mm": metric(6.0, cases), "avd_percent": metric(25.0, with_avd)}
    metrics |= {"lesion_recall": metric(0.3, cases), "lesion_f1": metric(0.4, cases)}
    path.write_text(json.dumps({"cases": cases, "metrics": metrics}))
    return path


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_every_trainer_has_its_row_of_the_paper() -> None:
    assert set(PAPER) == set(VARIANTS)
    for name, row in PAPER.items():
        if "(Backbone" in VARIANTS[name].summary:
            label = row.label.replace("GN+3D", "GN + 3D")
            assert VARIANTS[name].summary.endswith(f"({label})")


def test_rows_stand_in_the_papers_order_whatever_order_they_are_given_in(tmp_path: Path) -> None:
    path = summary(tmp_path / "summary.json", 0.5)
    table = rows(dict.fromkeys(["another", *reversed(PAPER)], path))

    labels = [row.keys["label"] for row in table]
    assert labels[0] == "Backbone with (3,3,3) & (2,2,2)"
    assert labels[5:] == ["3D SA-UNet", "3D U-Net", "Attention UNet", "another"]


def test_the_papers_figures_stand_beside_the_measured_ones(tmp_path: Path) -> None:
    summaries = {"nnUNetTrainerSAUNet": summary(tmp_path / "summary.json", 0.5)}
    table = ablation_table(summaries, "Dataset007 (folds 0, 1)")
    header, rule, row, _, *notes = as_markdown(table).splitlines()

    # The paper has no H95 and no recall.
    assert cells(header) == ["Models", "DICE: paper", "measured", "H95 ↓", "AVD ↓: paper", "measured", "recall",
                             "F1: paper", "measured", "cases"]  # fmt: skip
    # AVD is stored in percent and printed as a fraction, as in the paper.
    assert cells(row) == ["3D SA-UNet", "0.79", "0.500 [0.250, 1.000]", "6.00 [3.00, 12.00]", "0.174",
                          "0.250 [0.125, 0.500]", "0.300 [0.150, 0.600]", "0.76", "0.400 [0.200, 0.800]",
                          "4"]  # fmt: skip
    assert len(header) == len(rule) == len(row)
    assert "110 test cases" in notes[1]
    assert "cross-validation on Dataset007 (folds 0, 1)" in notes[2]


def test_a_network_that_the_paper_does_not_list_and_metrics_without_a_value_get_dashes(tmp_path: Path) -> None:
    known = summary(tmp_path / "known.json", 0.5)
    mine = summary(tmp_path / "mine.json", 0.5, cases=1, with_avd=0)
    text = as_markdown(ablation_table({"nnUNetTrainerSAUNet": known, "mine": mine}, "Dataset007"))

    assert cells(text.splitlines()[3]) == ["mine", "–", "0.500", "6.00", "–", "–", "0.300", "–", "0.400", "1"]
    assert "mine: 1 of 1 cases have no AVD and are left out of its mean: case0." in text


def test_the_csv_holds_every_number_in_a_column_of_its_own(tmp_path: Path) -> None:
    path = summary(tmp_path / "summary.json", 0.5, with_avd=3)
    write_csv(tmp_path / "table.csv", ablation_table({"nnUNetTrainerUNet3D": path, "mine": path}, ""))

    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as stream:
        unet, mine = csv.DictReader(stream)
    assert (unet["variant"], unet["label"], unet["cases"]) == ("nnUNetTrainerUNet3D", "3D U-Net", "4")
    assert [unet[f"avd_{kind}"] for kind in ("paper", "measured", "low", "high", "cases")] == [
        "0.289", "0.25", "0.125", "0.5", "3"
    ]  # fmt: skip
    assert [unet[f"h95_{kind}"] for kind in ("paper", "measured", "low", "high", "cases")] == [
        "", "6.0", "3.0", "12.0", "4"
    ]  # fmt: skip
    assert (mine["label"], mine["dice_paper"], mine["dice_measured"]) == ("mine", "", "0.5")


@pytest.mark.parametrize("content", [None, "{", "{}", '{"cases": 1, "metrics": {"dice": 3}}'])
def test_a_summary_that_cannot_be_read_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "summary.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=r"summary\.json: cannot be read .*: remove it and run again"):
        rows({"nnUNetTrainerSAUNet": path})
