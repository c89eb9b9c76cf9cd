"""The start-up hook: tell nnU-Net where our trainers are.

Two files at the root of the wheel make every start of the interpreter call it, in spawned workers too:
``nnunetv2_sa_unet.start`` from Python 3.15 on (PEP 829), ``nnunetv2_sa_unet.pth`` before; where Python knows the
former, it passes over the latter. If the package is damaged, ``site`` reports what failed, and the interpreter starts
as usual.
"""

import os

from nnunetv2_sa_unet.discovery import EXTERNAL_TRAINERS, with_our_folder

__all__ = ["tell_nnunet"]


def tell_nnunet() -> None:
    """Append the folder of trainers to nnU-Net's variable in this process's environment, unless it is there.

    Python may call it more than once: a virtual environment's site-packages can be gone through twice.
    """
    os.environ[EXTERNAL_TRAINERS] = with_our_folder(os.environ.get(EXTERNAL_TRAINERS, ""))
