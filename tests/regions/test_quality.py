"""What speaks against a registration, measure by measure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nnunetv2_sa_unet.regions.quality import Measures, problems

GOOD = Measures(
    information=0.3,
    overlap=0.93,
    fluid=0.4,
    white=1.05,
    cortex=0.98,
    scales=(0.85, 0.9, 0.95),
    turn=18.0,
    icv_ml=1500.0,
    shown=0.98,
    ventricles_shown=1.0,
    ventricles_ml=30.0,
    filled=0.9,
)


def test_a_good_registration_is_believed() -> None:
    assert list(problems(GOOD)) == []


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"information": 0.05}, "mutual information with the atlas 0.05; expected 0.18 or more"),
        ({"overlap": 0.6}, "brain and atlas overlap by 0.60 (Dice); expected 0.85 or more"),
        ({"shown": 0.5}, "the image shows 50% of the head and 100% of its ventricles; expected 75% and 90% or more"),
        ({"ventricles_shown": 0.5}, "the image shows 98% of the head and 50% of its ventricles; expected 75% and 90%"),
        ({"scales": (0.6, 0.8, 0.9)}, "the atlas would be scaled by 0.60 to 0.90 and turned by 18°"),
        ({"scales": (0.8, 0.9, 1.3)}, "the atlas would be scaled by 0.80 to 1.30"),
        ({"turn": 80.0}, "turned by 80°"),
        ({"icv_ml": 800.0}, "intracranial volume 800 ml; expected 1000 to 2400"),
        ({"fluid": np.nan, "filled": 0.0, "ventricles_ml": 0.0}, "ventricles are not darker than white matter"),
        ({"fluid": 0.9}, "ventricles are not darker than white matter"),
        ({"cortex": 0.77}, "the cortex has 0.77 of the brightness of white matter, as in T1-weighted images; expected"),
        ({"ventricles_ml": 1.0}, "ventricles of 1 ml; expected 2 to 250"),
    ],
)
def test_each_measure_alone_is_enough_to_doubt_it(other: dict[str, float], said: str) -> None:
    (found,) = problems(replace(GOOD, **other))
    assert said in found
