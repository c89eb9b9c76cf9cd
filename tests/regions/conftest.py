"""A head made of the atlas, small enough to be registered in seconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import SimpleITK

from nnunetv2_sa_unet.images.masks import BoolArray
from nnunetv2_sa_unet.regions.distance import distance_mm
from nnunetv2_sa_unet.regions.template import CSF, GREY_MATTER, VENTRICLES, WHITE_MATTER, load_atlas

SPACING = (3.0, 2.0, 2.0)


@dataclass(frozen=True)
class AtlasHead:
    """A FLAIR image of the atlas, scaled, turned and moved; what its voxels are (z, y, x)."""

    flair: SimpleITK.Image
    labels: np.ndarray
    right: BoolArray

    @property
    def icv_ml(self) -> float:
        """Intracranial volume."""
        return float((self.labels > 0).sum() * np.prod(SPACING)) / 1000


@pytest.fixture(scope="session")
def atlas_head() -> AtlasHead:
    atlas = load_atlas()
    grid = SimpleITK.Image(92, 112, 58, SimpleITK.sitkUInt8)
    grid.SetSpacing(SPACING[::-1])
    grid.SetOrigin((-92.0, -98.0, -75.0))
    # From the head to the atlas: 8 % larger, turned by some degrees, 5 mm aside.
    transform = SimpleITK.Euler3DTransform((0.0, 0.0, 0.0), 0.1, -0.03, 0.04, (5.0, -4.0, 6.0))
    affine = SimpleITK.AffineTransform(3)
    affine.SetMatrix((np.reshape(transform.GetMatrix(), (3, 3)) * 1.08).ravel().tolist())
    affine.SetTranslation(transform.GetTranslation())

    def there(values: np.ndarray) -> np.ndarray:
        image = SimpleITK.GetImageFromArray(values.astype(np.uint8))
        image.CopyInformation(atlas.image)
        moved = SimpleITK.Resample(image, grid, affine, SimpleITK.sitkNearestNeighbor, 0)
        return SimpleITK.GetArrayFromImage(moved)

    labels = there(atlas.tissue)
    away = distance_mm(labels > 0, 2.2)
    brightness = np.select([labels == CSF, labels == VENTRICLES, labels == GREY_MATTER, labels == WHITE_MATTER],
                           [40, 40, 230, 200], 20).astype(np.float32)  # fmt: skip
    brightness[(away > 6) & (away < 12)] = 300
    brightness[away > 12] = 0
    brightness += np.random.default_rng(0).normal(0, 6, brightness.shape).astype(np.float32)
    flair = SimpleITK.GetImageFromArray(np.maximum(brightness, 0))
    flair.CopyInformation(grid)
    return AtlasHead(flair, labels, there(atlas.right) > 0)
