import numpy as np
import pytest
import torch

from nnunetv2_sa_unet.nnunet.transforms import (
    BiasFieldTransform,
    IntensityMapTransform,
    MotionGhostingTransform,
    ThickSlicesTransform,
)

SHAPES = [(2, 24, 31), (2, 6, 24, 31)]


@pytest.fixture(autouse=True)
def seeded() -> None:
    np.random.seed(0)  # noqa: NPY002  # the generator that the transforms use
    torch.manual_seed(0)


@pytest.mark.parametrize("shape", SHAPES)
def test_bias_field_spans_the_attenuation_and_stays_positive(shape: tuple[int, ...]) -> None:
    spacing = (6.5, 0.9, 0.9)[-(len(shape) - 1) :]
    transform = BiasFieldTransform(spacing, attenuation=(0.6, 0.6))
    for _ in range(20):
        fields = transform.get_parameters(image=torch.zeros(shape))["fields"]
        assert fields.shape == shape
        lowest = fields.flatten(1).amin(1)
        torch.testing.assert_close(lowest, torch.full_like(lowest, 0.4))
        assert fields.max() <= 1
        # The centre lies inside the patch, hence within half a voxel of one.
        assert fields.max() > 0.95


def test_bias_field_falls_with_the_distance_in_mm() -> None:
    transform = BiasFieldTransform((5.0, 1.0), attenuation=(0.5, 0.5))
    field = transform.get_parameters(image=torch.zeros(1, 41, 41))["fields"][0].double()
    curvature_y = field[2:, 20] - 2 * field[1:-1, 20] + field[:-2, 20]
    curvature_x = field[20, 2:] - 2 * field[20, 1:-1] + field[20, :-2]
    assert (curvature_x < 0).all()
    assert float(curvature_y.mean() / curvature_x.mean()) == pytest.approx(25, rel=1e-2)


@pytest.mark.parametrize("shape", SHAPES)
def test_bias_field_keeps_the_darkest_voxel_and_brightens_nothing(shape: tuple[int, ...]) -> None:
    image = torch.randn(shape)
    result = BiasFieldTransform((1.0,) * (len(shape) - 1), (0.3, 0.6))(image=image.clone())["image"]
    assert result.shape == image.shape
    assert result.dtype == image.dtype
    assert (result <= image + 1e-5).all()
    assert not torch.allclose(result, image)
    for before, after in zip(image, result, strict=True):
        assert after.min() == before.min()


def test_channels_draw_bias_fields_of_their_own() -> None:
    fields = BiasFieldTransform((1.0, 1.0), (0.3, 0.6)).get_parameters(image=torch.zeros(2, 16, 16))["fields"]
    assert not torch.allclose(fields[0], fields[1])


@pytest.mark.parametrize("attenuation", [(0.5, 1.0), (0.6, 0.5), (-0.1, 0.5)])
def test_attenuation_that_lets_the_field_vanish_is_refused(attenuation: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="attenuation"):
        BiasFieldTransform((1.0, 1.0), attenuation)


@pytest.mark.parametrize(("interval", "copy_weight"), [(2, 0.2), (3, 0.4 / 6)])
@pytest.mark.parametrize("shape", [(1, 36, 5), (1, 3, 36, 5)])
def test_ghosts_stand_at_fractions_of_the_height(interval: int, copy_weight: float, shape: tuple[int, ...]) -> None:
    image = torch.zeros(shape)
    image[..., 4, 2] = 1
    result = MotionGhostingTransform([interval], (0.6, 0.6))(image=image.clone())["image"]
    ghosts = [4 + 36 * i // interval for i in range(1, interval)]
    torch.testing.assert_close(
        result[..., ghosts, 2], torch.full_like(result[..., ghosts, 2], copy_weight), atol=0.01, rtol=0
    )
    result[..., [4, *ghosts], 2] = 0
    # For n = 3 the Nyquist line, whose index is n/2 as well as -n/2, leaves a ripple of less than 1 %.
    assert result.abs().max() < 0.01


@pytest.mark.parametrize("interval", [2, 3])
@pytest.mark.parametrize("height", [35, 36])
def test_ghosting_is_the_real_part_of_scaling_every_nth_line(interval: int, height: int) -> None:
    image = torch.randn(1, height, 7, dtype=torch.float64)
    spectrum = torch.fft.fft(image, dim=-2)
    index = torch.fft.fftfreq(height, d=1 / height).round().long()
    # An even height has a line at -height / 2 without a partner at +height / 2; both count half.
    weights = torch.where(index % interval == 1, 0.6, 1.0).double()
    if height % 2 == 0:
        weights[height // 2] = sum(0.6 if k % interval == 1 else 1.0 for k in (-height // 2, height // 2)) / 2
    expected = torch.fft.ifft(spectrum * weights[:, None], dim=-2).real
    result = MotionGhostingTransform([interval], (0.6, 0.6))(image=image.clone())["image"]
    torch.testing.assert_close(result, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_ghosting_keeps_the_mean_along_y(shape: tuple[int, ...]) -> None:
    image = torch.randn(shape) + 3
    result = MotionGhostingTransform((2, 3), (0.5, 0.7))(image=image.clone())["image"]
    assert result.shape == image.shape
    assert result.dtype == image.dtype
    assert not torch.allclose(result, image)
    torch.testing.assert_close(result.mean(-2), image.mean(-2), atol=1e-5, rtol=1e-5)


def test_an_interval_that_would_scale_the_centre_of_k_space_is_refused() -> None:
    with pytest.raises(ValueError, match="intervals"):
        MotionGhostingTransform((1, 2), (0.5, 0.7))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_intensity_map_keeps_order_and_range(shape: tuple[int, ...]) -> None:
    image = torch.randn(shape)
    result = IntensityMapTransform((1, 99.5), pieces=6, concentration=4)(image=image.clone())["image"]
    assert result.shape == image.shape
    assert result.dtype == image.dtype
    for before, after in zip(image.flatten(1), result.flatten(1), strict=True):
        assert not torch.allclose(before, after, atol=0.05)
        assert (after[before.argsort()].diff() > -1e-5).all()
        low, high = np.percentile(before.numpy(), (1, 99.5))
        outside = (before < low) | (before > high)
        assert torch.equal(before[outside], after[outside])


def test_the_intensity_map_is_linear_between_knots_that_rise_by_the_fractions_drawn() -> None:
    transform = IntensityMapTransform((0, 100), pieces=2, concentration=4)
    image = torch.linspace(10, 20, 21).view(1, 1, 21)
    rises = transform.get_parameters(image=image)["rises"]
    assert rises.sum().item() == pytest.approx(1)
    parameters = {"rises": torch.tensor([[0.8, 0.2]]), "ranges": torch.tensor([[10.0, 20.0]])}
    result = transform.apply({"image": image}, **parameters)["image"]
    expected = torch.cat((torch.linspace(10, 18, 11), torch.linspace(18, 20, 11)[1:]))
    torch.testing.assert_close(result.flatten(), expected)


def test_channels_draw_intensity_maps_of_their_own() -> None:
    channel = torch.randn(1, 24, 24)
    first, second = IntensityMapTransform((1, 99.5), 6, 4)(image=channel.repeat(2, 1, 1))["image"]
    assert not torch.allclose(first, second)


def test_an_empty_patch_has_no_intensities_to_map() -> None:
    image = torch.zeros(1, 4, 8, 8)
    assert torch.equal(IntensityMapTransform((1, 99.5), 6, 4)(image=image.clone())["image"], image)


@pytest.mark.parametrize("arguments", [((99, 1), 6, 4), ((1, 99), 1, 4), ((1, 99), 6, 0), ((1, 101), 6, 4)])
def test_an_intensity_map_of_nothing_is_refused(arguments: tuple[tuple[float, float], int, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        IntensityMapTransform(*arguments)


def test_thick_slices_are_means_of_neighbours() -> None:
    transform = ThickSlicesTransform([3])
    image = torch.arange(8.0).view(1, 8, 1, 1).repeat(1, 1, 2, 2)
    starts = set()
    for _ in range(20):
        result = transform(image=image.clone())["image"]
        assert torch.equal(result[..., 0, 0], result[..., 1, 1])
        profile = result[0, :, 0, 0]
        starts.add(tuple(profile.tolist()))
    # Groups start at any slice, and those at the border may be cut off by it.
    assert starts == {
        (1, 1, 1, 4, 4, 4, 6.5, 6.5),
        (0, 2, 2, 2, 5, 5, 5, 7),
        (0.5, 0.5, 3, 3, 3, 6, 6, 6),
    }


def test_channels_draw_thicknesses_of_their_own() -> None:
    image = torch.randn(1, 12, 8, 8).repeat(6, 1, 1, 1)
    result = ThickSlicesTransform((2, 3))(image=image.clone())["image"]
    assert result.shape == image.shape
    assert len({channel.numpy().tobytes() for channel in result}) > 1
    torch.testing.assert_close(result.mean((1, 2, 3)), image.mean((1, 2, 3)), atol=0.1, rtol=0)


def test_slices_that_stay_as_they_are_are_refused() -> None:
    with pytest.raises(ValueError, match="factors"):
        ThickSlicesTransform((1, 2))


@pytest.mark.parametrize(
    "transform", [IntensityMapTransform((1, 99.5), 6, 4), ThickSlicesTransform((2, 3))], ids=lambda t: type(t).__name__
)
def test_labels_stay_and_seeds_decide(transform: IntensityMapTransform | ThickSlicesTransform) -> None:
    image, label = torch.randn(2, 6, 24, 31), torch.randint(0, 3, (1, 6, 24, 31), dtype=torch.int16)
    results = []
    for seed in (3, 3, 4):
        np.random.seed(seed)  # noqa: NPY002  # the generator that the transforms use
        torch.manual_seed(seed)
        result = transform(image=image.clone(), segmentation=label.clone())
        assert torch.equal(result["segmentation"], label)
        results.append(result["image"])
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
