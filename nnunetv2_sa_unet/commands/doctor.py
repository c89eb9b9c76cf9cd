"""``nnUNetv2_sa_unet doctor``: whether nnU-Net can work with this package here, and what to do if not."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import nnunetv2_sa_unet
from nnunetv2_sa_unet.datasets import FOLDERS
from nnunetv2_sa_unet.discovery import EXTERNAL_TRAINERS, TRAINERS_FOLDER, with_our_folder

__all__ = ["add_parser", "run"]

_NEEDED_BY = {
    "nnUNet_raw": "nnUNetv2_plan_and_preprocess and convert",
    "nnUNet_preprocessed": "nnUNetv2_plan_and_preprocess, nnUNetv2_train, plan, ablate and tables",
    "nnUNet_results": "nnUNetv2_train, nnUNetv2_predict -d, ablate and tables",
}


class Check(NamedTuple):
    """One line of the report, and a second one with what to do where something is wrong, or not set."""

    status: Literal["ok", "unset", "missing", "problem"]
    subject: str
    finding: str
    remedy: str = ""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add ``doctor``, which takes no words."""
    return subparsers.add_parser(
        "doctor",
        help="check that nnU-Net finds the trainers, and what they need",
        description="Check the installation: versions, device, the trainers as nnU-Net finds them, nnU-Net's "
        "folders. The exit status is 1 if something would fail; folders of nnU-Net that are not set are named only.",
    )


def run(args: argparse.Namespace) -> int:
    """Print one line a check; 1 if something would fail. Folders that are not set are no fault of the installation."""
    checks = [*_versions(), *_trainers(), *(_folder(variable) for variable in FOLDERS)]
    width = max(len(check.subject) for check in checks)
    for check in checks:
        print(f"{check.status:<8} {check.subject:<{width}}  {check.finding}")
        if check.remedy:
            print(f"{'':<8} {'':<{width}}  -> {check.remedy}")
    wrong = sum(check.status in ("missing", "problem") for check in checks)
    if wrong:
        print(f"\n{wrong} of {len(checks)} checks need attention.")
        return 1
    unset = any(check.status == "unset" for check in checks)
    print("\nAll is well." + (" What needs no training, segment among it, works without nnU-Net's folders." * unset))
    return 0


def _versions() -> Iterator[Check]:
    yield Check("ok", "python", f"{platform.python_version()}, {sys.executable}")
    place = Path(nnunetv2_sa_unet.__file__).parent
    try:
        requirements = importlib.metadata.requires("nnunetv2-sa-unet") or []
    except importlib.metadata.PackageNotFoundError:
        requirements = []
        yield Check(
            "problem",
            "nnunetv2-sa-unet",
            f"{nnunetv2_sa_unet.__version__} in {place}, which is not installed",
            _pip(str(place.parent)) if (place.parent / "pyproject.toml").is_file() else "reinstall it",
        )
    else:
        yield Check("ok", "nnunetv2-sa-unet", f"{nnunetv2_sa_unet.__version__} in {place}")
    yield _nnunet(requirements)


def _nnunet(requirements: list[str]) -> Check:
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return Check("missing", "packaging", "is not installed", _pip("packaging"))
    ranges = [item for item in map(Requirement, requirements) if item.name == "nnunetv2"]
    wanted = f"nnunetv2{ranges[0].specifier}" if ranges else "nnunetv2"
    remedy = _pip(wanted)
    try:
        version = importlib.metadata.version("nnunetv2")
        spec = importlib.util.find_spec("nnunetv2")
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return Check("missing", "nnunetv2", "is not installed", remedy)
    if spec is None or spec.origin is None:
        return Check("problem", "nnunetv2", f"{version} is installed but cannot be imported", remedy)
    finding = f"{version} in {Path(spec.origin).parent}"
    if any(not item.specifier.contains(version, prereleases=True) for item in ranges):
        return Check("problem", "nnunetv2", f"{finding}, outside {ranges[0].specifier}", remedy)
    return Check("ok", "nnunetv2", finding)


def _trainers() -> Iterator[Check]:
    """torch, the device, the hook and each trainer, as a new interpreter sees them."""
    from nnunetv2_sa_unet.discovery.probe import look_afresh

    try:
        from nnunetv2_sa_unet.plans.variants import VARIANTS

        names = list(VARIANTS)
    except Exception as error:
        names = []
        yield _damaged("the table of trainers cannot be read", f"{type(error).__name__}: {error}")
    seen = look_afresh(names)
    if "error" in seen:
        yield Check("problem", "look-up", seen["error"], "reinstall torch, nnunetv2 and nnunetv2-sa-unet")
        return
    yield from _torch(seen["torch"])
    yield _hook(seen)
    if seen["import_error"] is not None:
        yield _damaged("the trainers cannot be imported", seen["import_error"])
    for name, fault in seen["trainers"].items():
        yield Check("problem", name, fault) if fault else Check("ok", name, "nnU-Net finds it")


def _torch(torch: dict[str, Any]) -> Iterator[Check]:
    if "error" in torch:
        yield Check("problem", "torch", f"cannot be imported: {torch['error']}", "reinstall torch")
        return
    yield Check("ok", "torch", torch["version"])
    use = {
        True: "would be used, but not for SA-UNet with group norm (nnUNet_compile=t or f decides for all)",
        False: "would not be used",
        None: "unknown",
    }
    yield Check("ok", "device", f"{torch['device']}; torch.compile {use[torch['compile']]}")


def _hook(seen: dict[str, Any]) -> Check:
    folders = seen["external_trainers"]
    if seen["hook"]:
        return Check("ok", "start-up hook", "active: nnU-Net is told where the trainers are")
    all_found = bool(seen["trainers"]) and not any(seen["trainers"].values())
    if all_found or TRAINERS_FOLDER in folders.split(os.pathsep):
        return Check("ok", "start-up hook", f"none here, but {EXTERNAL_TRAINERS} leads to the trainers")
    return Check(
        "missing",
        "start-up hook",
        "only the wheel brings it; an editable install needs the folder of trainers in nnU-Net's variable",
        f"export {EXTERNAL_TRAINERS}={shlex.quote(with_our_folder(folders))}",
    )


def _damaged(what: str, error: str) -> Check:
    return Check("problem", "trainers", f"{what}: {error}", "mend what it names, or reinstall nnunetv2-sa-unet")


def _folder(variable: str) -> Check:
    value = os.environ.get(variable)
    # Where the installation guide puts it.
    usual = Path.home() / "nnunet" / variable.removeprefix("nnUNet_")
    if not value:
        finding = f"is not set, which is needed by {_NEEDED_BY[variable]}"
        return Check("unset", variable, finding, _making(variable, usual))
    path = Path(value).absolute()
    if path.is_dir():
        try:
            with tempfile.TemporaryFile(dir=path):
                pass
        except OSError as error:
            finding = f"{value} is not writable: {error.strerror}"
            return Check("problem", variable, finding, _making(variable, usual))
        return Check("ok", variable, value)
    if value.startswith("~"):
        finding = f"{value} is not a folder: nnU-Net does not read ~"
        return Check("missing", variable, finding, _making(variable, Path(os.path.expanduser(value))))
    there = next(place for place in (path, *path.parents) if place.exists() or place.is_symlink())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        finding = f"{value} is not a folder and cannot be made in {there}"
        return Check("missing", variable, finding, _making(variable, usual))
    return Check("missing", variable, f"{value} is not a folder", f"mkdir -p {shlex.quote(str(path))}")


def _making(variable: str, folder: Path) -> str:
    """The command that makes a folder and lets nnU-Net know it."""
    place = shlex.quote(str(folder.absolute()))
    return f"mkdir -p {place} && export {variable}={place}"


def _pip(*words: str) -> str:
    """The command that installs into this environment, which need not be the activated one."""
    return shlex.join([sys.executable, "-m", "pip", "install", *words])
