"""An ablation study with real nnU-Net, killed in the middle and run again."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sysconfig
import time
import zipfile
from dataclasses import replace

import pytest

pytest.importorskip("snakemake", reason="Snakemake is not installed (extra: ablate)")

VARIANTS = ["nnUNetTrainerUNet3D", "nnUNetTrainerSAUNet"]
PLANS = "nnUNetSAUNetStudyPlans"


@pytest.fixture(scope="module")
def nnunet(nnunet):
    """nnU-Net whose folders are named by relative paths, as its own commands take them."""
    folders = {f"nnUNet_{name}": name for name in ("raw", "preprocessed", "results")}
    return replace(nnunet, environment=nnunet.environment | folders)


@pytest.fixture(scope="module")
def words(nnunet):
    """The command: two variants, two folds, three epochs."""
    override = json.loads((nnunet.root / "tiny.json").read_text())
    override["configurations"]["*"]["training"]["num_epochs"] = 3
    (nnunet.root / "study.json").write_text(json.dumps(override))
    return [
        *("nnUNetv2_sa_unet", "ablate", "-d", "901", "--override", "study.json", "--folds", "0-1"),
        *("--variants", *VARIANTS, "-device", "cpu", "--jobs", "1"),
    ]


@pytest.fixture(scope="module")
def killed(nnunet, words):
    """The checkpoints of finished folds and the folder of the one in whose training everything was killed."""
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    command = [shutil.which(words[0], path=path), *words[1:]]
    with (nnunet.root / "killed.log").open("w") as log:
        process = subprocess.Popen(
            command,
            env=os.environ | nnunet.environment,
            cwd=nnunet.root,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 400
        while True:
            assert process.poll() is None, (nnunet.root / "killed.log").read_text()[-4000:]
            assert time.monotonic() < deadline, (nnunet.root / "killed.log").read_text()[-4000:]
            folds = list(nnunet.results.glob(f"*__{PLANS}__3d_fullres/fold_*"))
            finished = [fold for fold in folds if (fold / "validation" / "summary.json").exists()]
            running = [
                fold
                for fold in folds
                if zipfile.is_zipfile(fold / "checkpoint_best.pth") and not (fold / "checkpoint_final.pth").exists()
            ]
            if finished and running:
                break
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return {fold / "checkpoint_final.pth": (fold / "checkpoint_final.pth").stat().st_mtime_ns for fold in finished}, (
        running[0]
    )


def test_a_killed_study_goes_on_and_keeps_what_is_finished(nnunet, words, killed):
    finished, interrupted = killed
    assert not (interrupted / "checkpoint_final.pth").exists()
    printed = nnunet.run(*words)

    assert "| 3D U-Net" in printed
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    output = nnunet.results / "ablation" / f"{PLANS}__3d_fullres"
    with (output / "table2.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["cases"]]
    assert [(row["label"], row["cases"]) for row in rows] == [("3D U-Net", "2"), ("3D SA-UNet", "2")]
    assert all(row["dice_measured"] for row in rows)
    assert (output / "tables.md").read_text() in printed

    log = output / "logs" / f"{interrupted.parent.name.split('__')[0]}_{interrupted.name}.log"
    lines = log.read_text().splitlines()
    commands = [line for line in lines if line.startswith("nnUNetv2_train")]
    assert commands == [commands[0], f"{commands[0]} --c"]
    # nnU-Net puts the time before the words.
    resumed = lines[lines.index(commands[1]) :]
    epochs = [line.rsplit(" ", 1)[1] for line in resumed if re.search(r": Epoch \d+$", line)]
    assert "0" not in epochs
    assert epochs[-1] == "2"


def test_a_finished_study_only_prints_its_tables(nnunet, words, killed):
    before = {path: path.stat().st_mtime_ns for path in nnunet.results.rglob("*.pth")}
    printed = nnunet.run(*words)

    assert "Nothing to be done" in printed
    assert "| 3D U-Net" in printed
    assert {path: path.stat().st_mtime_ns for path in nnunet.results.rglob("*.pth")} == before


def test_a_split_that_was_removed_is_made_again_and_no_fold_trained_for_it(nnunet, words, killed):
    splits = nnunet.preprocessed / "splits_final.json"
    before = {path: path.stat().st_mtime_ns for path in nnunet.results.rglob("*.pth")}
    content = splits.read_text()
    splits.unlink()
    assert "nnUNetv2_train" not in nnunet.run(*words)
    assert json.loads(splits.read_text()) == json.loads(content)
    assert {path: path.stat().st_mtime_ns for path in nnunet.results.rglob("*.pth")} == before
