"""Where to compute: on a GPU only if it really can."""

from __future__ import annotations

from dataclasses import dataclass

from nnunetv2_sa_unet.errors import InputError

__all__ = ["DEVICES", "Device", "choose_device"]

#: The words of ``-device``.
DEVICES = ("auto", "cuda", "mps", "cpu")


@dataclass(frozen=True)
class Device:
    """What was chosen.

    Attributes:
        name: torch's name of it: ``cuda``, ``mps``, ``cpu``, or one of several GPUs such as ``cuda:1``.
        reason: why ``auto`` came to the CPU, in one line; empty for a GPU and for what was asked for by name.
    """

    name: str
    reason: str = ""


def choose_device(word: str) -> Device:
    """Find the device that a word means, and find out that it works.

    ``auto`` is CUDA if it works, else MPS, else the CPU. A GPU works if a small convolution runs on it: torch counts
    as available what its driver, its memory or its age keep from computing.

    Args:
        word: one of :data:`DEVICES`, or torch's name of a device.

    Raises:
        InputError: a device that was asked for by name does not work.
    """
    if word == "auto":
        problems = []
        for name in ("cuda", "mps"):
            problem = _problem(name)
            if problem is None:
                return Device(name)
            problems.append(f"{name}: {problem}")
        return Device("cpu", f"no GPU works here ({'; '.join(problems)}), so the CPU computes")
    problem = _problem(word)
    if problem is not None:
        raise InputError(f"device {word}: {problem}; name another, such as cpu, or leave it to auto")
    return Device(word)


def _problem(name: str) -> str | None:
    """Why torch cannot compute on a device; None if it can."""
    import torch

    try:
        kind = torch.device(name).type
        if kind == "cuda" and not torch.cuda.is_available():
            return _why_no_cuda()
        if kind == "mps" and not torch.backends.mps.is_available():
            return "PyTorch finds none"
        convolution = torch.nn.Conv3d(1, 2, 3).to(name)
        with torch.inference_mode():
            # Errors of a GPU come to light when its result is fetched.
            convolution(torch.ones(1, 1, 4, 4, 4, device=name)).cpu()
    # CUDA's errors have classes of their own, which differ from version to version.
    except Exception as error:
        return _first_sentence(error)
    return None


def _why_no_cuda() -> str:
    """What torch says of CUDA that is not available: only an exception tells a driver that is too old."""
    import torch

    if torch.version.cuda is None and torch.version.hip is None:
        return "this PyTorch was built without it"
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except Exception as error:
        return _first_sentence(error)
    return "PyTorch finds none"


def _first_sentence(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].split(". ")[0].rstrip(".") if lines else type(error).__name__
