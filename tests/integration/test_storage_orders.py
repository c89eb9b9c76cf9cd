"""``segment`` gives the same mask however the voxels of an image are stored."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch

import nnunetv2_sa_unet
from nnunetv2_sa_unet.commands.main import main
from nnunetv2_sa_unet.errors import InputError
from nnunetv2_sa_unet.images.geometry import geometry_differences
from nnunetv2_sa_unet.images.in_memory import as_sitk
from nnunetv2_sa_unet.nnunet.orientation import ORIENTATION_KEY
from nnunetv2_sa_unet.segmentation import function
from nnunetv2_sa_unet.segmentation.model import Segmenter
from nnunetv2_sa_unet.segmentation.record_files import read_segmentation

ORDERS = ("LPS", "RAS", "LAS", "PSR", "AIL", "SRP", "IPL", "RSA", "PLI")
SHAPE = (10, 32, 32)
#: Coarse voxels, so that the small arrays are as large as a head.
SPACING = (4.0, 4.0, 8.0)
FAST = ("-device", "cpu", "--disable_tta", "--no-report")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def make_model(in_nnunet, made):
    """Make a model of random weights, which notice every turn."""

    def make(configuration="3d_fullres", reader="SimpleITKIO", orientations=None):
        from nnunetv2.run.run_training import get_trainer_from_args

        folder = made / f"{configuration}_{reader}_{'_'.join(orientations or ())}"
        if folder.exists():
            return folder
        torch.manual_seed(0)
        words = ("901", configuration, 0, "nnUNetTrainerSAUNet", "nnUNetSAUNetTinyPlans", False, torch.device("cpu"))
        trainer = get_trainer_from_args(*words)
        trainer.initialize()
        (folder / "fold_0").mkdir(parents=True)
        trainer.save_checkpoint(str(folder / "fold_0" / "checkpoint_final.pth"))
        plans = json.loads(json.dumps(trainer.plans_manager.plans))
        plans["configurations"][configuration]["spacing"] = SPACING[::-1][-len(SPACING) + (configuration == "2d") :]
        plans["image_reader_writer"] = reader
        if orientations:
            plans[ORIENTATION_KEY] = orientations
        (folder / "plans.json").write_text(json.dumps(plans))
        (folder / "dataset.json").write_text(json.dumps(trainer.dataset_json))
        return folder

    return make


def image(shape=SHAPE, tilted=True):
    values = np.random.default_rng(0).integers(20, 200, shape).astype(np.int16)
    made = SimpleITK.GetImageFromArray(values)
    made.SetSpacing(SPACING)
    made.SetOrigin((-10.0, -20.0, 30.0))
    if tilted:
        cosine, sine = np.cos(0.6), np.sin(0.6)
        made.SetDirection((1, 0, 0, 0, cosine, -sine, 0, sine, cosine))
    return made


def write_orders(folder, whole, orders=ORDERS):
    folder.mkdir()
    for order in orders:
        SimpleITK.WriteImage(SimpleITK.DICOMOrient(whole, order), str(folder / f"{order}.nii.gz"))
    return folder


def segment(model, output, *words):
    return main(["segment", *map(str, words), "-o", str(output), "-m", str(model), *FAST])


def turned_back(path):
    return SimpleITK.GetArrayFromImage(SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(path)), "LPS"))


@pytest.mark.parametrize(
    ("configuration", "reader", "orientations"),
    [
        ("3d_fullres", "SimpleITKIO", None),
        ("3d_fullres", "SimpleITKIO", {"RAS": 2, "PSR": 3}),
        ("3d_fullres", "NibabelIO", {"LAS": 1}),
        ("3d_fullres", "NibabelIOWithReorient", None),
        ("2d", "SimpleITKIO", {"LPS": 5}),
        ("2d", "NibabelIOWithReorient", None),
    ],
)
def test_all_orders_of_one_volume_give_one_mask(make_model, tmp_path, configuration, reader, orientations):
    model = make_model(configuration, reader, orientations)
    whole = image()
    folder = write_orders(tmp_path / "in", whole)
    assert segment(model, tmp_path / "out", folder, "--probabilities", "--threshold", "0.34") == 0
    for kind in ("wmh", "wmh_prob"):
        files = [tmp_path / "out" / f"{order}_{kind}.nii.gz" for order in ORDERS]
        first, *others = (turned_back(path) for path in files)
        assert first.std() > 0
        for other in others:
            np.testing.assert_array_equal(other, first)
        for path in files:
            source = SimpleITK.ReadImage(str(folder / f"{path.name.split('_')[0]}.nii.gz"))
            mask = SimpleITK.ReadImage(str(path))
            np.testing.assert_allclose(mask.GetDirection(), source.GetDirection(), atol=1e-6)
            np.testing.assert_allclose(mask.GetOrigin(), source.GetOrigin(), atol=1e-4)
    code = "RAS" if reader.endswith("WithReorient") else max(orientations or {"LPS": 1}, key=(orientations or {}).get)
    said = set()
    for row in read_segmentation(tmp_path / "out").subjects:
        assert row.orientation == code
        if code == "PSR":
            # A model of sagittal slices, as far as it knows.
            assert row.message.startswith("its slices are thick along another axis")
            continue
        turned = f"turned from {row.subject} to LPS, in which the model's training images are assumed to be stored"
        is_assumed = reader == "SimpleITKIO" and orientations is None and row.subject != "LPS"
        assert row.message.endswith(turned) == is_assumed
        said.add(row.message.removesuffix(turned).removesuffix("; "))
    # What is odd about the image, which is noise from edge to edge, does not depend on how it is stored.
    assert len(said) <= 1


@pytest.mark.parametrize(("reader", "code"), [("NibabelIOWithReorient", "RAS"), ("NibabelIO", "LAS")])
def test_images_stored_as_those_of_the_training_get_nnunets_own_bytes(make_model, tmp_path, reader, code):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    model = make_model("3d_fullres", reader, {"LAS": 1} if reader == "NibabelIO" else None)
    folder = write_orders(tmp_path / "in", image(), (code,))
    (folder / f"{code}.nii.gz").rename(folder / f"{code}_0000.nii.gz")
    assert segment(model, tmp_path / "out", folder) == 0
    (tmp_path / "theirs").mkdir()
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), (0,))
    predictor.predict_from_files_sequential(str(folder), str(tmp_path / "theirs"))
    theirs = tmp_path / "theirs" / f"{code}.nii.gz"
    assert (tmp_path / "out" / f"{code}_wmh.nii.gz").read_bytes() == theirs.read_bytes()


def test_a_dicom_series_is_one_order_more(make_model, tmp_path, write_series):
    whole = image(tilted=False)
    write_series(tmp_path / "scan", SimpleITK.GetArrayFromImage(whole), spacing=SPACING)
    folder = write_orders(tmp_path / "in", whole, ("PSR", "RAS"))
    assert segment(make_model(), tmp_path / "out", folder, tmp_path / "scan") == 0
    expected = turned_back(tmp_path / "out" / "scan_wmh.nii.gz")
    assert expected.any()
    for order in ("PSR", "RAS"):
        np.testing.assert_array_equal(turned_back(tmp_path / "out" / f"{order}_wmh.nii.gz"), expected)


@pytest.mark.parametrize("configuration", ["3d_fullres", "2d"])
def test_a_single_slice_is_turned_too(make_model, tmp_path, configuration):
    folder = write_orders(tmp_path / "in", image((1, 32, 32)), ("LPS", "SPL", "ASR"))
    assert segment(make_model(configuration), tmp_path / "out", folder) == 0
    masks = [turned_back(path) for path in sorted((tmp_path / "out").glob("*.nii.gz"))]
    assert len(masks) == 3
    assert masks[0].any()
    for mask in masks[1:]:
        np.testing.assert_array_equal(mask, masks[0])


def test_rows_of_versions_that_turned_nothing_are_done_again_where_that_matters(make_model, tmp_path, capsys):
    folder = write_orders(tmp_path / "in", image(), ("LPS", "PSR"))
    output: Path = tmp_path / "out"
    assert segment(make_model(), output, folder) == 0
    before = (output / "volumes.json").read_bytes()
    record = json.loads(before)
    del record["model"]["orientation"], record["segmentation_version"]
    for row in record["subjects"]:
        row["orientation"] = None
    (output / "volumes.json").write_text(json.dumps(record))
    capsys.readouterr()
    assert segment(make_model(), output, folder) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert [line.endswith("(done before)") for line in lines] == [True, False]
    assert (output / "volumes.json").read_bytes() == before


@pytest.mark.parametrize("reader", ["SimpleITKIO", "NibabelIOWithReorient"])
def test_what_a_program_holds_gets_the_masks_of_the_command(make_model, tmp_path, write_series, capfd, reader):
    model = make_model("3d_fullres", reader)
    whole = image(tilted=False)
    folder = write_orders(tmp_path / "in", whole, ("LPS", "PSR", "RAS"))
    write_series(tmp_path / "scan", SimpleITK.GetArrayFromImage(whole), spacing=SPACING)
    exclude = SimpleITK.GetImageFromArray(np.random.default_rng(1).integers(0, 2, SHAPE).astype(np.uint8))
    exclude.CopyInformation(whole)
    masks = write_orders(tmp_path / "exclude", exclude, ("LPS", "PSR", "RAS"))
    options = ("--probabilities", "--threshold", "0.34", "--min-volume", "200", "--clear-ends", "0.1")
    assert segment(model, tmp_path / "out", folder, tmp_path / "scan", *options, "--exclude", masks) == 0
    same = {"model": model, "device": "cpu", "mirroring": False}
    same |= {"threshold": 0.34, "min_volume": 200, "clear_ends": 0.1}
    files = set(tmp_path.rglob("*"))
    threads = torch.get_num_threads()
    capfd.readouterr()
    for row in read_segmentation(tmp_path / "out").subjects:
        path = tmp_path / "scan" if row.subject == "scan" else folder / f"{row.subject}.nii.gz"
        mask = masks / path.name
        first = nnunetv2_sa_unet.segment(path, exclude=mask if mask.exists() else None, **same)
        found = [first]
        if mask.exists():
            held, excluded = SimpleITK.ReadImage(str(path)), SimpleITK.ReadImage(str(mask))
            arrays = SimpleITK.GetArrayFromImage(held), SimpleITK.GetArrayFromImage(excluded)
            geometry = {"spacing": held.GetSpacing()[::-1], "orientation": row.subject[::-1]}
            found += [
                nnunetv2_sa_unet.segment(held, exclude=excluded, **same),
                nnunetv2_sa_unet.segment(nibabel.load(path), exclude=nibabel.load(mask), **same),
                nnunetv2_sa_unet.segment(arrays[0], exclude=arrays[1], **geometry, **same),
            ]
            assert [type(each.mask) for each in found[1:]] == [SimpleITK.Image, nibabel.Nifti1Image, np.ndarray]
            np.testing.assert_allclose(found[2].mask.affine, nibabel.load(path).affine)
        for each in found:
            expected = [SimpleITK.ReadImage(str(tmp_path / "out" / name)) for name in (row.mask, row.probabilities)]
            for ours, theirs in zip((each.mask, each.probability), expected, strict=True):
                if not isinstance(ours, np.ndarray):
                    ours = as_sitk(ours, None, None)
                    assert geometry_differences(theirs, ours) == []
                    ours = SimpleITK.GetArrayFromImage(ours)
                assert ours.dtype == SimpleITK.GetArrayFromImage(theirs).dtype
                np.testing.assert_array_equal(ours, SimpleITK.GetArrayFromImage(theirs))
            for name in ("volume_ml", "lesions", "largest_ml", "lesions_by_size", "ml_by_size"):
                assert getattr(each, name) == getattr(row, name)
            assert "; ".join([*each.remarks, *each.notes]) == row.message
            assert each.model == read_segmentation(tmp_path / "out").model
    # Or else the comparison says little.
    assert first.lesions > 0
    # The model was loaded once.
    assert function._loaded.cache_info().currsize == 1
    assert capfd.readouterr() == ("", "")
    assert set(tmp_path.rglob("*")) == files
    assert torch.get_num_threads() == threads


def test_threads_that_call_at_once_get_what_they_get_alone(make_model, monkeypatch):
    loaded = []

    class Counted(Segmenter):
        def __init__(self, *arguments):
            loaded.append(arguments)
            super().__init__(*arguments)

    monkeypatch.setattr(function, "Segmenter", Counted)
    function._loaded.cache_clear()
    images = [image((4, 16, 16 + number)) for number in range(3)]
    options = {"model": make_model(), "device": "cpu", "mirroring": False}
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(lambda each: nnunetv2_sa_unet.segment(each, **options), images))
    assert len(loaded) == 1
    for each, found in zip(images, together, strict=True):
        alone = nnunetv2_sa_unet.segment(each, **options)
        np.testing.assert_array_equal(*(SimpleITK.GetArrayFromImage(one.mask) for one in (alone, found)))
    function._loaded.cache_clear()


def test_a_folder_of_two_images_is_not_one(make_model, tmp_path):
    folder = write_orders(tmp_path / "in", image(), ("LPS", "RAS"))
    with pytest.raises(InputError, match=r"in: found 2 images \(LPS, RAS …\), expected one"):
        nnunetv2_sa_unet.segment(folder, model=make_model(), device="cpu")


def test_the_example_of_the_page_runs(source_tree, make_model, tmp_path, monkeypatch, capsys):
    page = (source_tree / "docs" / "how-to" / "python.md").read_text(encoding="utf-8")
    example = page.partition("## An example")[2].split("```python\n")[1].partition("```")[0]
    small = partial(nnunetv2_sa_unet.segment, model=make_model(), mirroring=False, step_size=1)
    monkeypatch.setattr(nnunetv2_sa_unet, "segment", small, raising=False)
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    assert nibabel.load("mask.nii.gz").get_data_dtype() == np.uint8
    assert capsys.readouterr().out.splitlines()[-1].startswith("CaseMetrics(dice=")
