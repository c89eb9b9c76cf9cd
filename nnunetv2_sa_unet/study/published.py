"""What others report on the 110 test cases of the WMH Segmentation Challenge, to stand beside what is measured.

Every figure is written as its source prints it, but for AVD: it is a fraction here as in the paper (0.174 is 17.4 %),
while the challenge's tables give percent.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["HUMANS", "LABELS", "LEADERBOARD", "PAPER", "PAPER_SCANNERS", "Published", "label_of", "paper_row"]


@dataclass(frozen=True)
class Published:
    """A row of somebody's table. What the source does not print is None.

    Attributes:
        label: what the source calls the system.
        source: whose figures these are.
        dice: Dice.
        avd: AVD as a fraction of the reference's volume.
        f1: lesion F1.
        h95: H95 in mm.
        recall: lesion recall.
    """

    label: str
    source: str
    dice: str
    avd: str
    f1: str
    h95: str | None = None
    recall: str | None = None


def _paper(label: str, dice: str, avd: str, f1: str) -> Published:
    return Published(label, "paper", dice, avd, f1)


#: The paper's rows by the trainer of the network, in the paper's order: table 1, then the rivals of table 2. The
#: paper is "3D SA-UNet: 3D Spatial Attention UNet with 3D Atrous Spatial Pyramid Pooling for White Matter
#: Hyperintensities Segmentation".
PAPER = {
    "nnUNetTrainerSAUNet_backbone333BN": _paper("Backbone with (3,3,3) & (2,2,2)", "0.66", "0.356", "0.46"),
    "nnUNetTrainerSAUNet_backboneBN": _paper("Backbone with (3,3,1) & (2,2,1)", "0.75", "0.225", "0.68"),
    "nnUNetTrainerSAUNet_backboneGN": _paper("Backbone* with GN", "0.78", "0.172", "0.71"),
    "nnUNetTrainerSAUNet_noSAM": _paper("Backbone* with GN+3D ASPP", "0.77", "0.170", "0.71"),
    "nnUNetTrainerSAUNet_noASPP": _paper("Backbone* with GN+3D SAM", "0.78", "0.182", "0.75"),
    "nnUNetTrainerSAUNet": _paper("3D SA-UNet", "0.79", "0.174", "0.76"),
    "nnUNetTrainerUNet3D": _paper("3D U-Net", "0.71", "0.289", "0.53"),
    "nnUNetTrainerAttentionUNet": _paper("Attention UNet", "0.74", "0.206", "0.57"),
    "nnUNetTrainerLi2018": _paper("MICCAI Challenge Winner", "0.80", "0.219", "0.76"),
}

#: Systems that the paper builds on or names, without figures in its tables, by their trainers.
LABELS = {
    "nnUNetTrainerUResNet": "uResNet",
    "nnUNetTrainerTrUENet": "TrUE-Net",
    "nnUNetTrainerSAUNet2D": "SA-UNet (2D)",
}

#: The paper's table 3, 3D SA-UNet by scanner, by the site in the cases' names and in the paper's order.
PAPER_SCANNERS = {
    "Utrecht": _paper("Utrecht", "0.79", "0.151", "0.71"),
    "Singapore": _paper("Singapore", "0.82", "0.156", "0.78"),
    "PhilipsVU": _paper("Amsterdam Philips", "0.72", "0.167", "0.73"),
    "GE3T": _paper("Amsterdam GE3T", "0.79", "0.201", "0.79"),
    "GE1T5": _paper("Amsterdam GE1.5T", "0.77", "0.225", "0.80"),
}

#: What others reached with more than one training here gives: the challenge's leaderboard (https://wmh.isi.uu.nl), and
#: nnU-Net ResEnc-M on FLAIR and T1 (one fold, 250 epochs; the repository wmh-multisite of JeanBrrt).
LEADERBOARD = (
    Published("pgs (first of 57)", "leaderboard", "0.81", "0.1858", "0.79", "5.63", "0.82"),
    Published("sysu_media (winner of 2017)", "leaderboard", "0.80", "0.2188", "0.76", "6.30", "0.84"),
    Published("coroflo (best H95)", "leaderboard", "0.79", "0.2253", "0.77", "5.46", "0.76"),
    Published("nnU-Net ResEnc-M, FLAIR + T1", "wmh-multisite", "0.802", "0.154", "0.783", "6.1", "0.728"),
)

#: What is reported between human observers; a range, so no row of a table.
HUMANS = "Reported by others: a Dice of 0.76 to 0.79 between human observers, on the challenge's 60 training cases."


def paper_row(model: str) -> Published | None:
    """The paper's row of a model, by its trainer's name or that of nnU-Net's model folder (``TRAINER__PLANS__…``)."""
    return PAPER.get(model.partition("__")[0])


def label_of(model: str) -> str | None:
    """The system's name in the literature, by the same; None for models that are nobody's system."""
    row = paper_row(model)
    return LABELS.get(model.partition("__")[0]) if row is None else row.label
