"""``longitudinal`` with a real network, whose weights were set so that it finds what is bright: the truth is known."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import SimpleITK
import torch

from nnunetv2_sa_unet.commands.main import main
from nnunetv2_sa_unet.longitudinal.matching import KINDS
from nnunetv2_sa_unet.longitudinal.rigid import distance_mm

#: Middle (mm, LPS), and radius (mm) at either visit.
LESIONS = {
    "stable": ((20, -20, 10), 6.0, 6.0),
    "enlarged": ((-22, -18, 12), 5.0, 9.0),
    "new": ((22, 22, -8), 0.0, 7.0),
    "shrunk": ((-20, 24, -6), 9.0, 5.0),
    "gone": ((-2, -36, -14), 7.0, 0.0),
}
POSE = ((4.0, -5.0, 7.0), (6.0, -4.0, 5.0))
SPACING = (2.0, 2.0, 3.0)


@pytest.fixture
def model(in_nnunet, tmp_path):
    """A network that passes on what is bright, through the first skip connection, and nothing else."""
    from nnunetv2.run.run_training import get_trainer_from_args

    words = ("901", "3d_fullres", 0, "nnUNetTrainerSAUNet", "nnUNetSAUNetTinyPlans", False, torch.device("cpu"))
    trainer = get_trainer_from_args(*words)
    trainer.initialize()
    # Each block lists its modules a second time.
    weights = {name: each for name, each in trainer.network.state_dict().items() if "all_modules" not in name}
    for name, values in weights.items():
        values.fill_(1.0 if name.endswith("norm.weight") else 0.0)
    last = len(trainer.network.decoder.stages) - 1
    for place, channel in (("encoder.stages.0", 0), (f"decoder.stages.{last}", -8)):
        for number in (0, 1):
            (name,) = (name for name in weights if name.startswith(place) and f"convs.{number}.conv.weight" in name)
            weights[name][0, channel if number == 0 else 0, 0, 1, 1] = 1.0
            # Standard deviations above the mean of the image, from which something is passed on.
            if place.startswith("encoder") and number == 0:
                weights[name.replace("conv.weight", "norm.bias")].fill_(-3.7)
    weights[f"decoder.seg_layers.{last}.weight"][1, 0] = 5.0
    weights[f"decoder.seg_layers.{last}.bias"].copy_(torch.tensor([0.0, -25.0, -100.0]))
    folder = tmp_path / "model"
    (folder / "fold_0").mkdir(parents=True)
    trainer.save_checkpoint(str(folder / "fold_0" / "checkpoint_final.pth"))
    plans = json.loads(json.dumps(trainer.plans_manager.plans))
    # The whole head in one patch: the norms see all of it.
    plans["configurations"]["3d_fullres"] |= {"spacing": SPACING[::-1], "patch_size": [40, 72, 64]}
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(trainer.dataset_json))
    return folder


def values(path):
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


def test_what_became_of_lesions_is_found_by_the_command(model, tmp_path, scan_head, pose_of, capsys):
    study, out = tmp_path / "study", tmp_path / "out"
    # The first visit has the later label.
    for session, place, visit in (("b", None, 1), ("a", pose_of(*POSE), 2)):
        folder = study / "sub-1" / f"ses-{session}" / "anat"
        folder.mkdir(parents=True)
        head = scan_head([(middle, radii[visit - 1]) for middle, *radii in LESIONS.values()], place, seed=visit)
        SimpleITK.WriteImage(head, str(folder / f"sub-1_ses-{session}_FLAIR.nii.gz"))
    (study / "dataset_description.json").write_text("{}")
    times = "session_id\tacq_time\nses-a\t2021-03-01T09:00:00\nses-b\t2019-03-01T09:00:00\n"
    (study / "sub-1" / "sub-1_sessions.tsv").write_text(times)

    words = ("longitudinal", study, "-o", out, "-m", model, "-device", "cpu", "--disable_tta")
    assert main([*map(str, words)]) == 0, capsys.readouterr()

    (row,) = csv.DictReader((out / "changes.csv").open())
    assert (row["pair"], row["first"], row["second"]) == ("sub-1_ses-b_ses-a", "ses-b", "ses-a")
    assert [row[f"lesions_{kind}"] for kind in (*LESIONS, "uncertain")] == ["1"] * 5 + ["0"]
    lesions = {lesion["kind"]: lesion for lesion in csv.DictReader((out / f"changes/{row['pair']}_lesions.csv").open())}
    for kind, (_, *radii) in LESIONS.items():
        for column, radius in zip(("first_mm3", "second_mm3"), radii, strict=True):
            assert float(lesions[kind][column]) == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.25, abs=40)
    for column, visit in (("first_ml", 1), ("second_ml", 2)):
        truth = sum(4 / 3 * np.pi * lesion[visit] ** 3 for lesion in LESIONS.values()) / 1000
        assert float(row[column]) == pytest.approx(truth, rel=0.15)

    (pair,) = json.loads((out / "changes.json").read_text())["pairs"]
    assert distance_mm(np.array(pair["motion"]["matrix"]), pose_of(*POSE), (0, 0, 0)) < 1.2
    assert pair["order"] == "acq_time"

    kinds = values(out / f"changes/{row['pair']}_changes.nii.gz")
    masks = [values(out / f"masks/{row['pair']}_{role}_wmh.nii.gz") == 1 for role in ("first", "second")]
    np.testing.assert_array_equal(kinds > 0, masks[0] | masks[1])
    voxel_mm3 = float(np.prod(pair["motion"]["voxel_mm"]))
    for number, kind in enumerate(KINDS, 1):
        for mask, column in zip(masks, ("first_mm3", "second_mm3"), strict=True):
            expected = float(lesions[kind][column]) if kind in lesions else 0
            assert (mask & (kinds == number)).sum() * voxel_mm3 == pytest.approx(expected, abs=0.01)
    page = (out / "changes.html").read_text(encoding="utf-8")
    assert f'id="pair-{row["pair"]}"' in page
    assert all((out / f"pictures/{row['pair']}_{role}.jpg").stat().st_size for role in ("first", "second"))
    assert "in two FLAIR images" in (out / "methods.md").read_text(encoding="utf-8")
