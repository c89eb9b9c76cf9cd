"""How nnU-Net finds the trainers of this package with nothing set.

nnU-Net looks for a trainer in its own package and then in the folders that the environment variable
``nnUNet_extTrainer`` names. The wheel carries start-up files, which make every interpreter call
``discovery.startup.tell_nnunet``, and that adds ``discovery/trainers`` to the variable.

This module is loaded at every start of the interpreter, so it imports nothing that is not loaded already.
"""

import os

__all__ = ["EXTERNAL_TRAINERS", "TRAINERS_FOLDER", "with_our_folder"]

EXTERNAL_TRAINERS = "nnUNet_extTrainer"
"""nnU-Net's environment variable: folders that it searches for trainers, separated like those of PATH."""

TRAINERS_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "trainers")
"""The folder that nnU-Net is to search. It holds one module and is not a package."""


def with_our_folder(folders: str) -> str:
    """Append our folder to a value of ``nnUNet_extTrainer``, unless it is there already.

    What the user set stays as it is and comes first. A child process inherits the variable and runs the hook
    again, hence the look before the append.
    """
    if TRAINERS_FOLDER in folders.split(os.pathsep):
        return folders
    return folders + os.pathsep + TRAINERS_FOLDER if folders else TRAINERS_FOLDER
