"""What is tested is what users install."""

from __future__ import annotations

import importlib.resources
import os
import sysconfig
from pathlib import Path

import pytest

import nnunetv2_sa_unet

pytestmark = pytest.mark.skipif("SA_UNET_WHEEL" not in os.environ, reason="SA_UNET_WHEEL is set by `make test`")


def test_the_tests_run_on_the_installed_package() -> None:
    assert Path(nnunetv2_sa_unet.__file__).is_relative_to(sysconfig.get_path("purelib"))


def test_the_wheel_brings_its_data() -> None:
    package = importlib.resources.files("nnunetv2_sa_unet")
    assert package.joinpath("py.typed").is_file()
    overrides = importlib.resources.files("nnunetv2_sa_unet.plans_overrides")
    assert any(entry.name.endswith(".json") for entry in overrides.iterdir())
