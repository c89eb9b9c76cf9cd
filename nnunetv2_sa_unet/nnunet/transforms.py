"""The transforms that batchgeneratorsv2 does not have: coils, motion, contrasts and slices of other scanners.

All change intensities only, take images of shape (c, y, x) or (c, z, y, x) and follow the library's
conventions: magnitudes come from ``sample_scalar`` (NumPy's global generator), choices from torch's, so that
nnU-Net's seeding of its workers reaches them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.helpers.scalar_type import sample_scalar
from batchgeneratorsv2.transforms.base.basic_transform import ImageOnlyTransform

__all__ = ["BiasFieldTransform", "IntensityMapTransform", "MotionGhostingTransform", "ThickSlicesTransform"]


class BiasFieldTransform(ImageOnlyTransform):  # type: ignore[misc]  # the library is untyped
    """Let the intensity fall off with the squared distance from a random point, as a receive coil does.

    The field is ``1 - a * d² / max(d²)``, where d is the distance in mm from a centre drawn uniformly inside
    the patch and a is drawn from ``attenuation``. It is 1 at the centre and 1 - a at the farthest voxel, so
    with a < 1 it is positive everywhere. The released script of the paper does not divide by the largest
    distance, and its field turns negative where the distance is large.

    A coil scales the signal, whose zero is lost once nnU-Net has standardised the image: multiplied as it is,
    everything below the mean would turn brighter where the field is weak. The field is therefore applied to
    the difference from the patch's minimum: ``min + (image - min) * field``. The darkest voxel, which is
    air in all but the innermost patches, keeps its value, and nothing falls below it.

    Channels are sequences acquired one after the other; each draws a field of its own.

    Args:
        spacing: voxel size in mm, one value for each spatial axis.
        attenuation: range from which a is drawn, within [0, 1).

    Raises:
        ValueError: the range of the attenuation lets the field reach zero, or is reversed.
    """

    def __init__(self, spacing: Sequence[float], attenuation: tuple[float, float]) -> None:
        super().__init__()
        if not 0 <= attenuation[0] <= attenuation[1] < 1:
            raise ValueError(f"attenuation is {attenuation}, expected 0 <= lower <= upper < 1")
        self.spacing = tuple(spacing)
        self.attenuation = attenuation

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        image: torch.Tensor = data_dict["image"]
        return {"fields": torch.stack([self._field(image.shape[1:]) for _ in image])}

    def _field(self, shape: Sequence[int]) -> torch.Tensor:
        squared_distance = torch.zeros((1,) * len(shape))
        for axis, (size, spacing) in enumerate(zip(shape, self.spacing, strict=True)):
            centre = float(sample_scalar((0.0, size - 1.0)))
            along_axis = ((torch.arange(size) - centre) * spacing) ** 2
            squared_distance = squared_distance + along_axis.view([-1 if i == axis else 1 for i in range(len(shape))])
        farthest = squared_distance.max().clamp(min=torch.finfo(torch.float32).tiny)
        return 1 - float(sample_scalar(self.attenuation)) * squared_distance / farthest

    def _apply_to_image(self, img: torch.Tensor, **params: Any) -> torch.Tensor:
        fields: torch.Tensor = params["fields"]
        darkest = img.amin(dim=tuple(range(1, img.ndim)), keepdim=True)
        return darkest + (img - darkest) * fields.to(img.dtype)


class MotionGhostingTransform(ImageOnlyTransform):  # type: ignore[misc]  # the library is untyped
    """Scale every n-th k-space line along y, which lays n - 1 faint copies over the image.

    The scaled lines are those with index 1 modulo n, counted from the centre of k-space, and the real part of
    the result is kept. The copies are displaced by multiples of 1/n of the patch's height and wrap around at
    its border. For n = 2 and a scale s the copy weighs (1 - s) / 2, for n = 3 each copy weighs (1 - s) / 6;
    where n does not divide the height, copies are smeared over neighbouring voxels. The central line is never
    scaled, so that the mean of every column along y, and with it that of the patch, stays. An offset of the
    intensities is no signal that could be copied, hence standardised images need no special care.

    Each channel draws n and s of its own.

    Args:
        intervals: values of n to choose from, all of them at least 2.
        scale: range from which s is drawn.

    Raises:
        ValueError: an interval below 2, which would scale the central line.
    """

    def __init__(self, intervals: Sequence[int], scale: tuple[float, float]) -> None:
        super().__init__()
        if min(intervals) < 2:
            raise ValueError(f"intervals are {tuple(intervals)}, expected values of 2 or more")
        self.intervals = tuple(intervals)
        self.scale = scale

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        image: torch.Tensor = data_dict["image"]
        return {"weights": torch.stack([self._line_weights(image.shape[-2]) for _ in image])}

    def _line_weights(self, height: int) -> torch.Tensor:
        """Weights of the non-negative frequencies, shape (height // 2 + 1,).

        Taking the real part of an image is averaging each line with the conjugate of its mirror image about
        the centre of k-space, hence the mean of the weights of lines k and -k.
        """
        interval = self.intervals[int(torch.randint(len(self.intervals), ()))]
        loss = 1 - float(sample_scalar(self.scale))
        line = torch.arange(height // 2 + 1)
        hits = (line % interval == 1).float() + (-line % interval == 1).float()
        return 1 - loss * hits / 2

    def _apply_to_image(self, img: torch.Tensor, **params: Any) -> torch.Tensor:
        weights: torch.Tensor = params["weights"]
        weights = weights.view(len(img), *(1,) * (img.ndim - 3), -1, 1)
        lines = torch.fft.rfft(img, dim=-2) * weights
        ghosted: torch.Tensor = torch.fft.irfft(lines, n=img.shape[-2], dim=-2)
        return ghosted


class IntensityMapTransform(ImageOnlyTransform):  # type: ignore[misc]  # the library is untyped
    """Map intensities by a random increasing function, as another scanner or sequence would.

    The function is piecewise linear over equally wide pieces between two percentiles of the patch, which it
    keeps, and the identity outside of them. The pieces' rises are fractions of the whole drawn from a symmetric
    Dirichlet distribution. So the order of any two voxels stays, and with it that lesions are brighter than white
    matter; how much brighter changes.

    Each channel draws a function of its own. A channel whose percentiles coincide is left as it is.

    Args:
        percentiles: the two between which intensities change, in percent.
        pieces: number of pieces, at least 2.
        concentration: of the Dirichlet distribution; the higher, the closer to the identity.

    Raises:
        ValueError: percentiles out of order, fewer than 2 pieces, or a concentration not above 0.
    """

    def __init__(self, percentiles: tuple[float, float], pieces: int, concentration: float) -> None:
        super().__init__()
        if not 0 <= percentiles[0] < percentiles[1] <= 100:
            raise ValueError(f"percentiles are {percentiles}, expected 0 <= lower < upper <= 100")
        if pieces < 2 or not concentration > 0:
            raise ValueError(f"pieces and concentration are {pieces} and {concentration}, expected >= 2 and > 0")
        self.percentiles = percentiles
        self.pieces = pieces
        self.concentration = concentration

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        image: torch.Tensor = data_dict["image"]
        draw = np.random.dirichlet  # the generator that sample_scalar draws from
        rises = [draw([self.concentration] * self.pieces) for _ in image]
        # NumPy selects two values where torch.quantile sorts all, and takes no more than 2**24.
        ranges = [np.percentile(channel.numpy(), self.percentiles) for channel in image]
        return {"rises": torch.tensor(np.array(rises)), "ranges": torch.tensor(np.array(ranges))}

    def _apply_to_image(self, img: torch.Tensor, **params: Any) -> torch.Tensor:
        mapped = [
            self._map(channel, low, high, rises)
            for channel, (low, high), rises in zip(img, params["ranges"].tolist(), params["rises"], strict=True)
        ]
        return torch.stack(mapped)

    def _map(self, channel: torch.Tensor, low: float, high: float, rises: torch.Tensor) -> torch.Tensor:
        if not low < high:
            return channel
        position = (channel - low) / (high - low) * self.pieces
        piece = position.clamp(0, self.pieces - 1).long()
        starts = torch.cat((torch.zeros(1, dtype=rises.dtype), rises.cumsum(0)[:-1])).to(channel.dtype)
        risen = starts[piece] + rises.to(channel.dtype)[piece] * (position - piece)
        return torch.where((channel > low) & (channel < high), low + (high - low) * risen, channel)


class ThickSlicesTransform(ImageOnlyTransform):  # type: ignore[misc]  # the library is untyped
    """Average neighbouring slices, as a scan with thicker slices would have.

    A random number n of consecutive slices become their mean, n times; the first and last group of a patch may
    be cut off by its border. This is what nnU-Net's preprocessing makes of thick slices: through plane it repeats
    the nearest slice (order 0). Each channel draws its own n and where its groups start.

    Args:
        factors: values of n to choose from, all of them at least 2.

    Shape:
        image (c, z, y, x) → the same.

    Raises:
        ValueError: a factor below 2.
    """

    def __init__(self, factors: Sequence[int]) -> None:
        super().__init__()
        if min(factors) < 2:
            raise ValueError(f"factors are {tuple(factors)}, expected values of 2 or more")
        self.factors = tuple(factors)

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        image: torch.Tensor = data_dict["image"]
        return {"groups": [self._groups(image.shape[1]) for _ in image]}

    def _groups(self, slices: int) -> torch.Tensor:
        """The number of each slice's group, shape (slices,)."""
        factor = self.factors[int(torch.randint(len(self.factors), ()))]
        return (torch.arange(slices) + int(torch.randint(factor, ()))) // factor

    def _apply_to_image(self, img: torch.Tensor, **params: Any) -> torch.Tensor:
        return torch.stack([_mean_of(channel, groups) for channel, groups in zip(img, params["groups"], strict=True)])


def _mean_of(channel: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    sums = torch.zeros_like(channel).index_add_(0, groups, channel)
    return sums[groups] / groups.bincount()[groups].to(channel.dtype).view(-1, 1, 1)
