"""A table as Markdown, as LaTeX and as CSV."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2_sa_unet.files import write_rows
from nnunetv2_sa_unet.text import printable

__all__ = ["Table", "as_latex", "as_markdown", "write_csv"]

# What LaTeX reads as commands, and what is no letter in all of its fonts.
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "↓": r"$\downarrow$",
    "–": "--",
    "<": "$<$",
    **{character: rf"\{character}" for character in "&%$#_{}"},
}
# What would end a cell, and what would begin a tag.
_MARKDOWN = {"|": r"\|", "<": "&lt;"}
_MARKDOWN_PATTERN = re.compile(r"\||<(?=[A-Za-z/!?])")
_LATEX_PATTERN = re.compile("|".join(map(re.escape, _LATEX)))
_MINUS = re.compile(r"(?<!\w)-(?=\d)")


@dataclass(frozen=True)
class Table:
    """A table as it is read, and the numbers behind it.

    Attributes:
        name: a word that names its file and its label.
        title: one line.
        header: the columns' names.
        lines: the cells, as many in each line as there are columns.
        notes: lines below the table.
        records: a row of the CSV each, by the names of its columns, which are the same in each.
    """

    name: str
    title: str
    header: Sequence[str]
    lines: Sequence[Sequence[str]]
    notes: Sequence[str]
    records: Sequence[Mapping[str, Any]]


def as_markdown(table: Table) -> str:
    """Aligned columns, and the notes below them; without the title."""
    lines = [list(map(_for_markdown, line)) for line in (table.header, *table.lines)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(table.header))]
    lines.insert(1, ["-" * width for width in widths])
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    return "\n".join([*text, "", *map(_for_markdown, table.notes)]) + "\n"


def as_latex(table: Table) -> str:
    """A floating table for the packages booktabs and adjustbox; the notes are part of its caption."""
    rows = [" & ".join(map(_escaped, line)) + r" \\" for line in (table.header, *table.lines)]
    caption = " ".join(_escaped(part) for part in (f"{table.title}.", *table.notes))
    return "\n".join(
        [
            r"\begin{table*}",
            rf"\caption[{_escaped(table.title)}]{{{caption}}}",
            rf"\label{{tab:{table.name}}}",
            r"\begin{adjustbox}{max width=\textwidth,center}",
            rf"\begin{{tabular}}{{{'l' * len(table.header)}}}",
            r"\toprule",
            rows[0],
            r"\midrule",
            *rows[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{adjustbox}",
            r"\end{table*}",
            "",
        ]
    )


def write_csv(path: Path, table: Table) -> None:
    """Write a column a number; what has no value is an empty field."""
    columns = list(table.records[0]) if table.records else []
    write_rows(path, columns, ([record[column] for column in columns] for record in table.records))


def _for_markdown(text: str) -> str:
    """Text as it is, where names of the user hold what Markdown or HTML read as commands."""
    return _MARKDOWN_PATTERN.sub(lambda match: _MARKDOWN[match.group()], printable(text))


def _escaped(text: str) -> str:
    text = printable(text)
    return _MINUS.sub("$-$", _LATEX_PATTERN.sub(lambda match: _LATEX[match.group()], text))
