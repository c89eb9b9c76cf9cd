"""A table in three forms."""

from __future__ import annotations

import csv
from pathlib import Path

from nnunetv2_sa_unet.files import write_text
from nnunetv2_sa_unet.study.formats import Table, as_latex, as_markdown, write_csv

TABLE = Table(
    name="table9",
    title="Models & more",
    header=["Models", "AVD ↓"],
    lines=[["Backbone with (3,3,1) & (2,2,1)", "-0.116 [-0.081, +0.151]"], ["my_model {50%}", "–"]],
    notes=["100 % of Dataset100_FLAIR.", "p < 0.05."],
    records=[{"model": "a", "avd": 0.1160001}, {"model": "b, c", "avd": None}],
)


def test_markdown_has_aligned_columns_and_the_notes_below() -> None:
    assert as_markdown(TABLE).splitlines() == [
        "| Models                          | AVD ↓                   |",
        "| ------------------------------- | ----------------------- |",
        "| Backbone with (3,3,1) & (2,2,1) | -0.116 [-0.081, +0.151] |",
        "| my_model {50%}                  | –                       |",
        "",
        "100 % of Dataset100_FLAIR.",
        "p < 0.05.",
    ]


def test_names_that_markdown_would_obey_stay_names() -> None:
    table = Table("t", "t", ["Models"], [["a|b <b>"], ["\x1b[31mred"]], ["a|b: 1 of 2"], [])
    assert as_markdown(table).splitlines() == [
        "| Models      |",
        "| ----------- |",
        r"| a\|b &lt;b> |",
        r"| \x1b[31mred |",
        "",
        r"a\|b: 1 of 2",
    ]


def test_latex_is_a_booktabs_table_with_everything_special_escaped() -> None:
    lines = as_latex(TABLE).splitlines()
    assert lines[1] == (r"\caption[Models \& more]{Models \& more. 100 \% of Dataset100\_FLAIR. p $<$ 0.05.}")
    assert r"\label{tab:table9}" in lines
    rules = [lines.index(rf"\{rule}") for rule in ("toprule", "midrule", "bottomrule")]
    assert lines[rules[0] - 1] == r"\begin{tabular}{ll}"
    assert lines[rules[0] + 1 : rules[1]] == [r"Models & AVD $\downarrow$ \\"]
    assert lines[rules[1] + 1 : rules[2]] == [
        r"Backbone with (3,3,1) \& (2,2,1) & $-$0.116 [$-$0.081, +0.151] \\",
        r"my\_model \{50\%\} & -- \\",
    ]
    opened = [line.split("{")[1].split("}")[0] for line in lines if line.startswith(r"\begin")]
    closed = [line.split("{")[1].split("}")[0] for line in lines if line.startswith(r"\end")]
    assert opened == closed[::-1] == ["table*", "adjustbox", "tabular"]


def test_a_hyphen_in_a_name_is_no_minus() -> None:
    table = Table("t", "t", ["case-01", "-1"], [], [], [])
    assert r"case-01 & $-$1 \\" in as_latex(table)


def test_a_backslash_is_escaped_once() -> None:
    assert r"a\textbackslash{}\_b \\" in as_latex(Table("t", "t", [r"a\_b"], [], [], []))


def test_the_csv_has_full_precision_and_empty_fields(tmp_path: Path) -> None:
    write_csv(tmp_path / "table.csv", TABLE)
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as stream:
        assert list(csv.DictReader(stream)) == [
            {"model": "a", "avd": "0.1160001"},
            {"model": "b, c", "avd": ""},
        ]


def test_text_is_written_as_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "text.md", "AVD ↓")
    assert (tmp_path / "new" / "text.md").read_bytes().decode("utf-8") == "AVD ↓"
