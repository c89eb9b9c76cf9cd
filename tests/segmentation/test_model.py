"""Which output of a model is WMH."""

from __future__ import annotations

from pathlib import Path

import pytest
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.segmentation.model import _wmh_channel


@pytest.mark.parametrize(
    ("labels", "order", "expected"),
    [
        ({"WMH": 1}, None, 1),
        ({"WMH": 1, "other": 2, "ignore": 3}, None, 1),
        ({"other": 2, "WMH": 1}, None, 1),
        # Heads are the regions in the order of the file.
        ({"lesion": [1, 2], "WMH": 1}, [2, 1], 1),
        ({"WMH": [1], "lesion": [1, 2]}, [1, 2], 0),
        # Label 1 is what "lesion" has more than "other".
        ({"lesion": [1, 2], "other": 2}, [1, 2], None),
    ],
)
def test_the_head_of_label_1_is_found(labels: dict[str, object], order: list[int] | None, expected: int | None) -> None:
    assert _wmh_channel(Path("model"), LabelManager({"background": 0, **labels}, order)) == expected


def test_a_model_without_label_1_is_refused() -> None:
    labels = LabelManager({"background": 0, "all": [2, 3], "core": 3}, [2, 3])
    with pytest.raises(InputError, match=r"dataset\.json: labels: no label 1; expected a model with label 1 for WMH"):
        _wmh_channel(Path("model"), labels)
