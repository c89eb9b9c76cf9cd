from __future__ import annotations

import pytest

from nnunetv2_sa_unet.study.ablation import Study
from nnunetv2_sa_unet.study.members import described, member


@pytest.mark.parametrize(
    ("name", "configuration", "folder"),
    [
        ("nnUNetTrainerSAUNet", "3d_fullres", "nnUNetTrainerSAUNet__aPlans__3d_fullres"),
        ("nnUNetTrainerSAUNet", "2d", "nnUNetTrainerSAUNet__aPlans__2d"),
        ("nnUNetTrainerLi2018", "3d_fullres", "nnUNetTrainerLi2018__aPlans__2d"),
        ("nnUNetTrainerLi2018", "2d_small", "nnUNetTrainerLi2018__aPlans__2d_small"),
        ("nnUNetTrainerTrUENet", "2d", "nnUNetTrainerTrUENet__aPlans__3d_fullres"),
        ("nnUNetTrainerTrUENet", "3d_lowres", "nnUNetTrainerTrUENet__aPlans__3d_lowres"),
        ("nnUNetResEncUNetMPlans", "3d_fullres", "nnUNetTrainer__nnUNetResEncUNetMPlans__3d_fullres"),
    ],
)
def test_a_name_stands_for_a_model_in_the_configuration_that_it_is_for(
    name: str, configuration: str, folder: str
) -> None:
    assert member(name, "aPlans", configuration).folder == folder


def test_captions_name_what_has_another_configuration_or_other_plans() -> None:
    names = ["nnUNetTrainerSAUNet", "nnUNetTrainerLi2018", "nnUNetTrainerUResNet", "nnUNetPlans"]
    members = [member(name, "aPlans", "3d_fullres") for name in names]

    assert described(members[:1], "aPlans", "3d_fullres") == "aPlans, 3d_fullres"
    assert described(members, "aPlans", "3d_fullres") == (
        "aPlans, 3d_fullres; in 2d: nnUNetTrainerLi2018, nnUNetTrainerUResNet; nnUNetTrainer: nnUNetPlans"
    )


def test_a_study_trains_each_member_with_its_own_words(study: Study) -> None:
    assert study.command("nnUNetTrainerSAUNet", 2) == [
        *("nnUNetv2_train", "7", "3d_fullres", "2", "-tr", "nnUNetTrainerSAUNet", "-p", "nnUNetPlans"),
        *("-device", "cpu"),
    ]
    assert study.command("nnUNetTrainerUResNet", 0)[2] == "2d"
    assert study.command("nnUNetResEncUNetMPlans", 0)[4:8] == ["-tr", "nnUNetTrainer", "-p", "nnUNetResEncUNetMPlans"]
