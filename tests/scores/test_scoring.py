"""Scoring of files, in one process and in several."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.scores.metrics import CaseMetrics
from nnunetv2_sa_unet.scores.pairs import Pair
from nnunetv2_sa_unet.scores.scoring import ScoredCase, score_pair, score_pairs, write_metrics


def pair_in(folder: Path, seed: int, dtype: str = "uint8") -> Pair:
    random = np.random.default_rng(seed)
    pair = Pair(f"case{seed}", folder / f"reference{seed}.nii.gz", folder / f"prediction{seed}.nii.gz")
    for path in (pair.reference, pair.prediction):
        image = SimpleITK.GetImageFromArray((random.random((4, 12, 10)) > 0.8).astype(dtype))
        image.SetSpacing((0.5, 1.0, 3.0))
        SimpleITK.WriteImage(image, str(path))
    return pair


def test_the_voxels_of_a_file_are_scored_in_mm(tmp_path: Path) -> None:
    pair = pair_in(tmp_path, 0)
    reference = np.zeros((4, 12, 10), dtype=np.uint8)
    prediction = reference.copy()
    reference[0, 0, 0] = prediction[1, 4, 0] = 1
    for path, array in ((pair.reference, reference), (pair.prediction, prediction)):
        image = SimpleITK.GetImageFromArray(array)
        image.SetSpacing((0.5, 1.0, 3.0))
        SimpleITK.WriteImage(image, str(path))
    metrics = score_pair(pair).metrics
    assert metrics.h95_mm == pytest.approx(5)
    assert metrics.reference_ml == pytest.approx(0.0015)


def test_several_processes_give_the_figures_of_one_in_the_same_order(tmp_path: Path) -> None:
    pairs = [pair_in(tmp_path, seed) for seed in (2, 0, 1)]
    alone = score_pairs(pairs, processes=1)
    assert score_pairs(pairs, processes=2) == alone
    assert [case.case for case in alone] == ["case2", "case0", "case1"]
    assert len({case.metrics.dice for case in alone}) == 3


@pytest.mark.parametrize("processes", [1, 2])
def test_all_cases_that_cannot_be_scored_are_named(tmp_path: Path, processes: int) -> None:
    pairs = [pair_in(tmp_path, seed) for seed in range(3)]
    content = pairs[0].prediction.read_bytes()
    pairs[0].prediction.write_bytes(content[: len(content) // 2])
    mask = SimpleITK.GetImageFromArray(np.full((4, 12, 10), 255, dtype=np.uint8))
    SimpleITK.WriteImage(mask, str(pairs[2].reference))
    with pytest.raises(InputError) as error:
        score_pairs(pairs, processes)
    first, *problems = str(error.value).splitlines()
    assert first == "some cases cannot be scored:"
    assert len(problems) == 2
    assert problems[0].startswith(f"  case0: {pairs[0].prediction}: cannot be read: ")
    assert problems[1].startswith(f"  case2: {pairs[2].reference}: reference values 255 and no label 1")


def test_an_image_of_complex_numbers_is_refused(tmp_path: Path) -> None:
    pair = pair_in(tmp_path, 0)
    SimpleITK.WriteImage(SimpleITK.Image((10, 12, 4), SimpleITK.sitkComplexFloat32), str(pair.prediction))
    with pytest.raises(InputError, match=r"case0: .*prediction0\.nii\.gz: holds complex numbers"):
        score_pair(pair)


def test_the_table_has_empty_fields_for_missing_values_and_replaces_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("older")
    write_metrics(path, [ScoredCase("a", CaseMetrics(0.0, None, None, 1.0, 0.0, 0.0, 0.006, 0, 1), ())])
    assert path.read_text().splitlines()[0] == (
        "case,dice,h95_mm,avd_percent,lesion_recall,lesion_f1,"
        "reference_ml,prediction_ml,reference_lesions,prediction_lesions"
    )
    with path.open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row["case"] == "a"
    assert (row["h95_mm"], row["avd_percent"]) == ("", "")
    assert (row["prediction_ml"], row["prediction_lesions"]) == ("0.006", "1")
    assert list(tmp_path.iterdir()) == [path]
