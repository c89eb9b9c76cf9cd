"""Whatever a header or a tag says: the right volume, a refusal in one line, or a remark; never a traceback.

The suite takes the same examples each time, within half a minute; ``make test-all`` draws many more and new ones.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.dicom import read_series_remarked
from nnunetv2_sa_unet.images.dicom_series import find_series
from nnunetv2_sa_unet.images.volumes import read_remarked

HEAD = np.random.default_rng(0).integers(0, 400, (12, 16, 6)).astype(np.int16)
AFFINE = np.diag([2.0, 2.0, 6.5, 1.0])
#: Numbers that headers in the field hold.
ODD = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 6.5, 0.5, 13.0, 1e-30, 1e30, math.nan, math.inf, -math.inf, 1e-3, 1e3, 255.0]
NUMBER = st.sampled_from(ODD) | st.floats(width=32)
QUICK = settings(max_examples=250, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
THOROUGH = settings(QUICK, max_examples=5000, derandomize=False)
FILES = settings(QUICK, max_examples=60)
MORE_FILES = settings(THOROUGH, max_examples=1500)


def in_a_folder(check: Callable[[Path], None]) -> None:
    # One for each example; pytest's is one for all of them.
    with tempfile.TemporaryDirectory() as folder:
        check(Path(folder))


def one_line(error: InputError, *names: str) -> None:
    message = str(error)
    assert "\n" not in message
    message.encode()
    assert any(name in message for name in names), message


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("scl_slope", "scl_inter", "vox_offset", "quatern_b", "quatern_c", "quatern_d"), NUMBER),
    **dict.fromkeys(("qoffset_x", "qoffset_y", "qoffset_z", "cal_max", "toffset"), NUMBER),
    **{name: st.tuples(NUMBER, NUMBER, NUMBER, NUMBER).map(list) for name in ("srow_x", "srow_y", "srow_z")},
    **{name: st.integers(-1, 5) | st.just(1000) for name in ("qform_code", "sform_code")},
    "xyzt_units": st.integers(0, 255),
    "datatype": st.sampled_from([0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1536, 1792, 2048, 2304, 999, -1]),
    "bitpix": st.sampled_from([0, 1, 8, 16, 32, 64, -16]),
    "intent_code": st.sampled_from([0, 1002, 1005, 1007, 2003]),
    "sizeof_hdr": st.sampled_from([0, 348, 540, -1]),
    "magic": st.sampled_from([b"n+1", b"ni1", b"n+2", b"", b"\xff\xff\xff"]),
}


@st.composite
def header(draw: st.DrawFn) -> dict[str, Any]:
    """One to three fields of a header and what they hold instead; single entries of dim and pixdim."""
    names = draw(st.lists(st.sampled_from([*FIELDS, "dim", "pixdim", "pixdim"]), min_size=1, max_size=3, unique=True))
    fields = {}
    for name in names:
        if name == "dim":
            fields[name] = draw(st.tuples(st.integers(0, 7), st.sampled_from([0, 1, 2, 3, 5, 6, 7, 12, -6, 32767])))
        elif name == "pixdim":
            fields[name] = draw(st.tuples(st.integers(0, 4), NUMBER))
        else:
            fields[name] = draw(FIELDS[name])
    return fields


def mutated(path: Path, fields: dict[str, Any]) -> None:
    content = bytearray(nibabel.Nifti1Image(HEAD, AFFINE).to_bytes())
    untyped: Any = nibabel.nifti1
    written: Any = np.ndarray((), dtype=untyped.header_dtype, buffer=content)
    written["qform_code"] = 1
    for name, value in fields.items():
        if name in ("dim", "pixdim"):
            written[name][value[0]] = value[1]
        else:
            written[name] = value
    path.write_bytes(bytes(content))


def check_header(fields: dict[str, Any]) -> None:
    """Compare with nibabel, which reads headers and numbers by code of its own."""

    def check(folder: Path) -> None:
        path = folder / "a.nii"
        mutated(path, fields)
        try:
            image, remarks = read_remarked(path)
        except InputError as error:
            return one_line(error, str(path))
        found = SimpleITK.GetArrayFromImage(image)
        other: Any = nibabel.load(path, mmap=False)
        np.testing.assert_allclose(
            found, np.squeeze(np.asarray(other.dataobj)).T.reshape(found.shape), rtol=1e-5, atol=1e-6
        )
        if not remarks:
            volume, truth = math.prod(image.GetSpacing()), abs(np.linalg.det(other.affine[:3, :3]))
            assert volume == pytest.approx(truth, rel=0.01)
            place = np.diag([-1, -1, 1]) @ image.TransformIndexToPhysicalPoint(tuple(n - 1 for n in image.GetSize()))
            corner = other.affine @ [*(n - 1 for n in image.GetSize()), 1]
            if other.header["qform_code"] > 0 or other.header["sform_code"] > 0:
                np.testing.assert_allclose(place, corner[:3], atol=0.6)
        return None

    with np.errstate(all="ignore"):
        in_a_folder(check)


@QUICK
@given(header())
def test_a_header_of_any_content(fields: dict[str, Any]) -> None:
    check_header(fields)


@pytest.mark.slow
@THOROUGH
@given(header())
def test_very_many_headers(fields: dict[str, Any]) -> None:
    check_header(fields)


TEXT = st.text(st.characters(codec="ascii", exclude_characters="\\"), max_size=12)
#: A tag and a value that is none of a head, or another one than that of the other slices.
TAGS = st.one_of(
    st.tuples(st.just("PixelSpacing"), st.lists(st.sampled_from(["0", "-1", "nan", "x", "1e9", "", "7"]), max_size=3)),
    st.tuples(
        st.just("ImagePositionPatient"), st.lists(st.sampled_from(["0", "nan", "x", "1e9", "-20", "33"]), max_size=4)
    ),
    st.tuples(
        st.just("ImageOrientationPatient"),
        st.lists(st.sampled_from(["0", "1", "-1", "nan", "0.7", "x"]), min_size=0, max_size=7),
    ),
    st.tuples(st.just("SliceThickness"), st.sampled_from(["0", "-4", "nan", "x", "900", None])),
    st.tuples(st.just("SpacingBetweenSlices"), st.sampled_from(["0", "-4", "1", "40", "x"])),
    st.tuples(
        st.sampled_from(["Rows", "Columns", "BitsAllocated", "NumberOfFrames"]), st.sampled_from([0, 1, 15, 64000])
    ),
    st.tuples(st.just("ImageType"), st.lists(st.sampled_from(["ORIGINAL", "M", "P", "R", "MOSAIC", ""]), max_size=5)),
    st.tuples(st.just("PhotometricInterpretation"), st.sampled_from(["MONOCHROME1", "RGB", "PALETTE COLOR", "?"])),
    st.tuples(st.just("SamplesPerPixel"), st.sampled_from([0, 3])),
    st.tuples(st.sampled_from(["InstanceNumber", "SeriesNumber", "InversionTime", "EchoTime"]), st.just("x") | TEXT),
    st.tuples(st.sampled_from(["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "SOPClassUID"]), TEXT),
    st.tuples(st.sampled_from(["SeriesDescription", "PatientID", "Modality", "ProtocolName"]), TEXT),
    st.tuples(
        st.sampled_from(["PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "Rows", "PixelData"]),
        st.none(),
    ),
)
DAMAGE = st.sampled_from(["none", "empty", "zeros", "cut", "cut early", "link", "elsewhere", "twice", "no preamble"])


def write_tree(folder: Path, dicom: SimpleNamespace, tag: tuple[str, Any], which: int, damage: tuple[str, int]) -> None:
    """A series with a tag changed in one slice (or in all, ``which`` 6), and one file damaged, moved or copied."""
    import pydicom

    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    for index, pixels in enumerate(dicom.head):
        tags = {tag[0]: tag[1]} if which in (index, 6) else {}
        made = dicom.dataset(pixels, index, **{name: value for name, value in tags.items() if value != []})
        if list(tags.values()) == [[]]:
            delattr(made, tag[0])
        dicom.save(made, folder / "P1" / f"IM{index}")
    kind, index = damage
    path = folder / "P1" / f"IM{index}"
    whole = path.read_bytes()
    kept = {
        "empty": b"",
        "zeros": bytes(len(whole)),
        "cut": whole[:-77],
        "cut early": whole[:150],
        "no preamble": whole[132:],
    }
    if kind in kept:
        path.write_bytes(kept[kind])
    elif kind == "link":
        path.unlink()
        path.symlink_to("nowhere")
    elif kind == "elsewhere":
        (folder / "P1" / "more").mkdir()
        path.rename(folder / "P1" / "more" / path.name)
    elif kind == "twice":
        shutil.copy(path, folder / "P1" / "IM9")


def check_tree(dicom: SimpleNamespace, tag: tuple[str, Any], which: int, damage: tuple[str, int]) -> None:
    """No slice is lost without a word: what becomes a volume without a remark is the whole head."""

    def check(folder: Path) -> None:
        try:
            write_tree(folder, dicom, tag, which, damage)
        except (ValueError, TypeError, AttributeError, OverflowError, NotImplementedError):
            return  # pydicom does not write it
        tree = find_series(folder)
        said = "".join(each.problem + str(each.remarks) for each in tree.series)
        for path in folder.rglob("IM*"):
            used = any((one.folder / file) == path for one in tree.series for file in one.files)
            named = path.name in said or any(path == each.path for each in tree.passed_over)
            assert used or named or "DICOM files cannot be read" in said, path
        for one in tree.series:
            assert "\n" not in one.problem
            if one.problem or not one.files:
                continue
            try:
                image, remarks = read_series_remarked(one.folder, one.files)
            except InputError as error:
                one_line(error, str(folder))
                continue
            alone = len(tree.series) == 1 and not tree.passed_over
            if alone and not remarks and not one.remarks:
                assert image.GetSize()[2] == len(dicom.head)
                truth = dicom.head.size * math.prod(dicom.spacing)
                volume = math.prod(image.GetSize()) * math.prod(image.GetSpacing())
                if (tag[0], which) != ("PixelSpacing", 6):
                    assert volume == pytest.approx(truth, rel=0.01)
                np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), dicom.head)

    in_a_folder(check)


WHICH, PLACE = st.integers(0, 6), st.tuples(DAMAGE, st.integers(0, 5))


@FILES
@given(TAGS, WHICH, PLACE)
def test_a_series_with_any_tag_and_damage(
    dicom: SimpleNamespace, tag: tuple[str, Any], which: int, damage: tuple[str, int]
) -> None:
    check_tree(dicom, tag, which, damage)


@pytest.mark.slow
@MORE_FILES
@given(TAGS, WHICH, PLACE)
def test_very_many_series(dicom: SimpleNamespace, tag: tuple[str, Any], which: int, damage: tuple[str, int]) -> None:
    check_tree(dicom, tag, which, damage)
