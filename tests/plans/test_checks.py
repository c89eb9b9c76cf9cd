from __future__ import annotations

import re

import pytest

from nnunetv2_sa_unet.plans.checks import foreign_parts, remarks, unknown_arguments
from nnunetv2_sa_unet.plans.topology import apply_values, apply_variant
from nnunetv2_sa_unet.plans.variants import VARIANTS

SA_UNET = VARIANTS["nnUNetTrainerSAUNet"]
KERNELS_333 = VARIANTS["nnUNetTrainerSAUNet_backbone333BN"]


@pytest.mark.parametrize("found", VARIANTS)
@pytest.mark.parametrize("expected", VARIANTS)
def test_every_variant_is_told_from_those_with_other_parts(planned, found, expected):
    configuration = planned("2d" if VARIANTS[found].n_axes == 2 else "challenge")
    foreign = foreign_parts(apply_variant(configuration, VARIANTS[found]), VARIANTS[expected])
    parts = [
        (v.network_class, *(getattr(v, switch, None) for switch in ("attention", "aspp", "norm")))
        for v in (VARIANTS[name] for name in (found, expected))
    ]

    assert bool(foreign) == (parts[0] != parts[1])


def test_a_system_of_another_paper_has_nothing_to_remark(planned):
    for trainer in ("nnUNetTrainerLi2018", "nnUNetTrainerTrUENet"):
        variant = VARIANTS[trainer]
        configuration = planned("2d" if variant.n_axes == 2 else "isotropic")
        assert remarks(apply_variant(configuration, variant), variant) == []


def test_foreign_parts_are_named(planned):
    configuration = apply_variant(planned("challenge"), VARIANTS["nnUNetTrainerSAUNet_backboneBN"])

    assert foreign_parts(configuration, SA_UNET) == ["attention_kernel", "rates", "norm_op"]


def test_arguments_of_a_newer_version_are_named(planned):
    configuration = apply_values(planned("challenge"), {})
    kwargs = configuration["architecture"]["arch_kwargs"]
    kwargs["heads"] = 3

    assert unknown_arguments(configuration, [key for key in kwargs if key != "heads"]) == ["heads"]


@pytest.mark.parametrize(
    ("spacing", "values", "variant", "said"),
    [
        ([1.0, 1.0, 1.0], {}, SA_UNET, 'nearly isotropic.*"kernels": "planned"'),
        ([1.2, 0.9, 0.9], {}, SA_UNET, "1.2×0.9×0.9 mm are nearly isotropic"),
        ([1.0, 1.0, 1.0], {"kernels": "planned"}, SA_UNET, None),
        ([1.0, 1.0, 1.0], {}, KERNELS_333, None),
        ([3.0, 1.0, 1.0], {}, SA_UNET, None),
        ([1.0, 1.0, 3.0], {}, SA_UNET, "coarsest along an axis other than the first"),
        ([1.0, 1.0], {}, SA_UNET, None),
    ],
)
def test_spacing_that_the_network_was_not_made_for_is_remarked_once(planned, spacing, values, variant, said):
    configuration = planned("2d" if len(spacing) == 2 else "paper") | {"spacing": spacing}
    rewritten = apply_values(configuration, values)
    found = remarks(rewritten if values else apply_variant(rewritten, variant), variant)

    if said is None:
        assert found == []
    else:
        (remark,) = found
        assert re.search(said, remark)


def test_poolings_that_leave_z_are_remarked(planned):
    configuration = apply_variant(planned("challenge"), KERNELS_333)

    assert remarks(configuration, KERNELS_333) == [
        "2 of 3 poolings halve z too: 40 slices cannot be halved more often and stay even and at least 4"
    ]
