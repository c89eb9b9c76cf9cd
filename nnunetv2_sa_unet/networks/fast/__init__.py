"""Faster formulations of 3D SA-UNet, exact up to rounding, and the one door to them.

Pure functions that read the parameters of the plain modules: state dicts never tell which formulation made them, and
nothing about it stands in plans or constructors. Each rests on an identity, given in its docstring.

``why_not_fast(network, x)`` is the door. It opens only where nobody could tell the difference: a hook, a wrapper, a
compiler or a device that nobody measured closes it, and the plain modules run.
"""

from nnunetv2_sa_unet.networks.fast.door import why_not_fast, why_not_modules
from nnunetv2_sa_unet.networks.fast.network import sa_unet

__all__ = ["sa_unet", "why_not_fast", "why_not_modules"]
