"""The metrics against values worked out by hand and against SimpleITK's filters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from nnunetv2_sa_unet.scores.metrics import (
    boundary,
    dice,
    hausdorff95,
    lesion_detection,
    score,
    volume_difference_percent,
)
from nnunetv2_sa_unet.scores.scoring import voxel_axes

#: Voxels of 1 by 2 mm in slices of 3 mm, array axes (z, y, x).
AXES = np.diag([3.0, 2.0, 1.0])
TYPES = ["bool", "uint8", "int8", "int16", "uint16", "int32", "int64", "uint64", "float32", "float64"]


def mask(*voxels: tuple[int, int, int], shape: tuple[int, int, int] = (5, 9, 12)) -> NDArray[np.bool_]:
    result = np.zeros(shape, dtype=bool)
    for voxel in voxels:
        result[voxel] = True
    return result


def test_dice_counts_the_overlap_twice_over_both_volumes() -> None:
    assert dice(mask((0, 0, 0), (0, 0, 1)), mask((0, 0, 1), (0, 0, 2), (0, 0, 3))) == 2 / 5


def test_volume_difference_is_in_percent_of_the_reference() -> None:
    one, three = mask((0, 0, 0)), mask((0, 0, 0), (1, 0, 0), (2, 0, 0))
    assert volume_difference_percent(one, three) == 200
    assert volume_difference_percent(three, one) == pytest.approx(200 / 3)


@pytest.mark.parametrize(
    ("voxel", "distance"),
    [((2, 0, 0), 6), ((0, 4, 0), 8), ((0, 0, 5), 5), ((1, 2, 0), 5), ((1, 2, 2), 29**0.5)],
)
def test_h95_between_two_voxels_is_their_distance_in_mm(voxel: tuple[int, int, int], distance: float) -> None:
    assert hausdorff95(mask((0, 0, 0)), mask(voxel), AXES) == pytest.approx(distance)


def test_h95_takes_the_larger_of_the_two_directed_interpolated_percentiles() -> None:
    near, near_and_far = mask((0, 0, 0)), mask((0, 0, 0), (0, 0, 10))
    # Distances 0 and 10: the 95th percentile lies at 9.5. The other direction has a single 0.
    assert hausdorff95(near, near_and_far, AXES) == pytest.approx(9.5)
    assert hausdorff95(near_and_far, near, AXES) == pytest.approx(9.5)


def test_the_boundary_is_found_within_slices_only() -> None:
    block = np.zeros((5, 9, 12), dtype=bool)
    block[1:4, 2:7, 3:8] = True
    inside = np.zeros_like(block)
    inside[1:4, 3:6, 4:7] = True
    np.testing.assert_array_equal(boundary(block), block & ~inside)


def test_a_mask_that_runs_into_the_border_of_the_image_has_no_boundary_there() -> None:
    block = np.zeros((1, 5, 5), dtype=bool)
    block[0, :, :3] = True
    expected = np.zeros_like(block)
    expected[0, :, 2] = True
    np.testing.assert_array_equal(boundary(block), expected)


def test_a_mask_without_boundary_has_no_h95() -> None:
    assert hausdorff95(np.ones((2, 3, 3), dtype=bool), mask((0, 0, 0), shape=(2, 3, 3)), AXES) is None


def test_voxels_that_share_a_corner_across_slices_are_one_lesion() -> None:
    lesions = lesion_detection(mask((0, 0, 0), (1, 1, 1), (3, 1, 1)), mask())
    assert lesions.reference_lesions == 2


def test_lesion_recall_and_precision_count_lesions_touched_from_the_other_side() -> None:
    reference = mask((0, 0, 0), (0, 0, 2), (0, 4, 0))
    prediction = mask((0, 0, 0), (0, 0, 1), (0, 0, 2), (4, 8, 11))
    lesions = lesion_detection(reference, prediction)
    # One detection touches two of the three lesions, one of the two detections is false.
    assert (lesions.recall, lesions.precision) == (2 / 3, 1 / 2)
    assert lesions.f1 == pytest.approx(4 / 7)
    assert (lesions.reference_lesions, lesions.prediction_lesions) == (3, 2)


def test_lesions_that_miss_each_other_have_f1_0() -> None:
    lesions = lesion_detection(mask((0, 0, 0)), mask((4, 0, 0)))
    assert (lesions.recall, lesions.precision, lesions.f1) == (0, 0, 0)


@pytest.mark.parametrize(
    ("reference", "prediction", "expected"),
    [
        (mask(), mask(), (1, None, 0, 1, 1)),
        (mask(), mask((1, 1, 1)), (0, None, None, 1, 0)),
        (mask((1, 1, 1)), mask(), (0, None, 100, 0, 0)),
    ],
    ids=["both empty", "empty reference", "empty prediction"],
)
def test_empty_masks_have_defined_figures_or_none(
    reference: NDArray[Any], prediction: NDArray[Any], expected: tuple[float | None, ...]
) -> None:
    metrics, _ = score(reference.astype(np.uint8), prediction.astype(np.uint8), AXES)
    figures = (metrics.dice, metrics.h95_mm, metrics.avd_percent, metrics.lesion_recall, metrics.lesion_f1)
    assert figures == expected


def test_what_the_reference_marks_as_other_pathology_is_removed_from_the_prediction() -> None:
    reference, prediction = np.zeros((2, 3, 6)), np.zeros((2, 3, 6))
    reference[0, 0, :3] = 1
    reference[0, 0, 3:5] = 2
    prediction[0, 0, :] = 1
    metrics, _ = score(reference, prediction, AXES)
    # Left of the prediction: the three voxels of the lesion, and one beyond the other pathology.
    assert metrics.dice == pytest.approx(6 / 7)
    assert metrics.prediction_ml == pytest.approx(4 * 6 / 1000)
    assert metrics.reference_ml == pytest.approx(3 * 6 / 1000)
    assert (metrics.reference_lesions, metrics.prediction_lesions) == (1, 2)
    assert (metrics.lesion_recall, metrics.lesion_f1) == (1, pytest.approx(2 / 3))


def test_a_predicted_other_pathology_is_not_wmh() -> None:
    reference, prediction = np.zeros((1, 3, 6), dtype=np.uint8), np.zeros((1, 3, 6), dtype=np.uint8)
    reference[0, 0, :2] = 1
    prediction[0, 0, :2] = 1
    prediction[0, 2, :] = 2
    metrics, remarks = score(reference, prediction, AXES)
    assert metrics.dice == 1
    assert remarks == ("prediction: only label 1 counted as WMH, 2 left out",)


@pytest.mark.parametrize("shapes", [((2, 3, 4), (2, 3, 5)), ((3, 4), (3, 4))])
def test_arrays_of_wrong_shape_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="two 3D arrays of one shape"):
        score(np.zeros(shapes[0]), np.zeros(shapes[1]), AXES)


def random_labels(seed: int, shape: tuple[int, int, int] = (7, 40, 33)) -> NDArray[np.uint8]:
    """Blobs of WMH (1) and other pathology (2) that reach the border of the image."""
    random = np.random.default_rng(seed)
    field = gaussian_filter(random.normal(size=shape), (0.5, 1.5, 1.5))
    labels = (field > np.quantile(field, 0.9)).astype(np.uint8)
    labels[field < np.quantile(field, 0.04)] = 2
    return labels


def random_image(labels: NDArray[Any], seed: int) -> Any:
    """An image of these labels with anisotropic voxels, turned in space."""
    image = SimpleITK.GetImageFromArray(labels)
    image.SetSpacing((0.96, 1.21, 3.3))
    image.SetOrigin((-90.5, 12.25, 40))
    image.SetDirection(Rotation.random(random_state=seed).as_matrix().ravel().tolist())
    return image


@pytest.mark.parametrize("dtype", [name for name in TYPES if name != "bool"])
def test_references_and_label_predictions_of_any_type_give_the_same_figures(dtype: str) -> None:
    reference, prediction = random_labels(1), random_labels(2)
    expected, remarks = score(reference, prediction, AXES)
    assert expected.dice > 0
    assert score(reference.astype(dtype), prediction, AXES) == (expected, remarks)
    assert score(reference, prediction.astype(dtype), AXES) == (expected, remarks)


@pytest.mark.parametrize("dtype", TYPES)
def test_masks_of_any_type_give_the_same_figures(dtype: str) -> None:
    reference, prediction = random_labels(1) == 1, random_labels(2) == 1
    assert score(reference.astype(dtype), prediction.astype(dtype), AXES) == score(reference, prediction, AXES)


def by_simpleitk(reference: Any, prediction: Any) -> list[float]:
    """The official metrics with SimpleITK's filters and all pairs of points; neither mask may be empty."""
    truth = SimpleITK.BinaryThreshold(SimpleITK.Cast(reference, SimpleITK.sitkFloat32), 0.5, 1.5, 1, 0)
    keep = SimpleITK.BinaryThreshold(SimpleITK.Cast(reference, SimpleITK.sitkFloat32), 1.5, 2.5, 0, 1)
    found = SimpleITK.BinaryThreshold(prediction, 0.5, 1000, 1, 0) * keep

    overlap = SimpleITK.LabelOverlapMeasuresImageFilter()
    overlap.Execute(truth, found)

    points = []
    for image in (truth, found):
        edge = SimpleITK.GetArrayFromImage(image - SimpleITK.BinaryErode(image, (1, 1, 0)))
        indices = np.argwhere(edge)[:, ::-1].tolist()
        points.append([image.TransformIndexToPhysicalPoint(index) for index in indices])
    distances = cdist(*points)
    h95 = max(np.percentile(distances.min(axis=axis), 95) for axis in (0, 1))

    volumes = [float(SimpleITK.GetArrayFromImage(image).sum()) for image in (truth, found)]
    shares = []
    for image, other in ((truth, found), (found, truth)):
        lesions = SimpleITK.GetArrayFromImage(SimpleITK.ConnectedComponent(image, True))
        touched = set(lesions[SimpleITK.GetArrayFromImage(other) > 0].tolist()) - {0}
        shares.append(len(touched) / lesions.max())
    f1 = 2 * shares[0] * shares[1] / sum(shares)
    avd = 100 * abs(volumes[0] - volumes[1]) / volumes[0]
    voxel_ml = float(np.prod(reference.GetSpacing())) / 1000
    return [overlap.GetDiceCoefficient(), h95, avd, shares[0], f1, *(volume * voxel_ml for volume in volumes)]


@pytest.mark.parametrize("seed", range(6))
def test_figures_agree_with_simpleitk_on_random_masks_turned_in_space(seed: int) -> None:
    labels = random_labels(seed)
    # Half of the prediction is right, so that all metrics have something to find.
    random = np.random.default_rng(seed)
    guess = np.where(random.random(labels.shape) < 0.5, labels == 1, random_labels(seed + 100) == 1)
    probability = np.where(guess, 0.5, 0.0) + 0.49 * random.random(labels.shape)
    reference, prediction = random_image(labels, seed), random_image(probability, seed)

    metrics, remarks = score(labels, probability, voxel_axes(reference))

    figures = [
        metrics.dice,
        metrics.h95_mm,
        metrics.avd_percent,
        metrics.lesion_recall,
        metrics.lesion_f1,
        metrics.reference_ml,
        metrics.prediction_ml,
    ]
    assert figures == pytest.approx(by_simpleitk(reference, prediction), rel=1e-9)
    assert remarks == ()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_the_official_threshold_needs_a_float_reference_and_ours_does_not(dtype: str) -> None:
    labels = np.array([[[0, 1, 2]]]).astype(dtype)
    official = SimpleITK.BinaryThreshold(SimpleITK.GetImageFromArray(labels), 0.5, 1.5, 1, 0)
    metrics, _ = score(labels, labels, np.eye(3))
    assert metrics.reference_ml == pytest.approx(1 / 1000)
    assert SimpleITK.GetArrayFromImage(official).sum() == (1 if dtype == "float32" else 2)
