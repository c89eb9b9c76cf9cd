"""The picture in docs/explanation/architecture.md."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def folder(source_tree: Path) -> Path:
    return source_tree / "docs" / "explanation"


@pytest.fixture
def script(folder: Path) -> dict[str, Any]:
    return runpy.run_path(str(folder / "rooms.py"))


def test_the_picture_shows_every_room(folder: Path, script: dict[str, Any]) -> None:
    shown = re.findall(r'font-weight="bold"[^>]*>([^<]*)<', (folder / "rooms.svg").read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(script["imports"]()), "draw it anew: python docs/explanation/rooms.py"


def test_floors_and_arrows(script: dict[str, Any]) -> None:
    rooms = {"roof": {"wall", "ground"}, "wall": {"ground"}, "shed": {"ground"}, "ground": set()}
    assert script["floors"](rooms) == {"ground": 0, "wall": 1, "shed": 1, "roof": 2}
    assert script["without_detours"](rooms)["roof"] == {"wall"}
