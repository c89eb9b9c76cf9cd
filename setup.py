"""The part of the build that setup.cfg cannot say: start-up files at the root of the wheel, and the README's links."""

import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HOOKS = ("nnunetv2_sa_unet.pth", "nnunetv2_sa_unet.start")


class BuildWithHook(build_py):
    """Put the hook beside the package, that is, at the root of site-packages.

    An editable install goes without: its hook would outlive a moved or deleted source folder.
    """

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for hook in HOOKS:
                self.copy_file(hook, str(Path(self.build_lib, hook)))


def readme() -> str:
    """README.md, whose links lead to the repository where a package index shows it.

    The repository's address is ``Source`` of ``project_urls`` in setup.cfg; without one the links stay as they are.
    """
    settings = ConfigParser()
    settings.read("setup.cfg", encoding="utf-8")
    urls = dict(re.findall(r"(\w+)\s*=\s*(\S+)", settings.get("metadata", "project_urls", fallback="")))
    text = Path("README.md").read_text(encoding="utf-8")
    if "Source" in urls:
        source = urls["Source"].rstrip("/")
        text = re.sub(r"(!\[[^\]]*\]\()(?![a-z]+:|#)", rf"\1{source}/raw/HEAD/", text)
        text = re.sub(r"((?<!!)\[[^\]]*\]\()(?![a-z]+:|#)", rf"\1{source}/blob/HEAD/", text)
    return text


setup(
    long_description=readme(),
    long_description_content_type="text/markdown",
    cmdclass={"build_py": BuildWithHook},
)
