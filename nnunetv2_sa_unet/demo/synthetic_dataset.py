"""A data set of synthetic cases in nnU-Net's raw format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunetv2_sa_unet.demo.synthetic import make_case
from nnunetv2_sa_unet.files import complete_or_absent, write_json
from nnunetv2_sa_unet.images.writing import write_image

__all__ = ["Case", "cases_of", "write_case", "write_dataset_json"]

NEARLY_NONE, MOST = 0.2, 40.0
"""Least and greatest lesion load of the training cases (ml)."""
TEST_LOADS = (NEARLY_NONE, 4.0, 12.0, 30.0)
"""Lesion loads of the test cases (ml)."""
_OTHER_EVERY = 3


@dataclass(frozen=True)
class Case:
    """What one case is made from; see ``make_case``. ``subset`` is nnU-Net's ending, Tr or Ts."""

    name: str
    subset: str
    seed: tuple[int, int]
    lesion_load: float
    others: int


def cases_of(seed: int, training: int) -> list[Case]:
    """The cases of a data set: ``training`` ones from nearly no to many lesions, and four for testing.

    Every third case has one lesion of label 2. The test cases are the same for any number of training cases.
    """
    # Denser towards few lesions, as patients are, but not so much that training sees hardly any.
    rising = NEARLY_NONE + (MOST - NEARLY_NONE) * np.linspace(0, 1, training) ** 1.5
    loads = {"Ts": list(TEST_LOADS), "Tr": rising.round(1).tolist()}
    words = {"Ts": "test", "Tr": "train"}
    cases: list[Case] = []
    for subset, subset_loads in loads.items():
        for index, load in enumerate(subset_loads):
            others = int(index % _OTHER_EVERY == _OTHER_EVERY - 1)
            name = f"{words[subset]}{index + 1:02d}"
            cases.append(Case(name, subset, (seed, len(cases)), load, others))
    return cases


def write_case(folder: Path, case: Case) -> None:
    """Make ``case`` and write its image and its labels below ``folder``, named as nnU-Net wants them."""
    made = make_case(case.seed, case.lesion_load, case.others)
    for path, image in (
        (folder / f"images{case.subset}" / f"{case.name}_0000.nii.gz", made.image),
        (folder / f"labels{case.subset}" / f"{case.name}.nii.gz", made.label),
    ):
        with complete_or_absent(path) as temporary:
            write_image(image, temporary)


def write_dataset_json(folder: Path, training: int) -> None:
    """Write the ``dataset.json`` that nnU-Net reads."""
    write_json(
        folder / "dataset.json",
        {
            "channel_names": {"0": "FLAIR"},
            "labels": {"background": 0, "WMH": 1, "other": 2},
            "numTraining": training,
            "file_ending": ".nii.gz",
            "description": "Synthetic FLAIR volumes, for trying the software only.",
        },
    )
