"""What an override file may say, and how several of them compose.

An override sets values; which parts a network has is the choice of the trainer (``plans.variants``), so switches
are refused here by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nnunetv2_sa_unet.errors import InputError

__all__ = ["Override", "Training", "Values", "parse_override", "parse_training", "values_for"]

_Model = TypeVar("_Model", bound=BaseModel)

_ALL_CONFIGURATIONS = "*"
# What someone who knows nnU-Net's plans might try, and what decides it instead.
_SWITCHES = frozenset(
    {
        "architecture", "aspp", "attention", "conv_bias", "conv_op", "kernel_sizes", "network_class_name", "nonlin",
        "norm", "norm_op", "pool_op_kernel_sizes", "pooling", "strides",
    }
)  # fmt: skip


# What is beyond these is a slip of the keyboard that would fill or stall a machine.
_Epochs = Annotated[int, Field(gt=0, le=100_000)]
_Batches = Annotated[int, Field(gt=0, le=1_000_000)]
_Patches = Annotated[int, Field(gt=0, le=10_000)]
_Voxels = Annotated[int, Field(gt=0, le=2048)]
_Channels = Annotated[int, Field(gt=0, le=8192)]


class _Strict(BaseModel):
    # JSON as Python reads it has Infinity and NaN, which are no setting of anything.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Training(_Strict):
    """How a configuration is trained; nnU-Net's own default applies to what is left out.

    Attributes:
        num_epochs: epochs (nnU-Net: 1000).
        num_iterations_per_epoch: training batches an epoch (nnU-Net: 250).
        num_val_iterations_per_epoch: validation batches an epoch (nnU-Net: 50).
        initial_lr: learning rate at the start, at most 1 (nnU-Net: 1e-2).
        head_lr: learning rate at the start of the last layers, which ``-pretrained_weights`` leaves as they were
            initialised; at most 1, with ``Adam`` or ``AdamW`` and ``poly`` only (nnU-Net: ``initial_lr``).
        weight_decay: weight decay, at most 1 (nnU-Net: 3e-5).
        optimizer: ``SGD`` is nnU-Net's, with Nesterov momentum 0.99.
        lr_schedule: ``poly`` is nnU-Net's; ``plateau`` is the paper's (``nnunet.recipe``).
        warmup_iterations: batches over which the learning rate rises to ``initial_lr``; ``poly`` then falls from
            batch to batch and not from epoch to epoch. Fewer than the training has; not with ``plateau``.
        ema: decay of an exponential moving average of the weights over batches, which is what is validated and
            saved for prediction (nnU-Net: no average).
        loss: ``nnunet`` is nnU-Net's Dice + cross-entropy; ``paper`` and ``dice`` see ``nnunet.loss``.
        augmentation: ``nnunet`` is nnU-Net's; ``paper`` see ``nnunet.augmentation``; ``sites`` see
            ``nnunet.sites_augmentation``; ``none`` trains on unchanged patches.
        deep_supervision: losses at lower resolutions too (nnU-Net: true).
        oversample_foreground_percent: fraction of a batch that must hold foreground (nnU-Net: 0.33).
        save_every: epochs between checkpoints (nnU-Net: 50).
    """

    num_epochs: _Epochs | None = None
    num_iterations_per_epoch: _Batches | None = None
    num_val_iterations_per_epoch: _Batches | None = None
    initial_lr: Annotated[float, Field(gt=0, le=1)] | None = None
    head_lr: Annotated[float, Field(gt=0, le=1)] | None = None
    weight_decay: Annotated[float, Field(ge=0, le=1)] | None = None
    optimizer: Literal["SGD", "Adam", "AdamW"] | None = None
    lr_schedule: Literal["poly", "plateau"] | None = None
    warmup_iterations: _Batches | None = None
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    loss: Literal["nnunet", "paper", "dice"] | None = None
    augmentation: Literal["nnunet", "paper", "sites", "none"] | None = None
    deep_supervision: bool | None = None
    oversample_foreground_percent: Annotated[float, Field(ge=0, le=1)] | None = None
    save_every: _Epochs | None = None

    @model_validator(mode="after")
    def _one_schedule(self) -> Training:
        if self.lr_schedule == "plateau" and self.warmup_iterations is not None:
            raise ValueError("warmup_iterations goes with lr_schedule poly, not plateau: set one of the two to null")
        return self


class Values(_Strict):
    """The values of one configuration; the topology rule and nnU-Net's plan decide what is left out.

    Attributes:
        patch_size: voxels along each axis of the patch, (z, y, x) or (y, x).
        batch_size: patches in a batch.
        features_per_stage: channels of each stage, finest first; entries beyond the depth are not used.
        depth: number of stages, or ``planned`` for nnU-Net's.
        published_sizes: the systems of other papers keep those papers' widths and depth, whatever the two keys before
            say; if false or left out, they take these.
        kernels: ``planned`` for nnU-Net's kernels and strides, for isotropic data.
        rates: dilation rates of the ASPP.
        attention_kernel: kernel of the spatial attention, one number per axis.
        norm_groups: groups of the group norm.
        norm_eps: added to the variance by the norm.
        training: see :class:`Training`.
    """

    patch_size: list[_Voxels] | None = None
    batch_size: _Patches | None = None
    features_per_stage: Annotated[list[_Channels], Field(min_length=3, max_length=20)] | None = None
    depth: Annotated[int, Field(ge=3, le=20)] | Literal["planned"] | None = None
    published_sizes: bool | None = None
    kernels: Literal["planned"] | None = None
    rates: Annotated[list[_Voxels], Field(min_length=1, max_length=100)] | None = None
    attention_kernel: list[_Voxels] | None = None
    norm_groups: _Channels | None = None
    norm_eps: Annotated[float, Field(gt=0, le=1)] | None = None
    training: Training = Training()


class Override(_Strict):
    """One override file.

    Attributes:
        description: what it is for.
        classes: number of classes, background included, that it assumes the data set to have; any if None.
        configurations: values by the name of a configuration, or ``*`` for all.
    """

    description: str
    classes: Annotated[int, Field(ge=2, le=1000)] | None = None
    configurations: dict[str, Values]


def parse_override(document: Any, source: str) -> Override:
    """Check the content of an override file.

    Args:
        document: the parsed JSON.
        source: the file's name, for messages.

    Raises:
        InputError: one line for each field that is wrong.
    """
    return _validate(Override, document, source)


def parse_training(block: Any, source: str) -> Training:
    """Check the ``training`` block of a configuration in the plans.

    Args:
        block: the parsed JSON.
        source: where the block stands, for messages.

    Raises:
        InputError: one line for each field that is wrong.
    """
    training = _validate(Training, block, source)
    # An override on its own need not name the optimiser, which may be that of another.
    if training.head_lr is not None and (training.optimizer in (None, "SGD") or training.lr_schedule == "plateau"):
        raise InputError(f"{source}: head_lr goes with optimizer Adam or AdamW and lr_schedule poly: set it to null")
    return training


def values_for(overrides: Iterable[Override], chain: Sequence[str]) -> dict[str, Any]:
    """Merge what ``overrides`` say of one configuration; what is said later wins key by key.

    Within one override, ``*`` comes first and the more special name last.

    Args:
        overrides: in the order in which they were given.
        chain: the configuration's ancestors (``inherits_from``), the most distant first, and its own name.

    Returns:
        the values that are set, ``training`` as a dictionary of those that are set in it. There, None is a value:
        nnU-Net's own in place of an earlier override's.
    """
    merged: dict[str, Any] = {}
    training: dict[str, Any] = {}
    for override in overrides:
        for name in (_ALL_CONFIGURATIONS, *chain):
            if name in override.configurations:
                values = override.configurations[name]
                merged |= values.model_dump(exclude_none=True, exclude={"training"})
                training |= values.training.model_dump(exclude_unset=True)
    return merged | ({"training": training} if training else {})


def _validate(model: type[_Model], document: Any, source: str) -> _Model:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise InputError("\n".join(_describe(item, source) for item in error.errors())) from None


def _describe(item: Mapping[str, Any], source: str) -> str:
    field = ".".join(str(part) for part in item["loc"])
    if item["type"] == "value_error":
        return f"{source}: {field or 'content'}: {item['ctx']['error']}"
    if item["type"] != "extra_forbidden":
        return f"{source}: {field or 'content'}: found {item['input']!r}: {item['msg']}"
    if item["loc"][-1] in _SWITCHES:
        return (
            f"{source}: {field}: this is a switch, which the trainer's name decides (-tr), not an override: remove it"
        )
    return f"{source}: {field}: unknown key: remove it, or see docs/reference/overrides.md for the keys there are"
