from __future__ import annotations

import csv

import pytest

from nnunetv2_sa_unet.benchmark.tables import draw, make_row, markdown, write_csv


@pytest.fixture
def rows():
    plain, fast = [4.0, 5.0, 6.0, 7.0, 100.0], [3.0, 3.0, 3.0, 4.0, 50.0]
    return [
        make_row("forward", "plain", "float32", plain, plain, 1234.5, 5_340_315, 154_500_000_000),
        make_row("forward", "SAUNet", "float32", fast, plain, None, 5_340_315, 100_000_000_000),
    ]


def test_rounds_are_summed_up_by_medians(rows):
    plain, fast = rows
    assert (plain.seconds, plain.lower, plain.upper, plain.ratio, plain.rounds) == (6, 5, 7, 1, 5)
    assert (fast.seconds, fast.ratio) == (3, 0.5)


def test_one_round_has_no_spread():
    row = make_row("predict", "plain", "", [2.0], [4.0], None, 1, 1)
    assert (row.seconds, row.lower, row.upper, row.ratio) == (2, 2, 2, 0.5)


def test_csv_has_a_line_per_row(rows, tmp_path):
    write_csv(tmp_path / "rows.csv", rows)
    with (tmp_path / "rows.csv").open() as file:
        plain, fast = csv.DictReader(file)
    assert (plain["network"], float(plain["peak_mb"]), float(plain["gmac"])) == ("plain", 1234.5, 154.5)
    assert fast["peak_mb"] == ""


def test_markdown_names_the_setting_and_every_network(rows):
    text = markdown(rows, {"device": "cpu"})
    assert "- device: cpu" in text
    assert "| forward | SAUNet | float32 | 3 | 3–4 | 0.50 | – | 5.34 M | 100.0 |" in text


def test_chart_is_written(rows, tmp_path):
    draw(tmp_path / "chart.png", rows, "32×128×128")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
