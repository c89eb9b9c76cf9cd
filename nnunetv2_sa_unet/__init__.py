"""3D SA-UNet as a plugin for nnU-Net v2.

``segment`` and ``score`` are the commands ``segment`` and ``evaluate`` for images that a program holds. This module
stays free of imports until one of them is asked for: the interpreter loads it at every start (see ``discovery``).
"""

__version__ = "0.1.0"

#: Checkers of types take it for true, and typing need not be imported for it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from nnunetv2_sa_unet.scores.function import score as score
    from nnunetv2_sa_unet.segmentation.function import segment as segment

_MODULES = {"score": "scores.function", "segment": "segmentation.function"}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
