"""What the package itself offers, without a cost at the start of every interpreter."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import nnunetv2_sa_unet

FUNCTIONS = ("score", "segment")


def test_the_functions_are_there_and_nothing_hides_them() -> None:
    for name in FUNCTIONS:
        assert callable(getattr(nnunetv2_sa_unet, name))
        assert name in dir(nnunetv2_sa_unet)
        # A module of that name would be what the package has once it is imported.
        assert find_spec(f"nnunetv2_sa_unet.{name}") is None
    with pytest.raises(AttributeError, match="module 'nnunetv2_sa_unet' has no attribute 'segments'"):
        _ = nnunetv2_sa_unet.segments  # type: ignore[attr-defined]


def test_checkers_of_types_see_each_function_where_it_is() -> None:
    imported = {}
    for node in ast.walk(ast.parse(Path(nnunetv2_sa_unet.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("nnunetv2_sa_unet."):
            imported |= {str(alias.asname): str(node.module) for alias in node.names}
    assert tuple(sorted(imported)) == FUNCTIONS
    assert {name: getattr(nnunetv2_sa_unet, name).__module__ for name in FUNCTIONS} == imported


def test_the_package_imports_nothing_until_it_is_asked() -> None:
    code = (
        "import sys; before = set(sys.modules); import nnunetv2_sa_unet; dir(nnunetv2_sa_unet)\n"
        "assert set(sys.modules) - before <= {'nnunetv2_sa_unet'}, set(sys.modules) - before"
    )
    # Without site, which has loaded the start-up hook.
    root = Path(nnunetv2_sa_unet.__file__).parents[1]
    subprocess.run(
        [sys.executable, "-S", "-E", "-c", f"import sys; sys.path.insert(0, {str(root)!r}); {code}"], check=True
    )
