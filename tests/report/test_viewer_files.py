"""What the viewer gets lies where the volumes lie and has their values."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from nnunetv2_sa_unet.report.subject_images import read_volumes
from nnunetv2_sa_unet.report.viewer_files import viewer_script


def files(script: bytes) -> dict[str, Any]:
    words = script.decode("ascii")
    assert words.startswith('nnunetv2SaUnetVolumes("volumes/a.js", {')
    assert words.endswith("});\n")
    stored = json.loads(words[words.index("{") : -3])
    return {
        name: nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(value))) for name, value in stored.items()
    }


@pytest.fixture
def run(make_run: Any, make_head: Any) -> Any:
    run = make_run()
    run.add("a", make_head().add(slice(5, 7), slice(60, 64), slice(30, 36)), probabilities=True)
    return run


def test_a_part_keeps_its_place_and_its_values(run: Any) -> None:
    volumes = read_volumes(run.write(), run.subjects[0], None)
    assert volumes.flair is not None
    box = (slice(2, 12), slice(5, 90), slice(4, 80))
    found = files(viewer_script("volumes/a.js", volumes, {"mask": volumes.labels}, box))
    assert set(found) == {"flair", "mask", "probabilities"}
    original = nibabel.load(run.folder / "0_wmh.nii.gz")
    places = [
        np.sort(nibabel.affines.apply_affine(image.affine, np.argwhere(np.asarray(image.dataobj) == 1)), axis=0)
        for image in (original, found["mask"])
    ]
    np.testing.assert_allclose(*places, atol=1e-3)
    flair = found["flair"].get_fdata().transpose(2, 1, 0)
    step = found["flair"].dataobj.slope
    beyond = volumes.flair[box] > flair.max()
    assert beyond.mean() < 0.001
    assert np.abs(flair - volumes.flair[box])[~beyond].max() <= step / 2 + 1e-3
    assert found["probabilities"].get_fdata().max() == pytest.approx(0.8, abs=1 / 255)
    assert {image.get_data_dtype().name for image in found.values()} == {"uint8"}


def test_the_same_volumes_give_the_same_bytes(run: Any) -> None:
    folder: Path = run.write()
    box = (slice(0, 14), slice(0, 100), slice(0, 84))
    scripts = set()
    for _ in range(2):
        volumes = read_volumes(folder, run.subjects[0], None)
        scripts.add(viewer_script("volumes/a.js", volumes, {"mask": volumes.labels}, box))
    assert len(scripts) == 1
