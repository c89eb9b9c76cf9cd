"""Plans whose patch and batch fit SA-UNet, and not nnU-Net's own network, into the memory of a GPU."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.utilities.json_export import recursive_fix_for_json_export

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.nnunet.memory import saved_bytes
from nnunetv2_sa_unet.plans.configurations import override_plans, resolve
from nnunetv2_sa_unet.plans.overrides import Override, values_for
from nnunetv2_sa_unet.plans.stages import FEWEST_STAGES
from nnunetv2_sa_unet.plans.topology import apply_values

__all__ = ["BYTES_PER_VALUE", "nnUNetPlannerSAUNet"]

#: What training nnU-Net's default network keeps of one patch (:func:`~nnunetv2_sa_unet.nnunet.memory.saved_bytes`) for
#: each value that its planner counts (``compute_conv_feature_map_size``). It is the same in 2d and 3d, and it turns
#: nnU-Net's reference, so many values for 8 GB, into bytes.
BYTES_PER_VALUE = 3.95

# What nnU-Net preprocesses by. Data of plans that agree in these are the same.
_PREPROCESSING = (
    "preprocessor_name", "spacing", "normalization_schemes", "use_mask_for_norm", "resampling_fn_data",
    "resampling_fn_data_kwargs", "resampling_fn_seg", "resampling_fn_seg_kwargs",
)  # fmt: skip


class nnUNetPlannerSAUNet(ExperimentPlanner):  # type: ignore[misc]
    """nnU-Net's planner with SA-UNet as the network that has to fit.

    nnU-Net's loop shrinks the patch until its estimate for the network is below a reference that stands for 8 GB, and
    gives what is left to the batch. Here the estimate is that of the SA-UNet which the topology rule and the overrides
    make of each candidate, in nnU-Net's own currency: a SA-UNet that keeps as many bytes as nnU-Net's default
    network counts as much. So the room that nnU-Net leaves for weights, optimizer, loss and cuDNN is left here too.

    Preprocessed data of ``nnUNetPlans`` are used wherever these plans ask for the same.

    Args:
        dataset_name_or_id: as for nnU-Net.
        gpu_memory_target_in_gb: memory of the GPU.
        preprocessor_name: as for nnU-Net.
        plans_name: name of the plans.
        overwrite_target_spacing: as for nnU-Net.
        suppress_transpose: as for nnU-Net.
        overrides: values that are given; patch and batch follow from them where they are not among them.
    """

    def __init__(
        self,
        dataset_name_or_id: str | int,
        gpu_memory_target_in_gb: float = 8,
        preprocessor_name: str = "DefaultPreprocessor",
        plans_name: str = "nnUNetSAUNetPlans",
        overwrite_target_spacing: Sequence[float] | None = None,
        suppress_transpose: bool = False,
        overrides: Sequence[Override] = (),
    ) -> None:
        super().__init__(
            dataset_name_or_id,
            gpu_memory_target_in_gb,
            preprocessor_name,
            plans_name,
            overwrite_target_spacing,
            suppress_transpose,
        )
        self.overrides = overrides
        # The values for the configuration that is being planned.
        self._values: dict[str, Any] = {}

    def budget(self, n_axes: int) -> float:
        """Return the bytes that a whole batch may keep: those of nnU-Net's network in its reference, to scale."""
        values, batch = (
            (self.UNet_reference_val_2d, self.UNet_reference_val_corresp_bs_2d)
            if n_axes == 2
            else (self.UNet_reference_val_3d, self.UNet_reference_val_corresp_bs_3d)
        )
        scale = self.UNet_vram_target_GB / self.UNet_reference_val_corresp_GB
        return float(values * batch * BYTES_PER_VALUE * scale)

    def kept(self, configuration: Mapping[str, Any]) -> int:
        """Return the bytes that training keeps of one patch of a configuration, which has a network of ours."""
        channels = self.dataset_json.get("channel_names", self.dataset_json.get("modality"))
        return saved_bytes(
            configuration["architecture"],
            configuration["patch_size"],
            len(channels),
            len(self.dataset_json["labels"]),
        )

    def static_estimate_VRAM_usage(  # noqa: N802
        self,
        patch_size: Sequence[int],
        input_channels: int,
        output_channels: int,
        arch_class_name: str,
        arch_kwargs: dict[str, Any],
        arch_kwargs_req_import: Sequence[str],
    ) -> float:
        """Return nnU-Net's count for a network of its own that would keep as many bytes as SA-UNet.

        Raises:
            InputError: if the patch has become too small for SA-UNet.
        """
        if "patch_size" in self._values:
            return 1.0  # nothing to choose: nnU-Net keeps the first patch, and the override replaces it
        # nnU-Net's loop does not end by itself where nothing fits.
        if len(arch_kwargs["strides"]) < FEWEST_STAGES:
            raise InputError(
                f"--gpu-memory {self.UNet_vram_target_GB:g}: a patch of {'×'.join(map(str, patch_size))} is all that "
                f"fits or that the volumes have, too small for {FEWEST_STAGES} stages: give more memory or, with "
                "--override, fewer features or a smaller batch"
            )
        planned = {
            "patch_size": [int(extent) for extent in patch_size],
            "batch_size": self.UNet_min_batch_size,
            "architecture": {
                "network_class_name": arch_class_name,
                "arch_kwargs": arch_kwargs,
                "_kw_requires_import": list(arch_kwargs_req_import),
            },
        }
        # nnU-Net makes room for its smallest batch.
        smallest: int = self.UNet_min_batch_size
        batch_size: int = self._values.get("batch_size", smallest)
        return self.kept(apply_values(planned, self._values)) / BYTES_PER_VALUE * batch_size / smallest

    def get_plans_for_configuration(
        self,
        spacing: Any,
        median_shape: Any,
        data_identifier: str,
        approximate_n_voxels_dataset: float,
        _cache: dict[str, Any],
    ) -> dict[str, Any]:
        """Return nnU-Net's plan with the patch and the batch that fit SA-UNet; its network is still nnU-Net's.

        nnU-Net rounds the batch, so that it may not fit; here it is cut. As with nnU-Net it sees no more than 5 % of
        the data set's voxels, and has two patches at least.
        """
        name = data_identifier.removeprefix(f"{self.plans_identifier}_")
        self._values = values_for(self.overrides, [name])
        # nnU-Net's cache goes by patch and strides alone, but two configurations may be given other values.
        plan: dict[str, Any] = super().get_plans_for_configuration(
            spacing, median_shape, data_identifier, approximate_n_voxels_dataset, _cache.setdefault(name, {})
        )
        rewritten = apply_values(plan, self._values)
        fitting = int(self.budget(len(spacing)) / self.kept(rewritten))
        n_voxels = float(np.prod(rewritten["patch_size"], dtype=np.float64))
        covering = round(approximate_n_voxels_dataset * self.max_dataset_covered / n_voxels)
        plan["batch_size"] = max(min(fitting, covering), self.UNet_min_batch_size)
        # By its size nnU-Net decides whether a 3d_lowres is needed.
        plan["patch_size"] = rewritten["patch_size"]
        return plan

    def save_plans(self, plans: dict[str, Any]) -> None:
        """Put SA-UNet and the overrides into every configuration; ``self.plans`` holds the result.

        Nothing is written: ``nnUNetv2_sa_unet plan`` does that, because it never replaces the plans of a trained model.
        """
        recursive_fix_for_json_export(plans)
        # Lists for tuples, as they will be read from the file.
        plans = json.loads(json.dumps(plans))
        self._reuse_preprocessed_data(plans)
        self.plans = override_plans(plans, self.overrides)

    def plan_experiment(self) -> dict[str, Any]:
        """Return the plans of all configurations."""
        super().plan_experiment()
        plans: dict[str, Any] = self.plans
        return plans

    def memory(self) -> dict[str, tuple[float, float]]:
        """Return for each planned configuration the bytes that a batch keeps and those that it may keep.

        Only values that were given, and nnU-Net's smallest batch of two, can make the first exceed the second.
        """
        found = {}
        for name in self.plans["configurations"]:
            configuration = resolve(self.plans, name)
            kept = self.kept(configuration) * configuration["batch_size"]
            found[name] = (float(kept), self.budget(len(configuration["patch_size"])))
        return found

    def _reuse_preprocessed_data(self, plans: dict[str, Any]) -> None:
        path = Path(os.fspath(nnUNet_preprocessed), self.dataset_name, "nnUNetPlans.json")
        if not path.is_file():
            return
        base = json.loads(path.read_text(encoding="utf-8"))
        if base.get("transpose_forward") != plans["transpose_forward"]:
            return
        for name, configuration in plans["configurations"].items():
            theirs = base["configurations"].get(name, {})
            if "data_identifier" in theirs and all(theirs.get(key) == configuration[key] for key in _PREPROCESSING):
                configuration["data_identifier"] = theirs["data_identifier"]
