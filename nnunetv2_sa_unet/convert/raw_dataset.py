"""A data set in nnU-Net's raw format, made from files of others.

It is made in a hidden folder beside its place and moved there when it is complete. What a kill leaves in the hidden
folder is taken up by the next run.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK
from tqdm import tqdm

from nnunetv2_sa_unet import __version__
from nnunetv2_sa_unet.convert.raw_cases import Checked, SourceCase, check_cases
from nnunetv2_sa_unet.convert.splits import FOLDS, stratified_splits
from nnunetv2_sa_unet.datasets import FOLDERS
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import complete_or_absent, held, remove_unfinished, write_json, write_rows
from nnunetv2_sa_unet.images import masks
from nnunetv2_sa_unet.images.folders import PassedOver
from nnunetv2_sa_unet.images.processes import mapping
from nnunetv2_sa_unet.images.volumes import read_volume
from nnunetv2_sa_unet.images.writing import read_back
from nnunetv2_sa_unet.text import printable

__all__ = ["CASES_NAME", "OTHER", "Made", "Recipe", "make_dataset", "reader"]

CASES_NAME = "cases.csv"
_RECORD_NAME = "conversion.json"
_ENDING = ".nii.gz"
#: nnU-Net's reader that turns every image to RAS, so that models do not depend on how voxels are stored.
_READER = "NibabelIOWithReorient"
_READER_KEY = "overwrite_image_reader_writer"
#: What becomes of label 2 (other pathology): nnU-Net's labels.
OTHER: dict[str, dict[str, int]] = {
    "ignore": {"background": 0, "WMH": 1, "ignore": 2},
    "class": {"background": 0, "WMH": 1, "other": 2},
    "background": {"background": 0, "WMH": 1},
}


@dataclass(frozen=True)
class Recipe:
    """What is made of the cases.

    Attributes:
        channels: the names of the images of a case.
        other: a key of ``OTHER``.
        link: link to the images instead of copying them, where a copy would be the same.
        description: further keys of ``dataset.json`` (name, licence …).
        options: how the cases were chosen; a data set with other options is another data set.
    """

    channels: tuple[str, ...]
    other: str
    link: bool
    description: Mapping[str, str]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Made:
    """What came of it.

    Attributes:
        is_new: whether anything had to be made; False if the data set was there already.
        remarks: how files were read whose headers leave a choice, a line each.
    """

    is_new: bool
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class _File:
    """A file of the data set.

    Attributes:
        target: path in the data set's folder.
        source: what it is made from.
        grid: the image whose geometry it takes; None if the source is taken as it is.
        mask: whether it holds labels.
        without_other: whether label 2 becomes background.
    """

    target: str
    source: Path
    grid: Path | None
    mask: bool = False
    without_other: bool = False


def make_dataset(
    folder: Path,
    source: Path,
    cases: Sequence[SourceCase],
    problems: Sequence[str],
    recipe: Recipe,
    force: bool,
    processes: int,
    left_out: Sequence[PassedOver] = (),
) -> Made:
    """Check all files, then make the data set.

    Args:
        folder: of the data set, ``Dataset123_NAME`` in ``nnUNet_raw``.
        source: the folder that the files of the cases lie in.
        cases: with different names unless there are problems.
        problems: with the source, a line each: nothing is made then, but they are named with those of the files.
        recipe: what to make of them.
        force: replace a data set that differs.
        processes: how many processes share the work.
        left_out: what was looked at in the source and not used, for the record.

    Raises:
        InputError: files that cannot be used, a data set of the same number or name that differs, or a folder that
            cannot be written to. Nothing is left behind then.
    """
    _refuse_taken_number(folder)
    checked = check_cases(cases, problems, processes)
    files = [file for case, one in zip(cases, checked, strict=True) for file in _files(case, one, recipe)]
    hashes = {path: value for one in checked for path, value in one.hashes.items()}
    remarks = tuple(remark for one in checked for remark in one.remarks)
    record = _record(source, files, hashes, recipe) | {
        "remarks": list(remarks),
        "left_out": [
            {"path": printable(_relative(each.path, source)), "reason": each.reason, "harmless": each.harmless}
            for each in left_out
        ],
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with held(folder, beside=True):
        staging = folder.parent / f".{folder.name}.partial"
        stored = _stored_record(folder)
        to_complete = _is_same(stored, record)
        if to_complete and _is_complete(folder, files):
            return Made(False, remarks)
        if folder.exists() and not (to_complete or force):
            raise InputError(
                f"{folder}: exists and is not what would be made (its {_RECORD_NAME} differs, or there is none): name "
                "another data set with -d, or replace it with --force"
            )
        try:
            if to_complete:
                # Models may have been trained with the reader that it has: an older version named none.
                _fill(folder, cases, files, recipe, stored.get("reader"), processes)
                return Made(True, remarks)
            unfinished = _stored_record(staging)
            if not (_is_same(unfinished, record) and unfinished.get("reader") == _READER):
                shutil.rmtree(staging, ignore_errors=True)
                write_json(staging / _RECORD_NAME, record)
            _fill(staging, cases, files, recipe, _READER, processes)
            _replace(folder, staging)
        except BaseException as error:
            # A kill leaves the folder for the next run; whoever can still clean up does.
            shutil.rmtree(staging, ignore_errors=True)
            if isinstance(error, OSError):
                raise InputError(f"{folder}: cannot be made ({error}); free space, or see to the permissions") from None
            raise
        return Made(True, remarks)


def _refuse_taken_number(folder: Path) -> None:
    """nnU-Net finds a data set by its number and stops where two have the same."""
    number = folder.name.partition("_")[0]
    for variable in FOLDERS:
        root = os.environ.get(variable)
        for other in sorted(Path(root).glob(f"{number}_*")) if root else ():
            if other.name != folder.name:
                raise InputError(f"{other}: has the same number as {folder.name}: choose another with -d")


def _files(case: SourceCase, checked: Checked, recipe: Recipe) -> list[_File]:
    subset = "Tr" if case.training else "Ts"
    grid = case.images[0]
    files = [
        _File(f"images{subset}/{case.name}_{channel:04d}{_ENDING}", path, grid if path in checked.moved else None)
        for channel, path in enumerate(case.images)
    ]
    if case.label is not None:
        # The test set is scored with all its labels, whatever the network was trained with.
        without_other = case.training and recipe.other == "background"
        files.append(_File(f"labels{subset}/{case.name}{_ENDING}", case.label, grid, True, without_other))
    files += [
        _File(f"observers{subset}/{observer}/{case.name}{_ENDING}", path, grid, True)
        for observer, path in case.readings.items()
    ]
    return files


def _record(source: Path, files: Sequence[_File], hashes: Mapping[Path, str], recipe: Recipe) -> dict[str, Any]:
    """What the data set is made from: whoever asks for the same again has it already."""
    return {
        "version": __version__,
        "reader": _READER,
        "options": {**recipe.options, "channels": list(recipe.channels), "other": recipe.other, "link": recipe.link},
        "files": {
            file.target: {"source": _relative(file.source, source), "sha256": hashes[file.source]} for file in files
        },
    }


def _relative(path: Path, source: Path) -> str:
    return (path.relative_to(source) if path.is_relative_to(source) else path).as_posix()


def reader(folder: Path) -> str | None:
    """The reader that a data set asks nnU-Net for; None if it leaves the choice to nnU-Net, as older versions did."""
    name: str | None = json.loads((folder / "dataset.json").read_text(encoding="utf-8")).get(_READER_KEY)
    return name


def _stored_record(folder: Path) -> dict[str, Any]:
    try:
        stored = json.loads((folder / _RECORD_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return stored if isinstance(stored, dict) else {}


def _is_same(stored: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Whether a record is of the same cases with the same options, by whatever version."""
    return all(stored.get(key) == record[key] for key in ("options", "files"))


def _is_complete(folder: Path, files: Sequence[_File]) -> bool:
    return (folder / "dataset.json").is_file() and all((folder / file.target).exists() for file in files)


def _fill(
    folder: Path,
    cases: Sequence[SourceCase],
    files: Sequence[_File],
    recipe: Recipe,
    reader: str | None,
    processes: int,
) -> None:
    """Write what is missing; every file is complete or absent."""
    for place in {folder, *((folder / file.target).parent for file in files)}:
        remove_unfinished(place)
    missing = [file for file in files if not (folder / file.target).exists()]
    if missing:
        with mapping(min(processes, len(missing))) as apply:
            written = apply(partial(_write, folder, link=recipe.link), missing)
            list(tqdm(written, "writing", total=len(missing), unit="file"))
    training = [case for case in cases if case.training]
    if not (folder / CASES_NAME).exists():
        _write_table(folder / CASES_NAME, cases)
    subjects = {case.name: case.row.get("subject", case.name) for case in training}
    if len(set(subjects.values())) >= FOLDS and not (folder / "splits_final.json").exists():
        scanners = {case.name: case.row.get("scanner", "") for case in training}
        write_json(folder / "splits_final.json", stratified_splits(scanners, subjects))
    # Last: nnU-Net, and this module, take a folder with this file for a data set.
    write_json(
        folder / "dataset.json",
        {
            "channel_names": {str(index): name for index, name in enumerate(recipe.channels)},
            "labels": OTHER[recipe.other],
            "numTraining": len(training),
            "file_ending": _ENDING,
            **({_READER_KEY: reader} if reader else {}),
            **recipe.description,
        },
    )


def _write(folder: Path, file: _File, link: bool) -> None:
    target = folder / file.target
    compressed = file.source.name.endswith(_ENDING)
    if link and compressed and file.grid is None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)  # a link to where the source was before it was moved
        target.symlink_to(file.source.resolve())
        return
    with complete_or_absent(target) as temporary:
        if file.grid is not None:
            image = _on_grid(file, file.grid)
            nibabel.save(image, temporary)
            read_back(temporary, np.asarray(image.dataobj).T)
        elif compressed:
            shutil.copyfile(file.source, temporary)
        else:
            # Without a time, so that the same source gives the same bytes.
            temporary.write_bytes(gzip.compress(file.source.read_bytes(), mtime=0))


def _on_grid(file: _File, grid: Path) -> Any:
    """The source with the geometry of another image, to the last bit; masks as 8-bit labels."""
    values = SimpleITK.GetArrayFromImage(read_volume(file.source))
    if file.mask:
        values = values.astype(np.uint8)
        if file.without_other:
            values[values == masks.OTHER] = 0
    like: Any = nibabel.load(grid)
    header = like.header.copy()
    header.set_data_dtype(values.dtype)
    # How bright a viewer shows the other image.
    header["cal_min"] = header["cal_max"] = 0
    return type(like)(values.T, like.affine, header)


def _write_table(path: Path, cases: Sequence[SourceCase]) -> None:
    columns = list(dict.fromkeys(column for case in cases for column in case.row))
    rows = (
        [case.name, "training" if case.training else "test", *(case.row.get(column) for column in columns)]
        for case in cases
    )
    write_rows(path, ["case", "split", *columns], rows)


def _replace(folder: Path, staging: Path) -> None:
    old = folder.parent / f".{folder.name}.replaced"
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    staging.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
