"""The README as a package index shows it: its links lead to the repository, once its address is known."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

README = "[a](docs/a.md#b) ![c](docs/c.png) [d](https://localhost/d) [e](#e) `f(g)` [h]\n"


@pytest.mark.parametrize(
    ("urls", "expected"),
    [
        ("", README),
        (
            "project_urls =\n    Source = https://localhost/me/it/\n",
            "[a](https://localhost/me/it/blob/HEAD/docs/a.md#b) ![c](https://localhost/me/it/raw/HEAD/docs/c.png) "
            "[d](https://localhost/d) [e](#e) `f(g)` [h]\n",
        ),
    ],
)
def test_links_lead_to_the_repository(source_tree: Path, tmp_path: Path, urls: str, expected: str) -> None:
    shutil.copy(source_tree / "setup.py", tmp_path)
    (tmp_path / "setup.cfg").write_text(f"[metadata]\nname = it\nversion = 1\n{urls}")
    (tmp_path / "README.md").write_text(README)
    done = subprocess.run(
        [sys.executable, "setup.py", "--long-description"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert done.stdout == expected + "\n"
