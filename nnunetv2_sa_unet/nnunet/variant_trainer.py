"""What all trainers of this package share.

A trainer writes its variant into the plans before nnU-Net reads them; nnU-Net does the rest. So the model's
``plans.json`` says all there is to know of the network, and the stock ``nnUNetTrainer`` can predict with it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from nnunetv2.paths import nnUNet_results
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_sa_unet import __version__
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.nnunet.augmentation import (
    paper_initial_patch_size,
    paper_mirror_axes,
    paper_training_transforms,
    transposition_obstacle,
)
from nnunetv2_sa_unet.nnunet.averaging import WeightAverage
from nnunetv2_sa_unet.nnunet.loss import PaperLoss, dice_alone
from nnunetv2_sa_unet.nnunet.model_folder import (
    VERSION_KEY,
    check_network,
    differing_keys,
    has_checkpoint,
    stored_plans,
    with_stored_network,
)
from nnunetv2_sa_unet.nnunet.orientation import note_orientations
from nnunetv2_sa_unet.nnunet.recipe import PlateauSchedule, WarmupSchedule, build_optimizer, set_hyperparameters
from nnunetv2_sa_unet.nnunet.sites_augmentation import sites_training_transforms
from nnunetv2_sa_unet.plans.checks import remarks
from nnunetv2_sa_unet.plans.configurations import resolve, with_variant
from nnunetv2_sa_unet.plans.overrides import parse_training
from nnunetv2_sa_unet.plans.variants import SA_UNET, SwitchedVariant, Variant

__all__ = ["VariantTrainer"]

_CUDA = torch.device("cuda")
#: Norms with which SA-UNet trains in eager mode, by the kernels of ``networks.fast``, instead of compiled, where the
#: plain modules run. That it trains no slower than a compiled PlainConvUNet was measured, SA-UNet compiled was not
#: (docs/benchmarks/speed.md).
EAGER_NORMS = frozenset({"group"})


class VariantTrainer(nnUNetTrainer):  # type: ignore[misc]
    """nnU-Net's trainer for the network of one variant, with the training block of the plans.

    Raises:
        InputError: if the plans cannot be rewritten, or the model folder holds folds of another network.
    """

    variant: ClassVar[Variant]

    # nnU-Net stores the arguments by the names of this signature.
    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int | str,
        dataset_json: dict[str, Any],
        device: torch.device = _CUDA,
    ) -> None:
        continue_training = plans.get("continue_training", False)
        plans = with_variant(plans, configuration, self.variant) | {VERSION_KEY: __version__}
        # Network and patch in which trained folds of this model folder differ from the plans.
        self.differs_from_stored: list[str] = []
        model_folder = self._model_folder(plans, configuration)
        stored = None if model_folder is None else stored_plans(model_folder)
        self.version_of_other_folds = None if stored is None else stored.get(VERSION_KEY)
        if model_folder is not None and stored is not None:
            self.differs_from_stored = differing_keys(stored, plans, configuration)
            if self.differs_from_stored:
                # Only a fold that has a checkpoint can be continued or validated.
                if not has_checkpoint(model_folder / f"fold_{fold}"):
                    raise self._other_network(model_folder)
                plans = with_stored_network(plans, stored, configuration)
        self.continues = continue_training
        self.training_block = parse_training(
            resolve(plans, configuration).get("training", {}),
            f"{plans['plans_name']}.json: configurations.{configuration}.training",
        )

        super().__init__(plans, configuration, fold, dataset_json, device)

        self.weight_average: WeightAverage | None = None  # -> initialize, as the network
        set_hyperparameters(self, self.training_block)
        self._log_choices()

    def _model_folder(self, plans: dict[str, Any], configuration: str) -> Path | None:
        """Return nnU-Net's ``output_folder_base``, which its constructor makes only later."""
        if not nnUNet_results.is_set():
            return None
        name = f"{type(self).__name__}__{plans['plans_name']}__{configuration}"
        return Path(os.fspath(nnUNet_results), plans["dataset_name"], name)

    def _other_network(self, model_folder: Path) -> InputError:
        return InputError(
            f"{model_folder / 'plans.json'}: the trained folds there have another network than the plans now ask for: "
            f"{'; '.join(self.differs_from_stored)}. Restore the plans to add folds to this model, or train under "
            "another plans name, or move the folder away"
        )

    def _log_choices(self) -> None:
        if self.differs_from_stored:
            self.print_to_log_file(
                "The plans have changed since this model was trained; its stored network is used. Differences: "
                + "; ".join(self.differs_from_stored)
            )
        if self.version_of_other_folds not in (None, __version__):
            self.print_to_log_file(
                f"Folds of this model were trained with nnunetv2-sa-unet {self.version_of_other_folds}, this one with "
                f"{__version__}; their network is the same"
            )
        for remark in remarks(self.configuration_manager.configuration, self.variant):
            self.print_to_log_file(remark)

    @classmethod
    def build_network_architecture(
        cls,
        plans_manager: Any,
        configuration_manager: Any,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> torch.nn.Module:
        # Also the way of prediction, where plans.json and checkpoint come from a folder and need not belong together.
        check_network(plans_manager.plans, configuration_manager.configuration, cls.variant)
        network: torch.nn.Module = super().build_network_architecture(
            plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
        )
        return network

    def _do_i_compile(self) -> bool:
        """Choose what is faster for the network; ``nnUNet_compile`` in the environment wins.

        Starting takes half a minute less without torch.compile, too.
        """
        variant = self.variant
        has_kernels = isinstance(variant, SwitchedVariant) and variant.norm in EAGER_NORMS
        eager = variant.network_class == SA_UNET and has_kernels
        if eager and "nnUNet_compile" not in os.environ:
            return False
        return bool(super()._do_i_compile())

    def initialize(self) -> None:
        super().initialize()
        if self.training_block.ema is not None:
            self.weight_average = WeightAverage(self.network, self.optimizer, self.training_block.ema)

    def save_checkpoint(self, filename: str) -> None:
        with self._averaged_weights():
            super().save_checkpoint(filename)

    def load_checkpoint(self, *checkpoint: Any, **named: Any) -> None:
        # A path or, in later versions of nnU-Net, also a loaded checkpoint, under a name that has changed.
        try:
            super().load_checkpoint(*checkpoint, **named)
        except RuntimeError as error:
            (given,) = (*checkpoint, *named.values())
            loaded = given if isinstance(given, Mapping) else torch.load(given, map_location="cpu", weights_only=False)
            trainer = loaded["trainer_name"]
            if trainer == type(self).__name__:
                raise
            where = "checkpoint" if isinstance(given, Mapping) else given
            raise InputError(
                f"{where}: trainer_name: found {trainer}, expected {type(self).__name__}: this is the "
                "checkpoint of another model: restore the one that belongs here, or train the fold anew"
            ) from error

    def on_train_start(self) -> None:
        # A fold that is trained anew, neither continued nor validated, would mix two networks in one folder.
        if self.differs_from_stored and not self.continues:
            raise self._other_network(Path(self.output_folder_base))
        note_orientations(self)
        super().on_train_start()

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        outputs: dict[str, Any] = super().train_step(batch)
        if self.weight_average is not None:
            self.weight_average.update()
        if isinstance(self.lr_scheduler, WarmupSchedule):
            self.lr_scheduler.step_iteration()
        return outputs

    def on_validation_epoch_start(self) -> None:
        if self.weight_average is not None:
            self.weight_average.exchange()
        super().on_validation_epoch_start()

    def on_validation_epoch_end(self, val_outputs: list[dict[str, Any]]) -> None:
        super().on_validation_epoch_end(val_outputs)
        if self.weight_average is not None:
            self.weight_average.exchange()

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        with self._averaged_weights():
            super().perform_actual_validation(save_probabilities)

    def _averaged_weights(self) -> AbstractContextManager[None]:
        return nullcontext() if self.weight_average is None else self.weight_average.in_use()

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        # After the validation nnU-Net asks for deep supervision whether or not the training had it.
        super().set_deep_supervision_enabled(enabled and self.enable_deep_supervision)

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, Any]:
        optimizer, lr_scheduler = super().configure_optimizers()
        if self.training_block.optimizer in ("Adam", "AdamW"):
            optimizer = build_optimizer(
                self.training_block.optimizer,
                self.network,
                self.initial_lr,
                self.weight_decay,
                self.training_block.head_lr,
            )
            lr_scheduler = PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs)
        if self.training_block.lr_schedule == "plateau":
            lr_scheduler = PlateauSchedule(
                optimizer, self.initial_lr, lambda: self.logger.get_value("val_losses", step=None)
            )
        elif self.training_block.warmup_iterations is not None or self.training_block.head_lr is not None:
            lr_scheduler = WarmupSchedule(
                optimizer,
                self.initial_lr,
                self.training_block.warmup_iterations or 0,
                self.num_epochs,
                self.num_iterations_per_epoch,
            )
        return optimizer, lr_scheduler

    def _build_loss(self) -> torch.nn.Module:
        loss: torch.nn.Module = super()._build_loss()
        if self.training_block.loss == "dice":
            dice_alone(getattr(loss, "loss", loss))
        if self.training_block.loss != "paper":
            return loss
        paper_loss = PaperLoss(self.label_manager.has_regions, self.label_manager.ignore_label, self.is_ddp)
        if not self.enable_deep_supervision:
            return paper_loss
        # nnU-Net's weights for the resolutions stay.
        loss.loss = paper_loss
        return loss

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, bool, Any, Any]:  # noqa: N802
        choice = self.training_block.augmentation
        patch_size = self.configuration_manager.patch_size
        if choice == "paper":
            spacing = self.configuration_manager.spacing
            obstacle = transposition_obstacle(patch_size, spacing)
            if obstacle is not None:
                self.print_to_log_file(obstacle)
            initial_patch_size, mirror_axes = (
                paper_initial_patch_size(patch_size, spacing),
                paper_mirror_axes(patch_size),
            )
        elif choice == "none":
            # Nothing turns or flips: no margin to load, and no mirroring at test time either.
            initial_patch_size, mirror_axes = patch_size, None
        else:
            return super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()  # type: ignore[no-any-return]
        self.inference_allowed_mirroring_axes = mirror_axes
        # The rotation is our own transforms' business, and they stay in plane without nnU-Net's dummy 2d mode.
        return 0, False, initial_patch_size, mirror_axes

    def get_training_transforms(
        self,
        patch_size: Any,
        rotation_for_DA: Any,  # noqa: N803
        deep_supervision_scales: Any,
        mirror_axes: Any,
        do_dummy_2d_data_aug: bool,
        use_mask_for_norm: Any = None,
        **labels: Any,
    ) -> BasicTransform:
        choice = self.training_block.augmentation
        if choice == "paper":
            return paper_training_transforms(
                patch_size,
                self.configuration_manager.spacing,
                mirror_axes,
                deep_supervision_scales,
                use_mask_for_norm=use_mask_for_norm,
                **labels,
            )
        if choice == "none":
            return self.get_validation_transforms(deep_supervision_scales, **labels)
        nnunets = super().get_training_transforms(
            patch_size,
            rotation_for_DA,
            deep_supervision_scales,
            mirror_axes,
            do_dummy_2d_data_aug,
            use_mask_for_norm=use_mask_for_norm,
            **labels,
        )
        if choice == "sites":
            return sites_training_transforms(nnunets, self.configuration_manager.spacing)
        return nnunets
