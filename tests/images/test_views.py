"""A view of an image's voxels is read after the image is gone if nothing else holds that image."""

from __future__ import annotations

import ast
from pathlib import Path

import nnunetv2_sa_unet


def test_no_view_is_taken_of_an_image_without_a_name() -> None:
    found = [
        f"{path.name}:{node.lineno}"
        for path in Path(nnunetv2_sa_unet.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "GetArrayViewFromImage"
        and not isinstance(node.args[0], ast.Name | ast.Attribute)
    ]
    assert found == []
