"""Every room imports only rooms below it, so that a change is understood from below."""

from __future__ import annotations

import ast
from importlib.resources import files
from pathlib import Path

import pytest

import nnunetv2_sa_unet

#: From the ground up; rooms of one line do not know each other.
FLOORS = (
    ("errors",),
    ("text",),
    ("files", "datasets", "programs", "devices"),
    ("networks", "plans", "images", "discovery", "weights"),
    ("nnunet", "scores", "convert"),
    ("regions",),
    ("demo",),
    ("segmentation", "study"),
    ("report",),
    ("longitudinal",),
    ("commands",),
)
#: What the search of nnU-Net and the doctor's look at it are about: the trainers themselves.
EXCEPTIONS = {("discovery", "nnunet")}
PACKAGE = Path(str(files(nnunetv2_sa_unet)))


def rooms_imported_by(module: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == PACKAGE.name:
            found |= {alias.name for alias in node.names if alias.name != "__version__"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE.name}."):
            found.add(str(node.module).split(".")[1])
    return found


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.name != "__init__.py")


@pytest.mark.parametrize("module", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_knows_its_own_room_and_those_below(module: Path) -> None:
    floor_of = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
    room = module.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room == "plans_overrides":
        return

    above = {
        other
        for other in rooms_imported_by(module) - {room}
        if floor_of[other] >= floor_of[room] and (room, other) not in EXCEPTIONS
    }

    assert not above


@pytest.mark.parametrize("word", ["torch", "nnunetv2", "SimpleITK"])
def test_plans_are_made_without(word: str) -> None:
    for module in (PACKAGE / "plans").glob("*.py"):
        imported = list(ast.walk(ast.parse(module.read_text(encoding="utf-8"))))
        names = {alias.name for node in imported if isinstance(node, ast.Import) for alias in node.names}
        names |= {str(node.module) for node in imported if isinstance(node, ast.ImportFrom)}
        assert not any(name.split(".")[0] == word for name in names)
