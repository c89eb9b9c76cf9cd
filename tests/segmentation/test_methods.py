"""The methods of a run are made from its record, and a file of somebody else stays."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from nnunetv2_sa_unet.segmentation.folder import RunFolder
from nnunetv2_sa_unet.segmentation.inputs import FoundSubject
from nnunetv2_sa_unet.segmentation.methods import METHODS_NAME, methods
from nnunetv2_sa_unet.segmentation.record import Input, Model, Options, Regions, Segmentation, Subject
from nnunetv2_sa_unet.weights.registry import MODELS

VERSIONS = {"python": "3.11.2", "nnunetv2": "2.8.1", "torch": "2.8.0", "SimpleITK": "2.5.2", "numpy": "2.1.0"}


def record(model: dict[str, Any] | None = None, **options: Any) -> Segmentation:
    return Segmentation(
        nnunetv2_sa_unet="0.1.0",
        versions=VERSIONS,
        model=Model(
            **{
                "folder": "/data/secret/model",
                "dataset": "Dataset001_WMH",
                "trainer": "nnUNetTrainerSAUNet",
                "plans": "nnUNetSAUNetPlans",
                "configuration": "3d_fullres",
                "folds": [0, 1, 2],
                "checkpoint": "checkpoint_final.pth",
                "sha256": {},
                "orientation": "RAS",
                **(model or {}),
            }
        ),
        options=Options(**options),
        subjects=[],
    )


def with_rows(made: Segmentation, *statuses: str, **values: Any) -> Segmentation:
    rows = [
        Subject(
            subject=f"s{number}",
            status=status,  # type: ignore[arg-type]
            message="",
            inputs=[],
            **({} if status == "failed" else {"mask": f"s{number}_wmh.nii.gz", "made_with": made.made_with, **values}),
        )
        for number, status in enumerate(statuses)
    ]
    return made.model_copy(update={"subjects": [*made.subjects, *rows]})


def test_a_model_in_the_box_is_told_with_its_data_and_references() -> None:
    boxed = MODELS["openflair1"]
    model = {"name": boxed.name, "version": boxed.version, "threshold": boxed.threshold, "folds": ["all"]}
    text = methods(with_rows(record(model, mirroring=False), "ok", "ok", "warning"))
    assert text == (
        "# Methods\n\n"
        "White matter hyperintensities (WMH) were segmented in the FLAIR images of three subjects with the model "
        "openflair1 (version 1) of nnunetv2-sa-unet, a 3D SA-UNet [1], run by nnU-Net [2]. The model was trained on 90 "
        "volumes, most of them of patients with multiple sclerosis and 18 of them synthetic [3, 4, 5]. Images were "
        "brought to the orientation RAS, resampled and normalised as the model's plans say, and the masks brought back "
        "to the images' own grids. The prediction was that of one network, in a sliding window with steps of 0.5 of "
        "its size, without mirrored images.\n\n"
        "A voxel was called WMH from a probability of 0.1 on, as the network was trained to give it, which is the "
        "model's default.\n\n"
        "The volume of WMH is the number of its voxels times the volume of a voxel; a lesion is a component that is "
        "connected by faces, edges or corners in 3D.\n\n"
        "One image was marked by the program as unusual.\n\n"
        "Masks were made with nnunetv2-sa-unet 0.1.0, Python 3.11.2, nnU-Net 2.8.1, PyTorch 2.8.0, SimpleITK 2.5.2, "
        "NumPy 2.1.0, on a CPU.\n\n"
        "## References\n\n" + text.partition("## References\n\n")[2]
    )
    references = text.partition("## References\n\n")[2].splitlines()
    assert [line.partition(". ")[0] for line in references] == ["1", "2", "3", "4", "5"]
    assert "3D SA-UNet" in references[0]
    assert "nnU-Net" in references[1]
    assert [line[3:] for line in references[2:]] == list(boxed.references)


def test_several_images_of_a_subject_are_not_told_as_several_subjects() -> None:
    made = with_rows(record(), "ok", "ok", "failed")
    names = ["sub-1_ses-1", "sub-1_ses-2", "sub-2_ses-1"]
    rows = [row.model_copy(update={"subject": name}) for row, name in zip(made.subjects, names, strict=True)]
    text = methods(made.model_copy(update={"subjects": rows}))
    assert "were segmented in three FLAIR images with" in text
    assert "One image could not be segmented and was left out." in text
    assert "the FLAIR images of two subjects" in methods(made.model_copy(update={"subjects": rows[1:]}))


def test_every_option_that_changes_a_mask_is_told() -> None:
    options = {"threshold": 0.4, "min_volume_mm3": 10.0, "clear_ends": 0.125, "step_size": 0.25}
    made = with_rows(record(**options), "ok", "failed", exclude=Input(path="/data/secret/stroke.nii", sha256=None))
    text = methods(made)
    for words in (
        "of two subjects with a 3D SA-UNet [1] of nnunetv2-sa-unet, run by nnU-Net [2].",
        "It was trained on Dataset001_WMH with the trainer nnUNetTrainerSAUNet, the plans nnUNetSAUNetPlans and the "
        "configuration 3d_fullres.",
        "that of the average of three networks (folds 0, 1, 2), in a sliding window with steps of 0.25 of its size, "
        "averaged over mirrored images.",
        "A voxel was called WMH from a probability of 0.4 on. In one subject, no voxel within a given mask was called "
        "WMH. No voxel was called WMH in the first and the last 0.125 of the axial slices [3]. Lesions of less than 10 "
        "mm³ were dropped.",
        "One subject could not be segmented and was left out.",
    ):
        assert words in text
    assert "secret" not in text
    cited = {int(number) for group in re.findall(r"\[([\d, ]+)\]", text) for number in group.split(",")}
    assert cited == set(range(1, 1 + len(re.findall(r"^\d+\. ", text, re.MULTILINE)))) == {1, 2, 3}


@pytest.mark.parametrize(
    ("trainer", "words"),
    [
        ("nnUNetTrainerUNet3D", "a network of nnunetv2-sa-unet, 3D U-Net (Çiçek et al. 2016), run by nnU-Net [1]."),
        ("nnUNetTrainer", "with a trained network, run by nnU-Net [1]."),
    ],
)
def test_what_is_no_3d_sa_unet_is_not_called_one(trainer: str, words: str) -> None:
    text = methods(with_rows(record({"trainer": trainer}), "ok"))
    assert words in text
    assert "A voxel was given its most probable label." in text
    assert "Guo" not in text


def test_masks_of_two_versions_are_told_apart_and_further_paragraphs_come_before_the_references() -> None:
    newer = record().model_copy(update={"nnunetv2_sa_unet": "0.2.0", "options": Options(device="cuda")})
    made = with_rows(record(), "ok", "ok")
    made = made.model_copy(update={"subjects": [*made.subjects, *with_rows(newer, "ok").subjects]})
    text = methods(made, [lambda cite: [f"Visits were compared {cite('A, B.')}."]])
    assert "Those of two subjects were made with nnunetv2-sa-unet 0.1.0, " in text
    assert "Those of one subject were made with nnunetv2-sa-unet 0.2.0, " in text
    assert "on a GPU (CUDA).\n\nVisits were compared [3].\n\n## References" in text
    assert text.endswith("\n3. A, B.\n")
    assert "segmented in three FLAIR images with" in methods(made, of="image")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("voxel", " A lesion was counted in the region of most of its voxels. The intracranial volume was"),
        (
            "confluent",
            " A lesion was counted in one region as a whole: as periventricular if it came within 3 mm of the ",
        ),
    ],
)
def test_regions_are_told_with_their_definitions_and_how_many_registrations_failed(rule: Any, words: str) -> None:
    made = with_rows(record(regions=rule), "ok", regions=Regions(rule=rule, registration="ok"))
    made = with_rows(made, "warning", regions=Regions(rule=rule, registration="failed", reason="no brain"))
    made = with_rows(made, "failed")
    text = methods(made)
    (paragraph,) = (each for each in text.split("\n\n") if each.startswith("To tell in each subject where WMH lie, "))
    assert (
        "a tissue map of the MNI152 template (ICBM 152, nonlinear symmetric 2009a) [3] was registered to the FLAIR "
        "image: an affine transform by mutual information [4], then a smooth deformation by demons with symmetric "
        "forces [5], both of SimpleITK. A voxel of WMH was infratentorial where the map shows cerebellum or brain "
        "stem; else periventricular within 10 mm of the lateral ventricles, as they are dark in the image [6, 7]; else "
        "juxtacortical within 4 mm of the map's cerebral cortex [8]; and else deep." + words
    ) in paragraph
    assert paragraph.endswith(
        "The intracranial volume was estimated as that of the template under the transform. In one subject the "
        "registration failed by the program's own measures: no regions there."
    )
    for number, author in zip(
        range(3, 9), ("Fonov", "Mattes", "Vercauteren", "DeCarli", "Griffanti", "Kim"), strict=True
    ):
        assert f"\n{number}. {author} " in text
    # Subjects that were left as they were, and runs without regions.
    assert "To tell in two subjects where" in methods(with_rows(made, "ok"))
    assert "MNI152" not in methods(made.model_copy(update={"options": Options()}))


def run(folder: Path, lines: list[str], *names: str, force: bool = False, **options: Any) -> None:
    subjects = [FoundSubject(name, ()) for name in names]
    at_work = RunFolder(folder, record(**options), subjects, {}, force, lines.append)
    for name in names:
        (folder / f"{name}_wmh.nii.gz").touch()
        row = Subject(subject=name, status="ok", message="", inputs=[], mask=f"{name}_wmh.nii.gz")
        at_work.add(row.model_copy(update={"decision": Options(**options).decision}), True)
    at_work.finish()


def test_the_file_follows_the_record(tmp_path: Path) -> None:
    lines: list[str] = []
    run(tmp_path, lines, "a")
    run(tmp_path, lines, "b")
    text = (tmp_path / METHODS_NAME).read_text(encoding="utf-8")
    assert "of two subjects" in text
    assert text.startswith("<!-- Written by nnUNetv2_sa_unet segment from volumes.json. CC0 1.0: take the text")
    run(tmp_path, lines, "a", force=True, step_size=0.25)
    assert "steps of 0.25" in (tmp_path / METHODS_NAME).read_text(encoding="utf-8")
    assert not any(METHODS_NAME in line for line in lines)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("own", ["My methods.\n", "changed", "link", "folder"])
def test_a_file_of_somebody_else_stays(tmp_path: Path, own: str, force: bool) -> None:
    lines: list[str] = []
    folder = tmp_path / "out"
    folder.mkdir()
    path = folder / METHODS_NAME
    if own == "changed":
        run(folder, lines, "a")
        own = path.read_text(encoding="utf-8").replace("one subject", "one woman")
    if own == "link":
        (tmp_path / "elsewhere.md").write_text("My methods.\n")
        path.symlink_to(tmp_path / "elsewhere.md")
    elif own == "folder":
        path.mkdir()
    else:
        path.write_text(own, encoding="utf-8")
    run(folder, lines, "a", "b", force=force)
    assert lines[-1] == (
        f"{path}: is not as segment writes it, and stays as it is; moved away, the same command writes it anew"
    )
    if own == "link":
        assert path.is_symlink()
        assert path.read_text() == "My methods.\n"
    elif own != "folder":
        assert path.read_text(encoding="utf-8") == own
