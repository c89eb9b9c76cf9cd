"""Fixtures for all tests."""

from __future__ import annotations

import locale
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from scipy import ndimage
from scipy.spatial.transform import Rotation

from nnunetv2_sa_unet.longitudinal.rigid import Matrix, inverse, motion
from nnunetv2_sa_unet.regions import parcellation, registration
from nnunetv2_sa_unet.regions.assignment import Surroundings
from nnunetv2_sa_unet.regions.distance import distance_mm
from nnunetv2_sa_unet.regions.template import CSF, GREY_MATTER, VENTRICLES, WHITE_MATTER, load_atlas


@pytest.fixture(autouse=True)
def _same_locale() -> Iterator[None]:
    """Leave the locale as it was: it may change where ITK writes DICOM, and with it how later tests decode text."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real volumes and reference outputs, which is not part of the repository."""
    folder = os.environ.get("SA_UNET_SHARED")
    if not folder:
        pytest.skip("SA_UNET_SHARED does not name the folder of real data")
    path = Path(folder)
    if not path.is_dir():
        pytest.skip(f"SA_UNET_SHARED={folder} is not a folder")
    return path


@pytest.fixture(scope="session")
def source_tree() -> Path:
    """The source tree, which alone has documentation and scripts: the package that is tested is the installed one."""
    folder = os.environ.get("SA_UNET_SOURCE")
    if not folder:
        pytest.skip("SA_UNET_SOURCE does not name the source tree, as `make test` does")
    return Path(folder)


@dataclass(frozen=True)
class ChallengeTree:
    """A miniature of the WMH challenge's folder: the true names, small volumes."""

    root: Path

    def case(self, number: int) -> Path:
        """The folder of the case with this id."""
        (found,) = (path for part in ("training", "test") for path in (self.root / part).rglob(str(number)))
        return found


#: Folder, ids, matrix (x, y, z) and voxel (mm); the matrices are as different as the challenge's.
_PLACES = (
    ("training/Utrecht", (0, 2), (40, 40, 12), (0.96, 0.96, 3.0)),
    ("training/Singapore", (50, 52), (36, 44, 12), (1.0, 1.0, 3.0)),
    ("training/Amsterdam/GE3T", (100, 101), (32, 44, 14), (1.2, 0.98, 3.0)),
    ("test/Utrecht", (1,), (40, 40, 12), (0.96, 0.96, 3.0)),
    ("test/Singapore", (51,), (36, 44, 12), (1.0, 1.0, 3.0)),
    ("test/Amsterdam/GE3T", (103,), (33, 44, 14), (1.2, 0.98, 3.0)),
    ("test/Amsterdam/Philips_VU .PETMR_01.", (160,), (48, 40, 14), (0.56, 1.04, 3.0)),
    ("test/Amsterdam/GE1T5", (150,), (32, 44, 16), (1.3, 1.21, 3.0)),
)
_TRANSPOSED = (51, 52)


def write_challenge_case(folder: Path, number: int, matrix: tuple[int, int, int], voxel: Sequence[float]) -> Path:
    """A noisy head with bright lesions of label 1 and one of label 2, with headers as different as the challenge's.

    Returns:
        What a second observer would have drawn, in the same folder.
    """
    random = np.random.default_rng(number)
    size = np.array(matrix[::-1])
    grid = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1)
    head = (((grid - size / 2) / (size * 0.45)) ** 2).sum(-1) < 1
    flair = random.normal(20, 5, size) + head * random.normal(100, 8, size)
    label = np.zeros(size, np.float32)
    for value in (2, 1, 1, 1):
        centre = random.uniform(size * 0.35, size * 0.65)
        blob = (((grid - centre) / (1.6, 3.5, 3.5)) ** 2).sum(-1) < 1
        label[blob] = value
        flair[blob] += 70
    # A head that was tilted in the scanner, and headers that passed through different software.
    directions = {name: _rotation(0.1 + turn) for name, turn in (("FLAIR", 0), ("T1", 1e-5), ("wmh", 2e-5))}
    volumes = {"orig/FLAIR": flair, "orig/T1": 140 - flair, "pre/FLAIR": flair * 1.1, "pre/T1": 150 - flair}
    second = ndimage.binary_dilation(label == 1, iterations=1 + number % 2)
    for name, values in {**volumes, "wmh": label, "result": second}.items():
        image = SimpleITK.GetImageFromArray(values.astype(np.float32))
        image.SetSpacing(voxel)
        image.SetOrigin((-12.3, 45.6, -7.8))
        image.SetDirection(directions.get(name.rpartition("/")[2], directions["wmh"]).ravel().tolist())
        path = folder / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        SimpleITK.WriteImage(image, str(path))
    return folder / "result.nii.gz"


def _rotation(angle: float) -> np.ndarray:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])


@pytest.fixture(scope="session")
def pristine_challenge_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature tree; nobody may change it."""
    root = tmp_path_factory.mktemp("challenge") / "WMH"
    for place, numbers, matrix, voxel in _PLACES:
        for number in numbers:
            x, y, z = matrix
            folder = root / place / str(number)
            reading = write_challenge_case(folder, number, (y, x, z) if number in _TRANSPOSED else matrix, voxel)
            for observer in ("o3", "o4") if place.startswith("training") else ():
                target = root / "additional_annotations" / f"observer_{observer}" / place / str(number)
                target.mkdir(parents=True)
                # The second observer draws larger lesions than the reference, the third draws it as it is.
                shutil.copy(reading if observer == "o3" else folder / "wmh.nii.gz", target / "result.nii.gz")
            reading.unlink()
    return root


@pytest.fixture
def challenge_tree(pristine_challenge_tree: Path, tmp_path: Path) -> ChallengeTree:
    """A miniature of the WMH challenge's folder that a test may change."""
    shutil.copytree(pristine_challenge_tree, tmp_path / "WMH")
    return ChallengeTree(tmp_path / "WMH")


@pytest.fixture(scope="session")
def write_series() -> Callable[..., list[Path]]:
    """Write a DICOM series as a scanner exports it, a file a slice; see ``_write_series``."""
    return _write_series


def _write_series(
    folder: Path,
    values: np.ndarray,
    description: str = "Ax T2 FLAIR",
    uid: str = "1.2.826.0.1.1",
    study: str = "1.2.826.0.1",
    spacing: Sequence[float] = (1, 1, 3),
    **tags: str,
) -> list[Path]:
    """Write a DICOM series.

    Args:
        folder: which is made if need be.
        values: (z, y, x), whole numbers.
        description: as the scanner's user reads it.
        uid: of the series.
        study: its UID.
        spacing: (x, y, z) in mm.
        tags: values of further ones: ``t0018_0082="2500"``.

    Returns:
        The files in the order of the slices, which is not that of their names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Writing DICOM changes the locale of the process, and with it the encoding of text.
    before = locale.setlocale(locale.LC_ALL)
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    paths = []
    for index, part in enumerate(values.astype(np.int16)):
        position = (-10.0, -20.0, 30.0 + spacing[2] * index)
        image = SimpleITK.GetImageFromArray(part[None])
        image.SetSpacing(spacing)
        image.SetOrigin(position)
        header = {
            "0008|0018": f"{uid}.{index + 1}",
            "0008|0060": "MR",
            "0008|103e": description,
            "0018|0050": f"{spacing[2]}",
            "0020|000d": study,
            "0020|000e": uid,
            "0020|0011": uid.rpartition(".")[2],
            "0020|0013": str(index + 1),
            "0020|0032": "\\".join(map(str, position)),
            "0020|0037": "1\\0\\0\\0\\1\\0",
            **{tag[1:].replace("_", "|"): value for tag, value in tags.items()},
        }
        for tag, value in header.items():
            image.SetMetaData(tag, value)
        paths.append(folder / f"{uid.rpartition('.')[2]}_{len(values) - index:03}.dcm")
        writer.SetFileName(str(paths[-1]))
        writer.Execute(image)
    locale.setlocale(locale.LC_ALL, before)
    return paths


#: Voxel of the head made of the atlas (z, y, x; mm), and how much larger than the head the atlas is.
_HEAD_VOXEL, _HEAD_SCALE = (3.0, 2.0, 2.0), 1.08


@dataclass(frozen=True)
class AtlasHead:
    """A FLAIR image of the atlas, scaled, turned and moved; its labels (z, y, x) and what is around each voxel."""

    flair: SimpleITK.Image
    labels: np.ndarray
    around: Surroundings

    @property
    def icv_ml(self) -> float:
        """Intracranial volume."""
        return float((self.labels > 0).sum() * np.prod(_HEAD_VOXEL)) / 1000


@pytest.fixture(scope="session")
def atlas_head() -> AtlasHead:
    """A head small enough to be registered in seconds."""
    atlas = load_atlas()
    grid = SimpleITK.Image(92, 112, 58, SimpleITK.sitkUInt8)
    grid.SetSpacing(_HEAD_VOXEL[::-1])
    grid.SetOrigin((-92.0, -98.0, -75.0))
    # From the head to the atlas: larger, turned by some degrees, 5 mm aside.
    transform = SimpleITK.Euler3DTransform((0.0, 0.0, 0.0), 0.1, -0.03, 0.04, (5.0, -4.0, 6.0))
    affine = SimpleITK.AffineTransform(3)
    affine.SetMatrix((np.reshape(transform.GetMatrix(), (3, 3)) * _HEAD_SCALE).ravel().tolist())
    affine.SetTranslation(transform.GetTranslation())

    def there(values: np.ndarray, beyond: float = 0.0) -> np.ndarray:
        image = SimpleITK.GetImageFromArray(values)
        image.CopyInformation(atlas.image)
        how = SimpleITK.sitkLinear if values.dtype == np.float32 else SimpleITK.sitkNearestNeighbor
        return SimpleITK.GetArrayFromImage(SimpleITK.Resample(image, grid, affine, how, beyond))

    labels = there(atlas.tissue)
    around = Surroundings(
        to_ventricles=there(distance_mm(atlas.tissue == VENTRICLES, 1.0), 99.0) / _HEAD_SCALE,
        to_cortex=there(distance_mm(atlas.cortex, 1.0), 99.0) / _HEAD_SCALE,
        intracranial=labels > 0,
        infratentorial=there(atlas.infratentorial.astype(np.uint8)) > 0,
        right=there(atlas.right.astype(np.uint8)) > 0,
    )
    # The template's cortex is an average of many, without sulci: in a head they begin some 4 mm from white matter.
    to_white = there(distance_mm(atlas.tissue == WHITE_MATTER, 1.0))
    sulci = (there(atlas.cortex.astype(np.uint8)) > 0) & (to_white > 4)
    away = distance_mm(labels > 0, 2.2)
    fluid = (labels == CSF) | (labels == VENTRICLES) | sulci
    brightness = np.select([fluid, labels == GREY_MATTER, labels == WHITE_MATTER], [40, 230, 200], 20).astype(
        np.float32
    )
    brightness[(away > 6) & (away < 12)] = 300
    brightness[away > 12] = 0
    brightness += np.random.default_rng(0).normal(0, 6, brightness.shape).astype(np.float32)
    flair = SimpleITK.GetImageFromArray(np.maximum(brightness, 0))
    flair.CopyInformation(grid)
    return AtlasHead(flair, labels, around)


@pytest.fixture
def coarse_registration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regions of a head that is hardly turned, in some seconds: the search starts once, and voxels are larger."""
    monkeypatch.setattr(registration, "_PITCHES", (0.0,))
    monkeypatch.setattr(registration, "_FINE_MM", 3.0)
    monkeypatch.setattr(parcellation, "_EDGE_MM", 2.0)


#: Of a small head that can be scanned in any position: middle (mm, LPS) and radius (mm) of a lesion.
Lesion = tuple[tuple[float, float, float], float]


def pose(turn: Sequence[float] = (0, 0, 0), shift: Sequence[float] = (0, 0, 0)) -> Matrix:
    """The motion of a head from its place: degrees about x, y and z, and mm."""
    return motion(Rotation.from_euler("xyz", turn, degrees=True).as_matrix(), shift)


def scan(
    lesions: Sequence[Lesion] = (),
    place: Matrix | None = None,
    spacing: Sequence[float] = (2.0, 2.0, 3.0),
    size: Sequence[int] = (60, 68, 36),
    seed: int = 0,
    stretch: Sequence[float] = (1, 1, 1),
) -> SimpleITK.Image:
    """A FLAIR image: scalp 115, brain about 100, ventricles 20, lesions 220; no voxel was interpolated.

    Args:
        lesions: of the head.
        place: of the head; None where it was.
        spacing: of the voxels in mm (x, y, z).
        size: their number.
        seed: of the noise.
        stretch: another person's head.
    """
    image = SimpleITK.Image(list(size), SimpleITK.sitkInt16)
    image.SetSpacing(list(spacing))
    origin = -(np.array(size) - 1) / 2 * spacing
    image.SetOrigin(origin.tolist())
    grid = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1)[..., [0, 1, 2]]
    back = inverse(np.eye(4) if place is None else place)
    points = (grid * spacing + origin) @ back[:3, :3].T + back[:3, 3]
    x, y, z = np.moveaxis(points * stretch, -1, 0)
    radius = np.sqrt((x / 46) ** 2 + (y / 54) ** 2 + (z / 42) ** 2)
    texture = 10 * (np.sin(x / 5) + np.sin(y / 6 + 1) + np.sin(z / 5 + 2) + np.sin((x + y - z) / 8))
    ventricles = ((x / 9) ** 2 + ((y + 6) / 17) ** 2 + ((z - 4) / 9) ** 2 < 1) | (
        ((x - 12) / 5) ** 2 + ((y - 20) / 7) ** 2 + (z / 6) ** 2 < 1
    )
    values = np.select([radius > 1, radius > 0.93, radius > 0.84, ventricles], [2, 115, 8, 20], 100 + texture)
    for middle, reach in lesions:
        values = np.where(((points - middle) ** 2).sum(-1) < reach**2, 220, values)
    values = values + np.random.default_rng(seed).normal(0, 2, values.shape)
    made = SimpleITK.GetImageFromArray(np.rint(values.clip(0).transpose(2, 1, 0)).astype(np.int16))
    made.CopyInformation(image)
    return made


@pytest.fixture(scope="session")
def scan_head() -> Callable[..., SimpleITK.Image]:
    """See ``scan``."""
    return scan


@pytest.fixture(scope="session")
def pose_of() -> Callable[..., Matrix]:
    """See ``pose``."""
    return pose
