"""The table of the models in the box, from which the command line and the docs take what they say.

Free of torch, so that ``--help`` and ``model list`` answer at once. A model's folder looks like nnU-Net's model folder,
with its weights as safetensors, which hold numbers and nothing that could run. ``docs/weights/package.py`` makes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from nnunetv2_sa_unet.errors import InputError

__all__ = ["CARD_NAME", "DEFAULT", "MODELS", "WEIGHTS_NAME", "BoxedModel", "boxed_at", "find_model", "table"]

#: In each fold's folder.
WEIGHTS_NAME = "weights.safetensors"
CARD_NAME = "CARD.md"


@dataclass(frozen=True)
class BoxedModel:
    """A model in the box.

    Attributes:
        name: of the model, and of its folder beside this module.
        version: of the weights; any change of a weight or of the plans is another version.
        summary: what it does, in one line.
        results: what it reaches, in one line; how that was measured stands in its card.
        licence: of the weights.
        threshold: the probability, as trained, from which a voxel is called WMH: the best of its card's calibration.
            It is built into the bias of the last layer, so that every program that takes the most probable label,
            nnU-Net's commands among them, decides by it.
        pace: how long a volume takes on a CPU, as measured.
        training: what it was trained on, for the methods of a paper: a clause after "which was trained on".
        references: of its training data, for the same.
    """

    name: str
    version: str
    summary: str
    results: str
    licence: str
    threshold: float
    pace: str
    training: str
    references: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where it lies in the installed package."""
        return Path(str(files("nnunetv2_sa_unet.weights"))) / self.name

    @property
    def card(self) -> str:
        """Its model card, as Markdown."""
        return (self.folder / CARD_NAME).read_text(encoding="utf-8")


MODELS: dict[str, BoxedModel] = {
    model.name: model
    for model in (
        BoxedModel(
            name="openflair1",
            version="1",
            summary="3D SA-UNet for WMH in FLAIR alone, thick slices or 1 mm, with or without skull",
            results="mean Dice .79 on 5 new patients of a clinic of its training, .60 on 15 volumes of other data sets",
            licence="Apache-2.0",
            threshold=0.1,
            pace="15 to 25 s a volume on two CPU cores",
            training="90 volumes, most of them of patients with multiple sclerosis and 18 of them synthetic",
            references=(
                "Bashiri M. Sim-Vent-WMH-Seg and MRI_MS_Insights. 2025 and 2026. "
                "https://github.com/Mahdi-Bashiri/Sim-Vent-WMH-Seg, https://github.com/Mahdi-Bashiri/MRI_MS_Insights",
                "Lesjak Ž, Galimzianova A, Koren A, Lukin M, Pernuš F, Likar B, Špiclin Ž. A novel public MR image "
                "dataset of multiple sclerosis patients with lesion segmentations based on multi-rater consensus. "
                "Neuroinformatics 16, 51–63 (2018). https://doi.org/10.1007/s12021-017-9348-7",
                "Muslim AM, et al. Mendeley Data (2022). https://doi.org/10.17632/8bctsm8jz7",
            ),
        ),
    )
}
#: What ``segment`` uses unless told otherwise.
DEFAULT = "openflair1"


def boxed_at(folder: Path) -> BoxedModel | None:
    """The model in the box whose folder this is, if it is one."""
    return next((model for model in MODELS.values() if model.folder == folder), None)


def find_model(word: str, checkpoint: str | None) -> tuple[Path, str]:
    """The folder of the model that a word names, and the file in each of its folds' folders.

    Args:
        word: the name of a model in the box, or nnU-Net's model folder; a folder of such a name needs a ``./``.
        checkpoint: as the user named it; None for the usual one.

    Raises:
        InputError: there is neither.
    """
    if word in MODELS:
        return MODELS[word].folder, checkpoint or WEIGHTS_NAME
    if not Path(word).is_dir():
        raise InputError(
            f"{word}: no model in the box has this name (there are: {', '.join(MODELS)}), and there is no such folder; "
            "name one of these, or nnU-Net's model folder (TRAINER__PLANS__CONFIGURATION)"
        )
    return Path(word), checkpoint or "checkpoint_final.pth"


def table() -> str:
    """The models as a table in Markdown."""
    lines = ["| name | version | what it does | what it reaches | licence |", "| --- | --- | --- | --- | --- |"]
    lines += (f"| `{m.name}` | {m.version} | {m.summary} | {m.results} | {m.licence} |" for m in MODELS.values())
    return "\n".join(lines)
