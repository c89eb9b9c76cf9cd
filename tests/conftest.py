"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real volumes and reference outputs, which is not part of the repository."""
    folder = os.environ.get("SA_UNET_SHARED")
    if not folder:
        pytest.skip("SA_UNET_SHARED does not name the folder of real data")
    path = Path(folder)
    if not path.is_dir():
        pytest.skip(f"SA_UNET_SHARED={folder} is not a folder")
    return path
