"""Configurations inside the plans: inheritance, and where a rewritten one goes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.plans.overrides import Override, parse_training, values_for
from nnunetv2_sa_unet.plans.published import SIZES
from nnunetv2_sa_unet.plans.topology import apply_values, apply_variant
from nnunetv2_sa_unet.plans.variants import PublishedVariant, Variant

__all__ = ["override_plans", "override_training", "resolve", "with_variant"]

_OVERRIDABLE = ("patch_size", "batch_size")


def resolve(plans: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a configuration with what it inherits, by nnU-Net's ``inherits_from`` rule (the child's keys win).

    Raises:
        InputError: if the configuration or one of its ancestors does not exist, or they form a circle.
    """
    resolved: dict[str, Any] = {}
    for ancestor in _chain(plans, name):
        resolved |= deepcopy(plans["configurations"][ancestor])
    return resolved


def with_variant(plans: Mapping[str, Any], name: str, variant: Variant) -> dict[str, Any]:
    """Return a copy of the plans in which the configuration ``name`` is the variant; its parents stay.

    What a published variant takes over of its paper's training stands in the training block then, unless the plans say
    something else.

    Raises:
        InputError: see :func:`~nnunetv2_sa_unet.plans.topology.apply_variant`.
    """
    rewritten = deepcopy(dict(plans))
    with _named(plans, name):
        configuration = apply_variant(resolve(plans, name), variant)
        if isinstance(variant, PublishedVariant) and variant.training:
            configuration["training"] = {**variant.training, **configuration.get("training", {})}
        _write(rewritten, name, configuration)
    return rewritten


def override_plans(
    plans: Mapping[str, Any], overrides: Sequence[Override], names: Iterable[str] | None = None
) -> dict[str, Any]:
    """Return a copy of nnU-Net's plans with the full SA-UNet in its configurations and the overrides applied.

    Args:
        plans: as nnU-Net wrote them.
        overrides: later ones win key by key.
        names: configurations to rewrite; all if None.

    Raises:
        InputError: one that names plans, configuration and field.
    """
    rewritten = deepcopy(dict(plans))
    for name in plans["configurations"] if names is None else names:
        with _named(plans, name):
            chain = _chain(plans, name)
            values = values_for(overrides, chain)
            # What a child sets itself wins over what its parents inherit or are given.
            own = set(plans["configurations"][name]) & set(_OVERRIDABLE)
            for_itself = values_for(overrides, chain[-1:])
            values = {key: value for key, value in values.items() if key not in own or key in for_itself}
            configuration = resolve(plans, name)
            training = _merged_training(configuration, values)
            result = apply_values(configuration, values)
            if training or "training" in configuration:
                result["training"] = training
            _write(rewritten, name, result)
    return rewritten


def override_training(plans: Mapping[str, Any], overrides: Sequence[Override], name: str) -> dict[str, Any]:
    """Return a copy of a model's plans in which a configuration is trained in another way; its network stays.

    Args:
        plans: with a network of this package.
        overrides: of patch, batch and training; later ones win key by key.
        name: of the configuration.

    Raises:
        InputError: an override changes the network, or the patch cannot be halved as often as the network does.
    """
    rewritten = deepcopy(dict(plans))
    with _named(plans, name):
        values = values_for(overrides, _chain(plans, name))
        others = values.keys() - {*_OVERRIDABLE, "training"}
        if others:
            raise InputError(
                f"{', '.join(sorted(others))}: set by an override, but the network is that of the model: leave it out"
            )
        configuration = resolve(plans, name)
        training = _merged_training(configuration, values)
        configuration |= {key: values[key] for key in _OVERRIDABLE if key in values}
        strides = [
            math.prod(axis) for axis in zip(*configuration["architecture"]["arch_kwargs"]["strides"], strict=True)
        ]
        patch = configuration["patch_size"]
        if len(patch) != len(strides) or any(edge % stride for edge, stride in zip(patch, strides, strict=True)):
            raise InputError(
                f"patch_size: found {patch}, expected multiples of {strides}, by which the network shrinks it"
            )
        _write(rewritten, name, configuration | {"training": training})
    return rewritten


def _merged_training(configuration: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The training block with what overrides set in it and what they take back."""
    training = {**configuration.get("training", {}), **values.get("training", {})}
    training = {key: value for key, value in training.items() if value is not None}
    parse_training(training, "training")
    return training


def _chain(plans: Mapping[str, Any], name: str) -> list[str]:
    """List the ancestors of a configuration, the most distant first, and itself."""
    configurations = plans["configurations"]
    chain: list[str] = []
    current: str | None = name
    while current is not None:
        if current not in configurations:
            field = "" if current == name else f"inherits_from: {current}: "
            raise InputError(f"{field}no such configuration, there are: {', '.join(configurations)}")
        if current in chain:
            raise InputError(f"inherits_from: runs in a circle: {' → '.join([*chain, current])}")
        chain.append(current)
        current = configurations[current].get("inherits_from")
    return chain[::-1]


def _write(plans: dict[str, Any], name: str, configuration: Mapping[str, Any]) -> None:
    """Write what defines network and training whole into the named configuration, the rest where it changed."""
    inherited = resolve(plans, name)
    target = plans["configurations"][name]
    for key in ("architecture", "training", "kernels", SIZES):
        if key in configuration:
            target[key] = deepcopy(configuration[key])
    for key in _OVERRIDABLE:
        if configuration[key] != inherited[key]:
            target[key] = deepcopy(configuration[key])


@contextmanager
def _named(plans: Mapping[str, Any], name: str) -> Iterator[None]:
    """Say in which plans and configuration an error is."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{plans['plans_name']}.json: configurations.{name}: {error}") from None
