"""nnU-Net's cross-validation: its folds, and where the files of its validation cases lie."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.scores.pairs import Pair

__all__ = ["NNUNETS_FOLDS", "draw_folds", "validation_pairs"]

#: What nnU-Net makes where nobody wrote a split.
NNUNETS_FOLDS = 5
_NNUNETS_SEED = 12345


def validation_pairs(preprocessed: Path, model: Path, folds: Sequence[int]) -> list[Pair]:
    """The references and predictions of the cases that a model was validated on.

    Whether the files exist is not looked at. The cases are in alphabetical order, as those of two folders are: a seeded
    bootstrap gives the same interval for the same order alone.

    Args:
        preprocessed: the data set's folder in ``nnUNet_preprocessed``.
        model: ``TRAINER__PLANS__CONFIGURATION`` in the data set's folder in ``nnUNet_results``.
        folds: numbers of folds, which the split has.

    Raises:
        InputError: the split or dataset.json cannot be read, or two of the folds hold the same case.
    """
    splits_file, dataset_file = preprocessed / "splits_final.json", preprocessed / "dataset.json"
    try:
        splits = json.loads(splits_file.read_text(encoding="utf-8"))
        validated = [(fold, case) for fold in folds for case in splits[fold]["val"]]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"{splits_file}: cannot be read as nnU-Net's split into folds ({error!r}): train a fold, which makes it"
        ) from None
    try:
        ending = json.loads(dataset_file.read_text(encoding="utf-8"))["file_ending"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"{dataset_file}: cannot be read ({error!r}): run nnUNetv2_plan_and_preprocess again"
        ) from None
    fold_of: dict[str, int] = {}
    for fold, case in validated:
        if fold_of.setdefault(case, fold) != fold:
            raise InputError(
                f"{splits_file}: folds {fold_of[case]} and {fold} are both validated on {case}: name folds that share "
                "no case"
            )
    return [
        Pair(
            case,
            preprocessed / "gt_segmentations" / f"{case}{ending}",
            model / f"fold_{fold}" / "validation" / f"{case}{ending}",
        )
        for case, fold in sorted(fold_of.items())
    ]


def draw_folds(data: Path) -> list[dict[str, list[str]]]:
    """The five folds that nnU-Net's trainer would make (``nnUNetTrainer.do_split``).

    Args:
        data: folder of the preprocessed cases of a configuration.

    Raises:
        InputError: there are fewer cases than folds.
    """
    import numpy as np
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
    from nnunetv2.utilities.crossval_split import generate_crossval_split

    cases = infer_dataset_class(str(data)).get_identifiers(str(data)) if any(data.iterdir()) else []
    if len(cases) < NNUNETS_FOLDS:
        raise InputError(
            f"{data}: {len(cases)} cases, but nnU-Net makes {NNUNETS_FOLDS} folds: add cases, or write "
            f"{data.parent / 'splits_final.json'}"
        )
    folds = generate_crossval_split(list(np.sort(list(cases))), seed=_NNUNETS_SEED, n_splits=NNUNETS_FOLDS)
    return [{part: [str(case) for case in fold[part]] for part in fold} for fold in folds]
