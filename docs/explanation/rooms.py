"""Draw ``rooms.svg``: the rooms of the package, each above all that it imports.

    python docs/explanation/rooms.py

The picture is made from the import statements alone. The floor of a room is one above the highest of those that it
imports; ``tests/test_rooms.py`` holds which rooms may import which. Modules at the top of the package, which every
room may use, are drawn as one.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from html import escape
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "nnunetv2_sa_unet"
PICTURE = Path(__file__).with_name("rooms.svg")
SHARED = "errors, text, files …"
#: The column of a room, and what it is about. An arrow goes sideways below its room and then down in the column of the
#: other, where no third room may be in its way.
ROOMS = {
    "commands": (3, "one parser a command"),
    "convert": (1, "data sets in, BIDS out"),
    "demo": (2, "synthetic heads"),
    "discovery": (0, "start-up hook"),
    "images": (2, "masks, volumes, DICOM, BIDS"),
    "longitudinal": (3, "change between visits"),
    "networks": (4, "plain torch modules"),
    "nnunet": (3, "trainers, recipe, planner"),
    "plans": (5, "nnU-Net's plan to ours"),
    "regions": (1, "where in the head"),
    "report": (3, "one page for a folder"),
    "scores": (4, "the challenge's metrics"),
    "segmentation": (3, "FLAIR in, mask and row out"),
    "study": (5, "tables, ablation"),
    "weights": (3, "models in the box"),
    SHARED: (2, "small modules for all"),
}
BOX, GAP, FLOOR, MARGIN = (176, 46), 18, 92, 16


def imports() -> dict[str, set[str]]:
    """Each room, and the other rooms that its modules import."""
    found: dict[str, set[str]] = defaultdict(set)
    for module in sorted(PACKAGE.rglob("*.py")):
        parts = module.relative_to(PACKAGE).parts
        # The folder of trainers is nnU-Net's to import, and the doctor's look at it is no part of the hook. The package
        # itself offers functions of its rooms, and belongs to none.
        if parts[0] in ("__init__.py", "plans_overrides") or module.name == "probe.py" or "trainers" in parts[:-1]:
            continue
        room = parts[0] if len(parts) > 1 else SHARED
        found[room] |= set()
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or (node.module or "").split(".")[0] != PACKAGE.name:
                continue
            below = node.module.split(".")[1:] or [alias.name for alias in node.names]
            found[room] |= {
                name if (PACKAGE / name).is_dir() else SHARED for name in below[:1] if name != "__version__"
            }
    return {room: others - {room} for room, others in found.items()}


def floors(rooms: dict[str, set[str]]) -> dict[str, int]:
    """The floor of each room, 0 at the ground."""
    level: dict[str, int] = {}

    def floor(room: str) -> int:
        if room not in level:
            level[room] = max((floor(other) + 1 for other in rooms[room]), default=0)
        return level[room]

    for room in rooms:
        floor(room)
    return level


def without_detours(rooms: dict[str, set[str]]) -> dict[str, set[str]]:
    """The arrows to draw: those that no chain of others says already."""

    def reach(room: str) -> set[str]:
        return rooms[room].union(*(reach(other) for other in rooms[room]))

    return {
        room: {other for other in others if not any(other in reach(third) for third in others - {other})}
        for room, others in rooms.items()
    }


def draw(rooms: dict[str, set[str]]) -> str:
    """The picture as SVG."""
    level = floors(rooms)
    columns = {room: ROOMS[room][0] for room in rooms if room in ROOMS}
    # A room that the table above does not know yet gets a column of its own.
    columns |= {room: 1 + max(columns.values()) + index for index, room in enumerate(sorted(rooms.keys() - columns))}
    width = (1 + max(columns.values())) * (BOX[0] + GAP) - GAP + 2 * MARGIN
    height = max(level.values()) * FLOOR + BOX[1] + 2 * MARGIN
    place = {
        room: (MARGIN + columns[room] * (BOX[0] + GAP), height - MARGIN - BOX[1] - level[room] * FLOOR)
        for room in rooms
    }
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" text-anchor="middle" role="img">',
        "<title>The rooms of the package, each above those that it imports</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for room, others in sorted(without_detours(rooms).items()):
        for other in sorted(others):
            (x, y), (below_x, below_y) = place[room], place[other]
            start, end, turn = x + BOX[0] / 2, below_x + BOX[0] / 2, y + FLOOR
            middle = (y + BOX[1] + turn) / 2
            lines.append(
                f'<path d="M{start:g} {y + BOX[1]} C{start:g} {middle:g} {end:g} {middle:g} {end:g} {turn} V{below_y}" '
                'fill="none" stroke="#0072b2" stroke-width="1.5"/>'
            )
    for room, (x, y) in sorted(place.items()):
        middle = f'x="{x + BOX[0] / 2:g}"'
        words = escape(ROOMS.get(room, (0, ""))[1])
        lines += [
            f'<rect x="{x:g}" y="{y:g}" width="{BOX[0]}" height="{BOX[1]}" rx="6" fill="#f2f5f8" stroke="#53606b"/>',
            f'<text {middle} y="{y + 20:g}" font-size="15" font-weight="bold" fill="#1b2328">{escape(room)}</text>',
            f'<text {middle} y="{y + 37:g}" font-size="11.5" fill="#3c474f">{words}</text>',
        ]
    return "\n".join([*lines, "</svg>\n"])


if __name__ == "__main__":
    PICTURE.write_text(draw(imports()), encoding="utf-8")
