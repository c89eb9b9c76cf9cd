"""docs/reference/robustness.md shows the messages that bad inputs really get."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def test_the_table_of_bad_inputs_is_current(source_tree: Path) -> None:
    page = source_tree / "docs" / "reference" / "robustness.md"
    spec = importlib.util.spec_from_file_location("robustness_table", page.with_name("robustness_table.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    table = module.table()
    assert int(table.split()[0]) >= 100
    assert table in page.read_text(encoding="utf-8"), "run docs/reference/robustness_table.py --write"
