"""The table of docs/reference/robustness.md: bad inputs of the tests, each with the message that it really gets.

python docs/reference/robustness_table.py            prints the table
python docs/reference/robustness_table.py --write    puts it into robustness.md
"""

from __future__ import annotations

import gzip
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import SimpleITK

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.files import below
from nnunetv2_sa_unet.images.dicom import read_series_remarked
from nnunetv2_sa_unet.images.dicom_series import find_series
from nnunetv2_sa_unet.images.flair import read_flair
from nnunetv2_sa_unet.images.folders import images_and_others
from nnunetv2_sa_unet.images.masks import predicted_wmh, reference_masks
from nnunetv2_sa_unet.images.volumes import read_remarked
from nnunetv2_sa_unet.text import printable

HERE = Path(__file__).parent
TESTS = HERE.parents[1] / "tests" / "images"
START, END = "<!-- table -->\n", "<!-- end of table -->\n"


def tests_of(name: str) -> ModuleType:
    """A module of tests, for what makes its inputs and for its parameters."""
    spec = importlib.util.spec_from_file_location(name, TESTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parameters(function: Any, first: str) -> list[Any]:
    """The values of the ``parametrize`` of a test whose first name is ``first``."""
    for mark in function.pytestmark:
        names = mark.args[0] if isinstance(mark.args[0], str) else mark.args[0][0]
        if names == first:
            return list(mark.args[1])
    raise LookupError(first)


def said(folder: Path, read: Callable[[], Any]) -> str:
    """What a reader says of an input, without the place of the file."""
    try:
        remarks = read()[1]
    except InputError as error:
        return "refused: " + re.sub(rf"{re.escape(str(folder))}(/\S*?)?: ", "", str(error)).replace(f"{folder}/", "")
    return "warning: " + "; ".join(remarks).replace(f"{folder}/", "") if remarks else "read"


def rows() -> Iterator[tuple[str, str, str]]:
    """Kind, input and message."""
    yield from nifti_rows()
    yield from other_format_rows()
    yield from dicom_rows()
    yield from compression_rows()
    yield from dicom_tree_rows()
    yield from value_rows()
    yield from mask_rows()
    yield from name_rows()


def nifti_rows() -> Iterator[tuple[str, str, str]]:
    module = tests_of("test_nifti")
    test = module.test_headers_that_make_no_sense_are_refused_in_one_line
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for fields, _ in parameters(test, "fields"):
            path = module.write(folder / "a.nii.gz", **fields)
            yield "NIfTI", _words(fields), said(folder, lambda path=path: read_remarked(path))
        for axis in (1, 2, 3):
            pixdim = np.array([1, 2, 2, 6.5, 0, 0, 0, 0])
            pixdim[axis] *= -1
            path = module.write(folder / "a.nii.gz", pixdim=pixdim)
            yield "NIfTI", f"pixdim[{axis}] below zero", said(folder, lambda path=path: read_remarked(path))
        for code in (1, 2, 4):
            path = module.write(folder / "a.nii.gz", sform=module.turned(20), sform_code=code)
            what = f"sform (code {code}) 20° from the qform (code 1)"
            yield "NIfTI", what, said(folder, lambda path=path: read_remarked(path))
        content = module.write(folder / "a.nii.gz").read_bytes()
        for what, changed in (
            ("empty", b""),
            ("cut in its header", content[:60]),
            ("cut in half", content[: len(content) // 2]),
            ("a byte damaged", content[:900] + bytes([content[900] ^ 0xFF]) + content[901:]),
            ("text", b"not an image"),
        ):
            (folder / "a.nii.gz").write_bytes(changed)
            yield "NIfTI", what, said(folder, lambda: read_remarked(folder / "a.nii.gz"))


def other_format_rows() -> Iterator[tuple[str, str, str]]:
    module = tests_of("test_text_headers")
    test = module.test_a_header_that_leaves_out_or_distorts_the_geometry_is_refused
    for ending, pattern, replacement, _ in parameters(test, "ending"):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            path = module.write(folder, ending, False)
            path.write_bytes(re.sub(pattern.encode(), replacement.encode(), path.read_bytes(), count=1))
            what = f"`{_plain(pattern)}` → `{_plain(replacement) or 'absent'}`"
            yield _format(ending), what, said(folder, lambda path=path: read_remarked(path))
    for ending in module.ENDINGS:
        for compressed in (False, True):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                path = module.write(folder, ending, compressed)
                voxels = module.voxels(path)
                content = voxels.read_bytes()
                voxels.write_bytes(content[: int(len(content) * 0.9)])
                what = f"{'compressed ' if compressed else ''}voxels cut to nine tenths ({ending})"
                yield _format(ending), what, said(folder, lambda path=path: read_remarked(path))


def dicom_rows() -> Iterator[tuple[str, str, str]]:
    module, writer = tests_of("test_dicom_series"), tests_of("conftest")
    test = module.test_a_geometry_or_content_that_is_none_of_a_head_is_refused
    for tags, _ in parameters(test, "tags"):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            names = [path.name for path in writer.write_slices(folder, **tags)]
            what = f"in all slices {_words(tags)}"
            yield "DICOM", what, said(folder, lambda folder=folder, names=names: read_series_remarked(folder, names))
    for tags, _ in parameters(module.test_a_slice_that_does_not_fit_is_named, "tags"):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            changed = {name: value for name, value in tags.items() if name != "pixels"}
            names = [path.name for path in writer.write_slices(folder)]
            writer.save(writer.dataset(tags.get("pixels", writer.HEAD[2]), 2, **changed), folder / names[2])
            what = f"in one slice {_words(changed) or 'another matrix'}"
            yield "DICOM", what, said(folder, lambda folder=folder, names=names: read_series_remarked(folder, names))
    test = module.test_odd_files_of_many_frames_are_refused_with_the_reason
    for kept, positions, options, _ in parameters(test, "kept"):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            made = writer.enhanced(writer.HEAD[list(kept)], list(positions), **options)
            writer.save(made, folder / "IM1")
            what = f"many frames, of the slices {', '.join(map(str, positions))}" + (f", {options}" if options else "")
            yield "DICOM", what, said(folder, lambda folder=folder: read_series_remarked(folder, ["IM1"]))
    for lost in ("empty", "zeros", "cut in its header", "cut"):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            path = writer.write_slices(folder)[-1]
            whole = path.read_bytes()
            kept = {"empty": b"", "zeros": bytes(len(whole)), "cut": whole[:-100], "cut in its header": whole[:140]}
            path.write_bytes(kept[lost])
            problem = find_series(folder).series[0].problem.replace(f"{folder}: ", "")
            yield "DICOM", f"the last slice is lost ({lost})", f"refused: {problem}"


def compression_rows() -> Iterator[tuple[str, str, str]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "a.nii.gz"
        image = SimpleITK.GetImageFromArray(np.arange(1000, dtype=np.int16).reshape(10, 10, 10))
        SimpleITK.WriteImage(image, str(path))
        whole = path.read_bytes()
        plain = gzip.decompress(whole)
        for what, content in (
            ("not compressed, named .nii.gz", plain),
            ("compressed twice", gzip.compress(whole)),
            ("bytes that follow the compressed ones", whole + b"more"),
            ("zeros that follow the compressed bytes", whole + bytes(512)),
            ("two compressed parts", gzip.compress(plain[:500]) + gzip.compress(plain[500:])),
            ("two compressed parts, the second cut", gzip.compress(plain[:500]) + gzip.compress(plain[500:])[:-9]),
            ("a pointer of Git LFS", b"version https://git-lfs.github.com/spec/v1"),
            ("a pointer of git-annex", b"../.git/annex/objects/a.nii.gz"),
            ("a web page", b"<!DOCTYPE html>"),
            ("nothing, compressed", gzip.compress(b"")),
        ):
            path.write_bytes(content)
            yield "NIfTI", what, said(folder, lambda: read_remarked(path))
        for ending in (".nhdr", ".mhd"):
            SimpleITK.WriteImage(image, str(folder / f"b{ending}"))
            header = (folder / f"b{ending}").read_text().replace("b.raw", "LIST")
            (folder / f"b{ending}").write_text(header)
            yield (
                _format(ending),
                "voxels in a list of files",
                said(folder, lambda e=ending: read_remarked(folder / f"b{e}")),
            )
        for written, odd in (("c.mha", "c.MHA"), ("c.nii", "c.Nii")):
            SimpleITK.WriteImage(image, str(folder / written))
            (folder / written).rename(folder / odd)
            yield "name", f"`{odd}`", said(folder, lambda odd=odd: read_remarked(folder / odd))
        os.mkfifo(folder / "d.nii.gz")
        yield "name", "a pipe named as an image", said(folder, lambda: read_remarked(folder / "d.nii.gz"))


def dicom_tree_rows() -> Iterator[tuple[str, str, str]]:
    writer = tests_of("conftest")

    def read(folder: Path) -> str:
        tree = find_series(folder)
        lines = [f"passed over, status {0 if each.harmless else 1}: {each.reason}" for each in tree.passed_over]
        for one in tree.series:
            if one.problem:
                lines.append("refused: " + one.problem.replace(f"{folder}: ", ""))
            elif not one.flair:
                lines.append("not taken for FLAIR by its header, where other series are")
            else:
                lines.append(said(folder, lambda one=one: read_series_remarked(one.folder, one.files)))
        return "; ".join(lines).replace(f"{folder}/", "")

    def parts(folder: Path) -> None:
        for kept, instance in ((range(3), "1.2.3.8"), (range(3, 6), "1.2.3.9")):
            made = writer.enhanced(writer.HEAD[list(kept)], list(kept))
            made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = instance
            writer.save(made, folder / instance)

    def bare(folder: Path) -> None:
        path = writer.save(writer.enhanced(writer.HEAD, range(6)), folder / "IM1")
        path.write_bytes(path.read_bytes()[132:])

    def unknown(folder: Path) -> None:
        for path in writer.write_slices(folder):
            path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0"))

    def without(index: int) -> Callable[[Path], None]:
        return lambda folder: writer.write_slices(folder)[index].unlink()

    def every_second(folder: Path) -> None:
        for path in writer.write_slices(folder)[1::2]:
            path.unlink()

    def empty(folder: Path) -> None:
        writer.write_slices(folder / "P1")
        (folder / "P2").mkdir()

    def tagged(**tags: Any) -> Callable[[Path], None]:
        return lambda folder: writer.write_slices(folder, **tags)

    for what, make in (
        ("a series in two files of many slices", parts),
        ("many frames without the first 132 bytes", bare),
        ("an encoding that nobody knows", unknown),
        ("the first slice is not there", without(0)),
        ("a slice in the middle is not there", without(3)),
        ("every second slice is not there", every_second),
        ("an empty folder of a patient", empty),
        ("a reformation (ImageType MPR)", tagged(ImageType=["DERIVED", "SECONDARY", "MPR"])),
        ("a projection (ImageType)", tagged(ImageType=["DERIVED", "SECONDARY", "PROJECTION IMAGE"])),
        ("a localizer that is called FLAIR", tagged(ImageType=["ORIGINAL", "PRIMARY", "M", "LOCALIZER"])),
    ):
        with tempfile.TemporaryDirectory() as name:
            make(Path(name))
            yield "DICOM", what, read(Path(name))


def value_rows() -> Iterator[tuple[str, str, str]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for what, values in (
            ("every voxel is 7", np.full((4, 8, 8), 7.0)),
            ("values up to 1e20", np.arange(256.0).reshape(4, 8, 8) * 1e18),
            ("values up to 1e-9", np.arange(256.0).reshape(4, 8, 8) * 1e-12),
            ("NaN", np.full((4, 8, 8), np.nan)),
            ("infinite", np.full((4, 8, 8), np.inf)),
        ):
            SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(folder / "a.nii"))
            yield "image", what, said(folder, lambda: read_flair(folder / "a.nii"))


def mask_rows() -> Iterator[tuple[str, str, str]]:
    nothing = Path("/nowhere")
    for what, values in (
        ("NaN", np.array([0, 1, np.nan])),
        ("infinite", np.array([0, 1, np.inf])),
        ("values 0 to 399", np.arange(400)),
        ("values 0.2 to 62.5", np.array([0.2, 62.5])),
        ("values below zero", np.array([-1, 0, 1])),
        ("0 and 255", np.array([0, 255])),
        ("0, 1 and 3", np.array([0, 1, 3])),
    ):
        for role, read in (("prediction", predicted_wmh), ("reference", reference_masks)):
            yield "mask", f"{role}: {what}", said(nothing, lambda read=read, values=values: (0, read(values)[-1]))


def name_rows() -> Iterator[tuple[str, str, str]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in (
            "a.mgz",
            "a.hdr",
            "a.img",
            "a.nii.bz2",
            "a.nii.gz.part",
            "a.mnc",
            "a.PAR",
            "a.REC",
            "a.zip",
            "a.txt",
        ):
            (folder / file).write_text("content")
        (folder / "sub").mkdir()
        (folder / "lost").symlink_to("nowhere")
        (folder / "empty").touch()
        for each in images_and_others(folder)[1]:
            yield "folder", each.path.name, f"passed over, status {0 if each.harmless else 1}: {each.reason}"
        (folder / "a.nii.gz").symlink_to("../annex/objects/a.nii.gz")
        (folder / "b.nii.gz").mkdir()
        for file in ("a.nii.gz", "b.nii.gz", "c.nii.gz", os.fsdecode(b"m\xfcller.nii.gz")):
            if file.startswith("m"):
                (folder / file).write_text("x")
            what = {"a": "a link that leads nowhere", "b": "a folder named as an image", "c": "absent"}.get(file[0], "")
            message = said(folder, lambda file=file: read_remarked(folder / file))
            yield "name", what or f"`{printable(file)}`, bytes that are no UTF-8", message
        for path in ("../a", "/etc/passwd", "P01_/../../X", "a/../../b", ""):
            message = said(folder, lambda path=path: below(folder, path)).replace(str(folder), "OUT")
            yield "name", f"`{path}` in a record, table or header", message


def _words(fields: dict[str, Any]) -> str:
    return ", ".join(f"`{name}` {'absent' if value is None else _plain(value)}" for name, value in fields.items())


def _plain(value: object) -> str:
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return re.sub(r"\\(?=[().])|\.\*\\n", "", text).replace("\n", " ").replace("\0", "")


def _format(ending: str) -> str:
    return {".nrrd": "NRRD", ".nhdr": "NRRD", ".mha": "MetaImage", ".mhd": "MetaImage"}.get(ending, "GIPL")


def table() -> str:
    """The table in Markdown."""
    found = list(rows())
    lines = [f"{len(found)} inputs:", "", "| kind | input | what happens |", "| --- | --- | --- |"]
    lines += (f"| {kind} | {what} | {message} |".replace("\n", " ") for kind, what, message in found)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if "--write" in sys.argv:
        page = HERE / "robustness.md"
        before, _, rest = page.read_text(encoding="utf-8").partition(START)
        page.write_text(before + START + table() + END + rest.partition(END)[2], encoding="utf-8")
    else:
        print(table())
