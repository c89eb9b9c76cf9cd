"""The synthetic data set is what nnU-Net expects of a raw data set."""

import json

import pytest
import SimpleITK

from nnunetv2_sa_unet.demo.synthetic_dataset import cases_of, write_case, write_dataset_json


@pytest.mark.parametrize("training", [5, 10])
def test_cases_span_nearly_none_to_many_lesions_in_both_subsets(training):
    cases = cases_of(0, training)
    for subset, number in (("Tr", training), ("Ts", 4)):
        loads = [case.lesion_load for case in cases if case.subset == subset]
        assert len(loads) == number
        assert loads == sorted(loads)
        assert loads[0] <= 0.5
        assert loads[-1] >= 20
        assert any(case.others for case in cases if case.subset == subset)
    assert len({case.seed for case in cases}) == len({case.name for case in cases}) == training + 4


def test_more_training_cases_leave_the_test_cases_as_they_are():
    fewer, more = ([case for case in cases_of(3, n) if case.subset == "Ts"] for n in (5, 9))
    assert fewer == more


def test_files_are_named_and_described_as_nnunet_wants_them(tmp_path):
    case = next(case for case in cases_of(0, 5) if case.name == "train01")
    write_case(tmp_path, case)
    write_dataset_json(tmp_path, 5)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*"))
    assert files == ["dataset.json", "imagesTr/train01_0000.nii.gz", "labelsTr/train01.nii.gz"]
    description = json.loads((tmp_path / "dataset.json").read_text())
    assert description["channel_names"] == {"0": "FLAIR"}
    assert description["labels"] == {"background": 0, "WMH": 1, "other": 2}
    assert description["numTraining"] == 5
    assert description["file_ending"] == ".nii.gz"
    image = SimpleITK.ReadImage(str(tmp_path / "imagesTr/train01_0000.nii.gz"))
    label = SimpleITK.ReadImage(str(tmp_path / "labelsTr/train01.nii.gz"))
    assert image.GetPixelID() == SimpleITK.sitkInt16
    # The rounding of the file format must not set them apart: nnU-Net would call them misaligned.
    assert image.GetOrigin() == label.GetOrigin()
    assert image.GetDirection() == label.GetDirection()
