"""What people see of names and messages."""

from __future__ import annotations

import os

import pytest

from nnunetv2_sa_unet.text import cell, counted, in_words, is_utf8, one_line, printable, printed


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("sub-01_äöü 日本", "sub-01_äöü 日本"),
        (os.fsdecode(b"m\xfcller"), r"m\xfcller"),
        ("\x1b]0;title\x07\x1b[31mred", r"\x1b]0;title\x07\x1b[31mred"),
        ("two\nlines\r", r"two\x0alines\x0d"),
        ("gnp.\u202eexe", r"gnp.\u202eexe"),
    ],
)
def test_a_name_is_shown_in_visible_characters(name: str, shown: str) -> None:
    assert printable(name) == shown
    assert printable(shown) == shown
    shown.encode()


def test_printed_text_keeps_its_lines() -> None:
    assert printed("a\tb\n50 %\r\x1b[31mred \u202e" + os.fsdecode(b"\xfc")) == "a\tb\n50 %\r\\x1b[31mred \\u202e\\xfc"


def test_only_text_is_utf8() -> None:
    assert is_utf8("müller")
    assert not is_utf8(os.fsdecode(b"m\xfcller"))


def test_a_message_becomes_one_line() -> None:
    assert one_line(ValueError("two\n  lines\x1b[0m")) == r"two lines\x1b[0m"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ('=HYPERLINK("http:evil","x")', '\'=HYPERLINK("http:evil","x")'),
        ("@SUM(1)", "'@SUM(1)"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("sub-01", "sub-01"),
        ("", ""),
        (-1.5, -1.5),
        (None, None),
    ],
)
def test_text_in_a_table_is_no_formula(value: object, written: object) -> None:
    assert cell(value) == written


@pytest.mark.parametrize(("number", "said"), [(0, "0 lesions"), (1, "1 lesion"), (2, "2 lesions")])
def test_things_are_counted_in_words_that_agree(number: int, said: str) -> None:
    assert counted(number, "lesion") == said


@pytest.mark.parametrize(("number", "said"), [(0, "no lesions"), (1, "one lesion"), (13, "13 lesions")])
def test_things_are_counted_in_prose(number: int, said: str) -> None:
    assert in_words(number, "lesion") == said
