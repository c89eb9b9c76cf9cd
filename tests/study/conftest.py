"""A study on a data set of which only names and folders exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunetv2_sa_unet.study.ablation import Study


@pytest.fixture
def study(tmp_path: Path) -> Study:
    for name in ("preprocessed", "results", "output"):
        (tmp_path / name).mkdir()
    return Study(
        dataset="Dataset007_Test",
        configuration="3d_fullres",
        plans="nnUNetPlans",
        variants=["nnUNetTrainerSAUNet"],
        folds=[0, 2],
        device="cpu",
        gpus=[],
        preprocessed=str(tmp_path / "preprocessed"),
        results=str(tmp_path / "results"),
        output=str(tmp_path / "output"),
    )
