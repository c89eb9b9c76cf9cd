"""Matching of files and headers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.folders import IMAGE_ENDINGS
from nnunetv2_sa_unet.scores.pairs import Pair, check_pairs, matched_pairs


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    result = tmp_path / "references", tmp_path / "predictions"
    for folder in result:
        folder.mkdir()
    return result


def image(size: tuple[int, ...] = (4, 5, 3), **header: Any) -> Any:
    result = SimpleITK.Image(size, SimpleITK.sitkUInt8)
    result.SetSpacing(header.get("spacing", (1.0, 1.2, 3.0)[: len(size)]))
    result.SetOrigin(header.get("origin", (-10.0, 20.0, 5.0)[: len(size)]))
    if "direction" in header:
        result.SetDirection(header["direction"])
    return result


def write(path: Path, content: Any | None = None) -> None:
    SimpleITK.WriteImage(image() if content is None else content, str(path))


def turned(angle: float) -> tuple[float, ...]:
    cosine, sine = np.cos(angle), np.sin(angle)
    return (cosine, -sine, 0.0, sine, cosine, 0.0, 0.0, 0.0, 1.0)


def test_cases_are_paired_by_name_in_alphabetical_order(folders: tuple[Path, Path]) -> None:
    for folder in folders:
        for case in ("b", "a.1"):
            write(folder / f"{case}.nii.gz")
    pairs = matched_pairs(*folders)
    assert [pair.case for pair in pairs] == ["a.1", "b"]
    assert pairs[0].reference == folders[0] / "a.1.nii.gz"
    assert pairs[0].prediction == folders[1] / "a.1.nii.gz"


@pytest.mark.parametrize("ending", IMAGE_ENDINGS)
def test_the_two_folders_may_hold_different_formats(folders: tuple[Path, Path], ending: str) -> None:
    write(folders[0] / "case.nii.gz")
    write(folders[1] / f"case{ending}")
    assert matched_pairs(*folders)[0].prediction == folders[1] / f"case{ending}"


def test_what_nnunet_leaves_beside_its_predictions_is_passed_over(folders: tuple[Path, Path]) -> None:
    for folder in folders:
        write(folder / "case.nii.gz")
    for name in ("plans.json", "dataset.json", "case.npz", "case.pkl", "summary.json", "._case.nii.gz"):
        (folders[1] / name).write_text("not an image")
    (folders[1] / "older").mkdir()
    assert [pair.case for pair in matched_pairs(*folders)] == ["case"]


def test_what_may_be_a_case_and_cannot_be_read_is_named(folders: tuple[Path, Path]) -> None:
    for folder in folders:
        write(folder / "case.nii.gz")
        (folder / "folder.nii.gz").mkdir()
        (folder / "link.nii.gz").symlink_to("../annex/objects/link.nii.gz")
        (folder / "other.mgz").write_text("FreeSurfer")
    with pytest.raises(InputError) as error:
        matched_pairs(*folders)
    assert "folder.nii.gz: is a folder; expected a file" in str(error.value)
    assert "link.nii.gz: is a link to a file that is not there" in str(error.value)
    assert "other.mgz: FreeSurfer's format is not read: convert it" in str(error.value)


def test_headers_may_differ_as_those_of_the_challenge_do(folders: tuple[Path, Path]) -> None:
    write(folders[0] / "case.nii.gz", image(direction=turned(0)))
    write(folders[1] / "case.nii.gz", image(direction=turned(2e-5), origin=(-10.0001, 20.0, 5.0)))
    assert len(matched_pairs(*folders)) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (image((4, 5, 2)), r"size \(4, 5, 2\), expected \(4, 5, 3\)"),
        (image(spacing=(1.0, 1.2, 3.01)), r"spacing \(1, 1.2, 3.01\), expected \(1, 1.2, 3\)"),
        (image(origin=(-10.0, 21.0, 5.0)), r"origin \(-10, 21, 5\), expected \(-10, 20, 5\)"),
        (image(direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1)), r"direction \(-1, 0, 0, .*\), expected \(1, 0, 0, "),
    ],
    ids=["size", "spacing", "origin", "direction"],
)
def test_a_prediction_on_another_grid_is_named(folders: tuple[Path, Path], content: Any, message: str) -> None:
    write(folders[0] / "case.nrrd")
    write(folders[1] / "case.nrrd", content)
    with pytest.raises(InputError, match=rf"case: prediction case.nrrd is not on .* grid: {message}"):
        matched_pairs(*folders)


def test_all_problems_of_all_files_are_named_at_once(folders: tuple[Path, Path]) -> None:
    references, predictions = folders
    for case in ("good", "missing", "moved", "twice", "broken"):
        write(references / f"{case}.nii.gz")
    for case in ("good", "extra", "twice"):
        write(predictions / f"{case}.nii.gz")
    write(predictions / "twice.nii")
    write(predictions / "moved.nii.gz", image(origin=(0.0, 0.0, 0.0), spacing=(1.0, 1.0, 3.0)))
    (predictions / "broken.nii.gz").write_text("not an image")
    with pytest.raises(InputError) as error:
        matched_pairs(*folders)
    first, *problems = str(error.value).splitlines()
    assert first == f"references in {references} and predictions in {predictions} do not match:"
    assert len(problems) == 5
    assert problems[0].startswith(f"  broken: prediction {predictions / 'broken.nii.gz'}: cannot be read: ")
    assert problems[1] == "  extra: no reference for extra.nii.gz; add it or remove the prediction"
    assert problems[2] == "  missing: no prediction for missing.nii.gz; add it or remove the reference"
    assert "spacing (1, 1, 3), expected (1, 1.2, 3); origin (0, 0, 0), expected (-10, 20, 5)" in problems[3]
    assert problems[4] == "  twice: twice.nii and twice.nii.gz are the same case; keep one of them"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (image((4, 5)), "2 axes and 1 channels"),
        (image((4, 5, 3, 2), spacing=(1, 1, 1, 1), origin=(0, 0, 0, 0)), "4 axes and 1 channels"),
        (SimpleITK.Image((4, 5, 3), SimpleITK.sitkVectorUInt8, 2), "3 axes and 2 channels"),
    ],
)
def test_images_that_are_not_3d_with_one_channel_are_named(
    folders: tuple[Path, Path], content: Any, found: str
) -> None:
    write(folders[0] / "case.nrrd")
    write(folders[1] / "case.nrrd", content)
    with pytest.raises(InputError, match=f"prediction case.nrrd has {found}; expected a 3D image"):
        matched_pairs(*folders)


def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such folder"):
        matched_pairs(tmp_path / "nowhere", tmp_path)


def test_a_folder_without_images_is_named(folders: tuple[Path, Path]) -> None:
    write(folders[0] / "case.nii.gz")
    with pytest.raises(InputError, match=r"predictions: no image; expected files that end in \.nii\.gz"):
        matched_pairs(*folders)


def test_pairs_that_were_put_together_elsewhere_are_checked_in_the_same_way(folders: tuple[Path, Path]) -> None:
    pairs = [Pair(case, *(folder / f"{case}.nii.gz" for folder in folders)) for case in "abc"]
    for pair in pairs:
        write(pair.reference)
        write(pair.prediction)
    check_pairs(pairs, "three cases")

    pairs[0].prediction.unlink()
    write(pairs[1].prediction, image(spacing=(1.0, 1.0, 3.0)))
    with pytest.raises(InputError) as error:
        check_pairs(pairs, "three cases")
    first, *problems = str(error.value).splitlines()
    assert first == "three cases: not all cases can be scored:"
    assert problems[0] == f"  a: no prediction: {pairs[0].prediction} does not exist"
    assert problems[1].startswith("  b: prediction b.nii.gz is not on the reference's grid: spacing (1, 1, 3)")
    assert len(problems) == 2
