"""docs/reference/robustness.md shows the messages that bad inputs really get."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "robustness.md"


def test_the_table_of_bad_inputs_is_current() -> None:
    if not PAGE.is_file():
        pytest.skip("the documentation is not here")
    spec = importlib.util.spec_from_file_location("robustness_table", PAGE.with_name("robustness_table.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    table = module.table()
    assert int(table.split()[0]) >= 100
    assert table in PAGE.read_text(encoding="utf-8"), "run docs/reference/robustness_table.py --write"
