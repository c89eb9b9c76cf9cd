from __future__ import annotations

import importlib.metadata

import pytest

from nnunetv2_sa_unet.plans.variants import VARIANTS


@pytest.mark.parametrize("trainer", VARIANTS)
def test_the_readme_lists_every_variant_as_the_table_has_it(trainer):
    readme = importlib.metadata.metadata("nnunetv2-sa-unet").get_payload()
    assert f"| `{trainer}` | {VARIANTS[trainer].summary} |" in readme
