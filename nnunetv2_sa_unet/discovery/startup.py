"""The start-up hook: importing this module tells nnU-Net where our trainers are.

``nnunetv2_sa_unet.pth``, at the root of the wheel, imports it at every start of the interpreter, in spawned
workers too. If the package is damaged, ``site`` reports the import that failed, and the interpreter
starts as usual.
"""

import os

from nnunetv2_sa_unet.discovery import EXTERNAL_TRAINERS, with_our_folder

os.environ[EXTERNAL_TRAINERS] = with_our_folder(os.environ.get(EXTERNAL_TRAINERS, ""))
