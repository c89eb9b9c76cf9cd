"""The part of the build that setup.cfg cannot say: a start-up hook at the root of the wheel."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HOOK = "nnunetv2_sa_unet.pth"


class BuildWithHook(build_py):
    """Put the hook beside the package, that is, at the root of site-packages.

    An editable install goes without: its hook would outlive a moved or deleted source folder.
    """

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            self.copy_file(HOOK, str(Path(self.build_lib, HOOK)))


setup(cmdclass={"build_py": BuildWithHook})
