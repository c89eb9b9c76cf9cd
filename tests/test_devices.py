"""A device is used only if it computes, and what keeps a GPU from it is said in a line."""

from __future__ import annotations

import pytest
import torch

from nnunetv2_sa_unet.commands.main import main
from nnunetv2_sa_unet.devices import Device, choose_device
from nnunetv2_sa_unet.errors import InputError


class Machine:
    """A machine whose GPUs are there or not, and whose convolutions fail where they are told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.available: set[str] = set()
        self.failures: dict[str, Exception] = {}
        self.driver: Exception | None = None
        convolution = torch.nn.Conv3d
        machine = self

        class Convolution(convolution):  # type: ignore[misc, valid-type]
            def to(self, name: str) -> torch.nn.Module:
                if name in machine.failures:
                    raise machine.failures[name]
                return self

        def init() -> None:
            if machine.driver is not None:
                raise machine.driver

        ones = torch.ones
        monkeypatch.setattr(torch.nn, "Conv3d", Convolution)
        monkeypatch.setattr(torch, "ones", lambda *shape, device: ones(*shape))
        monkeypatch.setattr(torch.version, "cuda", "13.0")
        monkeypatch.setattr(torch.cuda, "init", init)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in machine.available)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in machine.available)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_a_gpu_that_computes_is_taken(machine: Machine) -> None:
    machine.available = {"cuda", "mps"}
    assert choose_device("auto") == Device("cuda")
    machine.available = {"mps"}
    assert choose_device("auto") == Device("mps")


def test_a_gpu_that_is_there_and_does_not_compute_is_passed_over_with_the_reason(machine: Machine) -> None:
    machine.available = {"cuda"}
    machine.failures["cuda"] = RuntimeError("CUDA error: no kernel image is available.\nCompile with TORCH_USE_…")

    chosen = choose_device("auto")

    assert chosen.name == "cpu"
    assert chosen.reason == (
        "no GPU works here (cuda: CUDA error: no kernel image is available; mps: PyTorch finds none), so the CPU "
        "computes"
    )


def test_an_old_driver_is_told_by_the_exception_that_hides_behind_not_available(machine: Machine) -> None:
    machine.driver = RuntimeError("The NVIDIA driver on your system is too old (found version 9010). Please update …")
    assert "cuda: The NVIDIA driver on your system is too old (found version 9010);" in choose_device("auto").reason


def test_a_device_that_was_asked_for_and_does_not_work_is_refused(machine: Machine) -> None:
    machine.available = {"cuda"}
    machine.failures["cuda"] = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB")
    with pytest.raises(InputError) as error:
        choose_device("cuda")
    assert str(error.value) == ("device cuda: CUDA out of memory; name another, such as cpu, or leave it to auto")
    with pytest.raises(InputError, match="device mps: PyTorch finds none; "):
        choose_device("mps")
    assert choose_device("cpu") == Device("cpu")


@pytest.mark.parametrize(
    "words",
    [("segment", "in", "-o", "out"), ("ablate", "-d", "1"), ("finetune", "-d", "1"), ("demo",)],
    ids=lambda words: words[0],
)
def test_every_command_leaves_the_choice_to_the_machine(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    module = f"nnunetv2_sa_unet.commands.{words[0]}"
    monkeypatch.setattr(f"{module}.run", lambda arguments: seen.append(arguments.device) or 0)
    assert main(list(words)) == 0
    assert seen == ["auto"]
