"""From probabilities to labels, whether the network has just given them or a run stored them.

Besides the probability of WMH, what a voxel is if it is WMH, and if it is not, decides: another pathology may be the
second choice, and a region that comes later may lie over WMH. Where a model knows nothing but WMH, its map says it all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnunetv2_sa_unet.images.masks import WMH

__all__ = ["Alternatives", "Prediction"]

_Labels = npt.NDArray[np.integer[Any]]
_HALF = 0.5


@dataclass(frozen=True)
class Alternatives:
    """Label maps (z, y, x) between which the probability of WMH decides.

    Attributes:
        most_probable: nnU-Net's own decision.
        without_wmh: labels if nothing were WMH.
        with_wmh: labels if all were.
    """

    most_probable: _Labels
    without_wmh: _Labels
    with_wmh: _Labels


@dataclass(frozen=True)
class Prediction:
    """What is known of an image after the network has seen it.

    Attributes:
        labels: nnU-Net's own decision (z, y, x).
        probability: of WMH (z, y, x); None where nobody asked for it.
        alternatives: None where they follow from the probability, or nobody asked for it.
    """

    labels: _Labels
    probability: npt.NDArray[np.float32] | None = None
    alternatives: Alternatives | None = None

    @classmethod
    def of(
        cls, labels: _Labels, probability: npt.NDArray[np.float32], without_wmh: _Labels, with_wmh: _Labels
    ) -> Prediction:
        """A fresh prediction; see :class:`Alternatives`."""
        follows = not without_wmh.any() and bool((with_wmh == WMH).all())
        # Half the probability is not always a majority: a draw of two labels, or a third one.
        if follows and np.array_equal(labels == WMH, probability > _HALF):
            return cls(labels, probability)
        return cls(labels, probability, Alternatives(labels, without_wmh, with_wmh))

    @classmethod
    def stored(cls, probability: npt.NDArray[np.float32], alternatives: Alternatives | None) -> Prediction:
        """A prediction that an earlier run wrote."""
        if alternatives is not None:
            return cls(alternatives.most_probable, probability, alternatives)
        return cls(np.where(probability > _HALF, WMH, 0).astype(np.uint8), probability)

    def decided(self, threshold: float | None) -> _Labels:
        """Labels: WMH from this probability on, and below it what else is most probable; None for nnU-Net's own."""
        if threshold is None:
            return self.labels
        assert self.probability is not None
        is_wmh = self.probability >= threshold
        if self.alternatives is None:
            return np.where(is_wmh, WMH, 0).astype(self.labels.dtype)
        return np.where(is_wmh, self.alternatives.with_wmh, self.alternatives.without_wmh).astype(self.labels.dtype)
