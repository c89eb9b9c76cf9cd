"""What every network of the package must do for nnU-Net."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import nn
from torch.nn.modules.conv import _ConvNd

from nnunetv2_sa_unet.networks.unet import UNet


def as_list(logits: torch.Tensor | list[torch.Tensor]) -> list[torch.Tensor]:
    return logits if isinstance(logits, list) else [logits]


def test_logits_have_the_shape_of_their_resolution(network: Any, deep_supervision: bool) -> None:
    logits = network.build(deep_supervision=deep_supervision)(network.input())
    assert isinstance(logits, list) == deep_supervision
    shapes = network.output_shapes() if deep_supervision else network.output_shapes()[:1]
    assert [tuple(scale.shape) for scale in as_list(logits)] == shapes
    assert all(scale.isfinite().all() for scale in as_list(logits))


def test_every_parameter_that_requires_a_gradient_gets_one(network: Any, deep_supervision: bool) -> None:
    built = network.build(deep_supervision=deep_supervision)
    sum(scale.square().mean() for scale in as_list(built(network.input()))).backward()
    for name, parameter in built.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            # The gradient of a bias before a norm may be zero; that of a weight tells a part without effect.
            assert name.endswith("bias") or parameter.grad.any(), name


def test_heads_without_deep_supervision_are_frozen(network: Any, deep_supervision: bool) -> None:
    built = network.build(deep_supervision=deep_supervision)
    frozen = {name for name, parameter in built.named_parameters() if not parameter.requires_grad}
    finest = f".seg_layers.{len(network.kwargs['strides']) - 2}."
    heads = {name for name, _ in built.named_parameters() if ".seg_layers." in name}
    lower_heads = {name for name in heads if finest not in name}
    assert lower_heads < heads
    assert frozen == (set() if deep_supervision else lower_heads)


def test_weights_trained_with_deep_supervision_load_without(network: Any) -> None:
    trained, alone = network.build(deep_supervision=True).eval(), network.build(deep_supervision=False).eval()
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    alone.load_state_dict(trained.state_dict(), strict=True)
    torch.testing.assert_close(alone(network.input()), trained(network.input())[0], rtol=0, atol=0)
    trained.load_state_dict(alone.state_dict(), strict=True)


def test_deep_supervision_is_switched_at_run_time(network: Any) -> None:
    built = network.build(deep_supervision=True).eval()
    scales = built(network.input())
    built.decoder.deep_supervision = False
    torch.testing.assert_close(built(network.input()), scales[0], rtol=0, atol=0)


def test_feature_map_size_is_what_the_convolutions_put_out(network: Any, deep_supervision: bool) -> None:
    built = network.build(deep_supervision=deep_supervision).eval()
    put_out: list[int] = []
    for module in built.modules():
        if isinstance(module, _ConvNd):
            module.register_forward_hook(lambda _module, _inputs, output: put_out.append(output.numel()))
    built(network.input(batch=1))
    assert built.compute_conv_feature_map_size(network.input_size) == sum(put_out)
    # The planner asks again and again.
    assert built.compute_conv_feature_map_size(network.input_size) == sum(put_out)


def test_keys_of_pretrained_weights_name_existing_parts(network: Any) -> None:
    built = network.build()
    encoder = built.get_submodule(built.key_to_encoder)
    assert encoder in list(built.encoder.children())
    assert built.get_submodule(built.key_to_stem) in list(encoder.modules())
    for key in built.keys_to_in_proj:
        assert built.get_submodule(key).in_channels == network.kwargs["input_channels"]


def test_nnunet_builds_the_network_from_plans(network: Any, deep_supervision: bool) -> None:
    """In plans.json classes are dotted names, and the channels of input and output are not among the arguments."""
    arguments = {key: value for key, value in network.kwargs.items() if key not in ("input_channels", "num_classes")}
    classes = [key for key, value in arguments.items() if isinstance(value, type)]
    in_json = arguments | {key: f"{arguments[key].__module__}.{arguments[key].__qualname__}" for key in classes}
    built = get_network_from_plans(
        f"{network.cls.__module__}.{network.cls.__qualname__}",
        in_json,
        classes,
        network.kwargs["input_channels"],
        network.kwargs["num_classes"],
        deep_supervision=deep_supervision,
    )
    assert type(built) is network.cls
    assert built.decoder.deep_supervision == deep_supervision
    assert built.state_dict().keys() == network.build().state_dict().keys()


def test_initialize_draws_for_relu_and_zeroes_biases() -> None:
    torch.manual_seed(0)
    conv, up_conv = nn.Conv3d(64, 64, 3), nn.ConvTranspose3d(64, 64, 2)
    UNet.initialize(conv)
    UNet.initialize(up_conv)
    assert conv.weight.std().item() == pytest.approx((2 / (64 * 27)) ** 0.5, rel=0.02)
    assert not conv.bias.any()
    assert not up_conv.bias.any()


ILL_CASES = [
    ({"features_per_stage": [16, 24]}, "features_per_stage has 2 entries, expected 3 for 3 stages"),
    ({"kernel_sizes": [[1, 3, 3]] * 4}, "kernel_sizes has 4 entries, expected 3 for 3 stages"),
    ({"strides": [[1, 1, 1]]}, "strides has 1 entries, expected 3 for 3 stages"),
    ({"n_conv_per_stage": [2, 2]}, "n_conv_per_stage has 2 entries, expected 3 for 3 stages"),
    ({"n_conv_per_stage_decoder": [2] * 3}, "n_conv_per_stage_decoder has 3 entries, expected 2 for 3 stages"),
    (
        {"strides": [[1, 1, 1], [1, 2, 2], [2, 2]]},
        r"strides\[2\] is \[2, 2\], expected 3 numbers, one per axis",
    ),
    (
        {"kernel_sizes": [[1, 3, 3], [3], [3, 3, 3]]},
        r"kernel_sizes\[1\] is \[3\], expected 3 numbers, one per axis",
    ),
]


@pytest.mark.parametrize(("changes", "message"), ILL_CASES)
@pytest.mark.parametrize("name", ["SAUNet", "UNet3D", "AttentionUNet", "Li2018", "UResNet", "TrUENet", "SAUNet2D"])
def test_lists_that_do_not_fit_the_stages_are_refused_by_name(
    networks: dict[str, Any], name: str, changes: dict[str, Any], message: str
) -> None:
    switches = ("attention_kernel", "rates")
    three_stages = {key: value for key, value in networks["SAUNet"].kwargs.items() if key not in switches}
    own = {key: networks[name].kwargs[key] for key in networks[name].kwargs if key not in networks["UNet3D"].kwargs}
    with pytest.raises(ValueError, match=message):
        networks[name].cls(**(own | three_stages | changes))
