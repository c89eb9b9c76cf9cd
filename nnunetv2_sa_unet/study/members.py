"""The models of a study: ours by their trainers' names, nnU-Net's own by their plans'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nnunetv2_sa_unet.plans.variants import VARIANTS

__all__ = ["NNUNETS_TRAINER", "Member", "described", "member"]

NNUNETS_TRAINER = "nnUNetTrainer"
_OTHER = {2: "2d", 3: "3d_fullres"}


@dataclass(frozen=True)
class Member:
    """One model of a study.

    Attributes:
        name: as the user names it.
        trainer: name of its class.
        plans: name of its plans.
        configuration: of the plans.
    """

    name: str
    trainer: str
    plans: str
    configuration: str

    @property
    def folder(self) -> str:
        """The name of nnU-Net's model folder."""
        return f"{self.trainer}__{self.plans}__{self.configuration}"


def member(name: str, plans: str, configuration: str) -> Member:
    """Find out what a name in ``--variants`` stands for.

    A network that is for 2d or for 3d alone takes ``2d`` or ``3d_fullres`` where the study's configuration is of the
    other kind.

    Args:
        name: a trainer of this package; or plans, which nnU-Net's own trainer trains.
        plans: that the study trains.
        configuration: that it trains; 2d configurations have names that begin so.
    """
    if name not in VARIANTS:
        return Member(name, NNUNETS_TRAINER, name, configuration)
    n_axes = VARIANTS[name].n_axes
    found = 2 if configuration.startswith("2d") else 3
    return Member(name, name, plans, configuration if n_axes in (None, found) else _OTHER[n_axes])


def described(members: Sequence[Member], plans: str, configuration: str) -> str:
    """Name plans and configuration, and the members that have others."""
    parts = [f"{plans}, {configuration}"]
    for other in dict.fromkeys(each.configuration for each in members if each.configuration != configuration):
        names = [each.name for each in members if each.configuration == other]
        parts.append(f"in {other}: {', '.join(names)}")
    nnunets = [each.name for each in members if each.plans != plans]
    if nnunets:
        parts.append(f"{NNUNETS_TRAINER}: {', '.join(nnunets)}")
    return "; ".join(parts)
