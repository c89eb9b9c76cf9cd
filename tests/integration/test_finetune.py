"""Fine-tuning a model on three cases, with nnU-Net's own commands."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

SOURCE = "nnUNetSAUNetTinyPlans"
DATASET = "Dataset931_Few"


@pytest.mark.slow
def test_three_cases_are_enough_and_a_second_call_does_nothing(in_nnunet, prepare_trainer):
    source = in_nnunet.results / f"nnUNetTrainerSAUNet__{SOURCE}__3d_fullres"
    if not (source / "fold_3" / "checkpoint_final.pth").exists():
        prepare_trainer("nnUNetTrainerSAUNet", 3, SOURCE).run_training()
    raw = in_nnunet.root / "raw" / DATASET
    for folder in ("imagesTr", "labelsTr"):
        (raw / folder).mkdir(parents=True)
    for case in ("case0", "case1", "case2"):
        for file in (f"imagesTr/{case}_0000.nii.gz", f"labelsTr/{case}.nii.gz"):
            shutil.copyfile(in_nnunet.raw / file, raw / file)
    description = json.loads((in_nnunet.raw / "dataset.json").read_text())
    (raw / "dataset.json").write_text(json.dumps(description | {"numTraining": 3}))
    short = {
        "num_epochs": 1,
        "num_iterations_per_epoch": 1,
        "num_val_iterations_per_epoch": 1,
        "warmup_iterations": None,
    }
    override = {"description": "", "configurations": {"*": {"training": short}}}
    (in_nnunet.root / "short.json").write_text(json.dumps(override))
    words = ("nnUNetv2_sa_unet", "finetune", "-d", "931", "--from", str(source), "-device", "cpu")

    printed = in_nnunet.run(*words, "--override", "short.json")

    plans = "nnUNetSAUNetTinyFinetuneShortPlans"
    model = in_nnunet.root / "results" / DATASET / f"nnUNetTrainerSAUNet__{plans}__3d_fullres"
    assert f"-m {model} -f all" in printed
    assert (model / "fold_all" / "validation" / "summary.json").is_file()
    trained_with = json.loads((model / "plans.json").read_text())
    assert trained_with["nnunetv2_sa_unet_pretrained"]["model"] == "Tiny"
    checkpoint = torch.load(model / "fold_all" / "checkpoint_final.pth", weights_only=False)
    before = torch.load(next(source.glob("fold_*/checkpoint_final.pth")), weights_only=False)["network_weights"]
    # One small step away from where it began.
    for name, value in checkpoint["network_weights"].items():
        if ".seg_layers." not in name:
            assert torch.allclose(value, before[name], atol=2e-3), name

    again = in_nnunet.run(*words, "--override", "short.json")
    assert "trained and validated already" in again
    assert "nnUNetv2_preprocess" not in again
