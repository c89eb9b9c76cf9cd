"""Synthetic cases: reproducible, of the lesion load asked for, with contrasts and lesions as in FLAIR."""

import numpy as np
import pytest
import SimpleITK
from scipy import ndimage

from nnunetv2_sa_unet.demo import synthetic
from nnunetv2_sa_unet.demo.anatomy import load_anatomy
from nnunetv2_sa_unet.demo.head import deformed_head
from nnunetv2_sa_unet.demo.synthetic import SHAPE, SPACING, SyntheticCase, Visit, make_case, make_visits
from nnunetv2_sa_unet.errors import InputError

VOXEL_ML = float(np.prod(SPACING)) / 1000


def arrays(case: SyntheticCase) -> tuple[np.ndarray, np.ndarray]:
    return SimpleITK.GetArrayFromImage(case.image), SimpleITK.GetArrayFromImage(case.label)


@pytest.fixture(scope="module")
def many_lesions() -> SyntheticCase:
    return make_case(seed=7, lesion_load=20.0, others=1)


@pytest.fixture(scope="module")
def nearly_none() -> SyntheticCase:
    return make_case(seed=8, lesion_load=0.2)


@pytest.fixture(scope="module")
def head_without_lesions():
    """The head of a case and its scan without lesions, both on the grid of the scan."""
    tilt = 0.1
    fine = (SHAPE[0] * 3, *SHAPE[1:])
    head = deformed_head(load_anatomy(), fine, synthetic._CENTRE, tilt, np.random.default_rng(3))
    nothing = np.full(fine, -np.inf, np.float32)
    signal = synthetic._signal(head, nothing, nothing, np.zeros(fine, np.float32), np.random.default_rng(4))
    return head, tilt, synthetic._acquire(signal, np.random.default_rng(5))


def test_the_same_seed_makes_the_same_voxels(many_lesions):
    again = make_case(seed=7, lesion_load=20.0, others=1)
    for first, second in zip(arrays(many_lesions), arrays(again), strict=True):
        np.testing.assert_array_equal(first, second)
    assert again.image.GetDirection() == many_lesions.image.GetDirection()


def test_another_seed_makes_another_head(many_lesions, nearly_none):
    first, second = (arrays(case)[0].astype(float) for case in (many_lesions, nearly_none))
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] < 0.99


def test_lesion_load_is_met_within_a_voxel(many_lesions, nearly_none):
    for case, load in ((many_lesions, 20.0), (nearly_none, 0.2)):
        assert abs((arrays(case)[1] == 1).sum() * VOXEL_ML - load) <= VOXEL_ML


def test_a_case_may_have_no_lesion_at_all():
    assert not arrays(make_case(seed=9, lesion_load=0.0))[1].any()


def test_other_lesions_are_there_where_asked_for(many_lesions, nearly_none):
    assert set(np.unique(arrays(many_lesions)[1])) == {0, 1, 2}
    assert set(np.unique(arrays(nearly_none)[1])) == {0, 1}
    assert (arrays(many_lesions)[1] == 2).sum() * VOXEL_ML > 0.3


def test_image_and_label_share_grid_types_and_thick_slices(many_lesions):
    image, label = many_lesions.image, many_lesions.label
    for what in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(image, what)() == getattr(label, what)()
    assert image.GetSize() == SHAPE[::-1]
    assert image.GetSpacing() == (1.0, 1.0, 3.0)
    assert image.GetPixelID() == SimpleITK.sitkInt16
    assert label.GetPixelID() == SimpleITK.sitkUInt8
    direction = np.reshape(image.GetDirection(), (3, 3))
    np.testing.assert_allclose(direction @ direction.T, np.eye(3), atol=1e-12)


def test_the_header_says_where_the_head_lies(head_without_lesions):
    head, tilt, scan = head_without_lesions
    image = synthetic._with_geometry(scan, tilt)
    errors = []
    for index in np.ndindex(2, 2, 2):
        z, y, x = (i * (n - 1) for i, n in zip(index, SHAPE, strict=True))
        left, back, up = image.TransformIndexToPhysicalPoint((int(SHAPE[2] - 1 - x), int(y), int(z)))
        errors.append(head.position[:, 3 * z + 1, y, x] - (up, -back, -left))
    # Deformation, stretch and turn are random; a mirrored axis would be off by more than 100 mm at the
    # corners, a tilt of the wrong sign by 20 mm in z.
    assert np.abs(errors).max() < 30
    front = np.mean([e[0] for e, i in zip(errors, np.ndindex(2, 2, 2), strict=True) if i[1] == 1])
    behind = np.mean([e[0] for e, i in zip(errors, np.ndindex(2, 2, 2), strict=True) if i[1] == 0])
    assert abs(front - behind) < 20


def test_contrasts_are_those_of_flair(head_without_lesions):
    head, _, scan = head_without_lesions

    def sliced(values):
        return values.reshape(SHAPE[0], 3, *SHAPE[1:]).mean(axis=1)

    csf, grey, white = (sliced(values) > 0.99 for values in (head.csf, head.grey, head.white))
    wall = sliced(head.to_ventricles)
    rim = (sliced(head.white) > 0.9) & (wall > 0) & (wall < 1.5)
    deep = white & (wall > 10)
    assert scan[csf].mean() < 0.35 * scan[deep].mean()
    assert 1.05 * scan[deep].mean() < scan[grey].mean() < 1.4 * scan[deep].mean()
    assert scan[rim].mean() > 1.1 * scan[deep].mean()
    # The scalp is what is brightest, the air around the head is not exactly zero.
    scalp = (sliced(head.to_hull) > 10.5) & (sliced(head.to_hull) < 13)
    assert scan[scalp].mean() > 1.3 * scan[deep].mean()
    assert 0 < scan[sliced(head.to_hull) > 20].mean() < 0.1 * scan[deep].mean()


def test_lesions_are_brighter_than_what_surrounds_them(many_lesions):
    image, label = arrays(many_lesions)
    lesion = label == 1
    grown = ndimage.binary_dilation(lesion, iterations=4)
    around = grown & ~ndimage.binary_dilation(lesion, iterations=2) & (label == 0)
    assert np.median(image[lesion]) > 1.25 * np.median(image[around])


def test_lesions_lie_in_cerebral_white_matter_and_mostly_at_the_ventricles(head_without_lesions):
    head, _, _ = head_without_lesions
    score = synthetic._lesion_score(head, 15.0, np.random.default_rng(11))
    threshold = np.partition(score[np.isfinite(score)], -15_000)[-15_000]
    lesion = score >= threshold
    assert head.white[lesion].min() > 0.5
    near = head.to_ventricles[lesion] < 10
    assert near.mean() > 0.4
    # Some are punctate and far from the ventricles.
    components, number = ndimage.label(lesion & (head.to_ventricles > 10))
    assert number >= 5
    assert np.median(np.bincount(components.ravel())[1:]) < 500


@pytest.mark.parametrize("load", [-1.0, float("nan"), float("inf")])
def test_a_lesion_load_that_is_none_is_refused(load):
    with pytest.raises(InputError, match=r"lesion load: .* expected"):
        make_case(seed=1, lesion_load=load)


def test_more_lesions_than_a_head_can_hold_are_refused():
    score = np.full(SHAPE, -np.inf, np.float32)
    score[20, 50:150, 100] = 1
    assert synthetic._threshold(score, 0.3) == 1
    with pytest.raises(InputError, match=r"lesion load: 0\.4 ml, expected"):
        synthetic._threshold(score, 0.4)


def test_a_head_keeps_its_lesions_from_visit_to_visit_and_gets_more():
    first, second = (arrays(case) for case in make_visits(12, [Visit(3.0), Visit(6.0, (0, 0, 0), (3.0, 4.0, -5.0))]))
    for (_, label), load in ((first, 3.0), (second, 6.0)):
        assert label.sum() * VOXEL_ML == pytest.approx(load, rel=0.05)
    # It was moved by whole voxels: up, to the front and to the left, where the arrays count from the right.
    back = np.roll(second[1], (-1, -4, -5), (0, 1, 2))
    assert (first[1] & back).sum() >= 0.98 * first[1].sum()
    moved = np.roll(second[0], (-1, -4, -5), (0, 1, 2))
    inside = (slice(4, -4), slice(10, -10), slice(10, -10))
    assert np.corrcoef(first[0][inside].ravel(), moved[inside].ravel())[0, 1] > 0.95
    assert not np.array_equal(first[0], second[0])
