"""Names and messages as people see them: on the terminal and in tables."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["cell", "counted", "in_words", "is_utf8", "one_line", "printable", "printed"]

_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
#: What begins a formula where a spreadsheet opens a table.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
#: Control characters (a terminal obeys them), what turns the direction of text, and bytes that are no UTF-8.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def is_utf8(name: str | Path) -> bool:
    """Whether a name is text; ITK ends the process, and JSON holds nothing, where it is other bytes."""
    try:
        os.fspath(name).encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str | Path) -> str:
    """A name with what is no visible character written as its code: ``m\\xfcller``, ``\\x1b[31mred``."""
    return _UNSEEN.sub(_code, os.fspath(text))


def printed(text: str) -> str:
    """Text for a terminal: as :func:`printable`, but for line ends, tabs and the returns of progress bars."""
    return _UNSEEN.sub(lambda match: match[0] if match[0] in "\n\r\t" else _code(match), text)


def counted(number: int, thing: str) -> str:
    """A number of things: ``1 fold``, ``5 folds``."""
    return f"{number} {thing}{'s' * (number != 1)}"


def in_words(number: int, thing: str) -> str:
    """A number of things as prose has it: ``two subjects``, ``13 subjects``."""
    said = counted(number, thing)
    return said.replace(str(number), _WORDS[number], 1) if number < len(_WORDS) else said


def one_line(text: object) -> str:
    """A message in one line of visible characters."""
    return printable(" ".join(str(text).split()))


def cell(value: object) -> object:
    """A field of a CSV file: text that a spreadsheet would take for a formula begins with an apostrophe."""
    if not isinstance(value, str):
        return value
    return printable(f"'{value}" if value.startswith(_FORMULA) else value)


def _code(match: re.Match[str]) -> str:
    number = ord(match[0])
    # Bytes that are no UTF-8 are kept by Python as the last of the surrogates.
    if 0xDC80 <= number <= 0xDCFF:
        number -= 0xDC00
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
