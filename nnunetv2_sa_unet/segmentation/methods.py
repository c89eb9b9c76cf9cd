"""``methods.md``: what a run did, in words for a paper, with versions, options and references.

It is made from the record alone, so that a run that was stopped and went on writes the same words as an undisturbed
one. It names no subject, place or time.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from nnunetv2_sa_unet.files import write_text
from nnunetv2_sa_unet.plans.variants import SA_UNET, VARIANTS
from nnunetv2_sa_unet.regions.assignment import CONFLUENT_MM, JUXTACORTICAL_MM, PERIVENTRICULAR_MM
from nnunetv2_sa_unet.segmentation.record import Segmentation
from nnunetv2_sa_unet.text import in_words
from nnunetv2_sa_unet.weights.registry import MODELS

__all__ = ["MATTES", "METHODS_NAME", "References", "Sentences", "methods", "was", "write_methods"]

METHODS_NAME = "methods.md"
#: By its hash a later run knows that nobody has changed the text.
_MARK = (
    "<!-- Written by nnUNetv2_sa_unet {command} from {record}. CC0 1.0: take the text as your own. A file that was "
    "changed is left as it is. sha256 {digest} -->\n"
)
_DIGEST = re.compile(rb"<!-- Written by nnUNetv2_sa_unet .* sha256 (?P<digest>[0-9a-f]{64}) -->\n")
_SA_UNET = (
    "Guo C, Chen H, Yi Y. 3D SA-UNet: 3D Spatial Attention UNet with 3D Atrous Spatial Pyramid Pooling for White "
    "Matter Hyperintensities Segmentation. arXiv:2309.08402 (2023). https://arxiv.org/abs/2309.08402"
)
_NNUNET = (
    "Isensee F, Jaeger PF, Kohl SAA, Petersen J, Maier-Hein KH. nnU-Net: a self-configuring method for deep "
    "learning-based biomedical image segmentation. Nature Methods 18, 203–211 (2021). "
    "https://doi.org/10.1038/s41592-020-01008-z"
)
_LI = (
    "Li H, et al. Fully convolutional network ensembles for white "
    "matter hyperintensities segmentation in MR images. NeuroImage 183, 650–665 (2018). "
    "https://doi.org/10.1016/j.neuroimage.2018.07.005"
)
_MNI152 = (
    "Fonov V, Evans AC, Botteron K, Almli CR, McKinstry RC, Collins DL. Unbiased average age-appropriate atlases for "
    "pediatric studies. NeuroImage 54, 313–327 (2011). https://doi.org/10.1016/j.neuroimage.2010.07.033"
)
MATTES = (
    "Mattes D, Haynor DR, Vesselle H, Lewellen TK, Eubank W. PET-CT image registration in the chest using free-form "
    "deformations. IEEE Transactions on Medical Imaging 22, 120–128 (2003). https://doi.org/10.1109/TMI.2003.809072"
)
_VERCAUTEREN = (
    "Vercauteren T, Pennec X, Perchant A, Ayache N. Diffeomorphic demons: efficient non-parametric image registration. "
    "NeuroImage 45, S61–S72 (2009). https://doi.org/10.1016/j.neuroimage.2008.10.040"
)
_DECARLI = (
    "DeCarli C, Fletcher E, Ramey V, Harvey D, Jagust WJ. Anatomical mapping of white matter hyperintensities (WMH): "
    "exploring the relationships between periventricular WMH, deep WMH, and total WMH burden. Stroke 36, 50–55 (2005). "
    "https://doi.org/10.1161/01.STR.0000150668.58689.f2"
)
_GRIFFANTI = (
    "Griffanti L, et al. Classification and characterization of periventricular and deep white matter hyperintensities "
    "on MRI: a study in older adults. NeuroImage 170, 174–181 (2018). "
    "https://doi.org/10.1016/j.neuroimage.2017.03.024"
)
_KIM = (
    "Kim KW, MacFall JR, Payne ME. Classification of white matter lesions on magnetic resonance imaging in elderly "
    "persons. Biological Psychiatry 64, 273–280 (2008). https://doi.org/10.1016/j.biopsych.2008.03.024"
)
_NAMES = {
    "nnunetv2_sa_unet": "nnunetv2-sa-unet",
    "python": "Python",
    "nnunetv2": "nnU-Net",
    "torch": "PyTorch",
    "numpy": "NumPy",
}
_DEVICES = {"cpu": "a CPU", "cuda": "a GPU (CUDA)", "mps": "a GPU (MPS)"}


class References:
    """Numbers references in the order in which they are cited."""

    def __init__(self) -> None:
        self.listed: list[str] = []

    def __call__(self, *references: str) -> str:
        for reference in references:
            if reference not in self.listed:
                self.listed.append(reference)
        return f"[{', '.join(str(self.listed.index(reference) + 1) for reference in references)}]"


#: The sentences of a paragraph, which cite references.
Sentences = Callable[[References], Iterable[str]]


def methods(
    segmentation: Segmentation, more: Sequence[Sentences] = (), of: Literal["subject", "image"] | None = None
) -> str:
    """The methods of a run as Markdown: paragraphs, then the references that they cite by number.

    Args:
        segmentation: its record.
        more: paragraphs on what else was done with its masks.
        of: what a mask is of; None for images if names of BIDS say that a subject has several, else for subjects.
    """
    cite = References()
    own = (_model, _decision, _measures, _regions, _outcome, _software)
    unit = of or ("image" if _has_several(segmentation) else "subject")
    paragraphs = [" ".join(sentences(segmentation, cite, unit)) for sentences in own]
    paragraphs += (" ".join(sentences(cite)) for sentences in more)
    lines = ["# Methods", *filter(None, paragraphs), "## References"]
    lines.append("\n".join(f"{number}. {reference}" for number, reference in enumerate(cite.listed, 1)))
    return "\n\n".join(lines) + "\n"


def _has_several(segmentation: Segmentation) -> bool:
    """Whether a subject of BIDS has several images, of sessions or runs."""
    labels = [row.subject.partition("_")[0] for row in segmentation.subjects if row.subject.startswith("sub-")]
    return len(set(labels)) < len(labels)


def write_methods(folder: Path, text: str, command: str, record: str, say: Callable[[str], None]) -> None:
    """Write ``methods.md``, unless a file of that name is somebody else's, or was changed since.

    Args:
        folder: of the run.
        text: see :func:`methods`.
        command: that writes it.
        record: name of the file that it is made from.
        say: prints a line.
    """
    path = folder / METHODS_NAME
    if path.is_symlink() or (path.exists() and not _is_ours(path)):
        say(f"{path}: is not as {command} writes it, and stays as it is; moved away, the same command writes it anew")
        return
    digest = hashlib.sha256(text.encode()).hexdigest()
    write_text(path, _MARK.format(command=command, record=record, digest=digest) + text)


def _is_ours(path: Path) -> bool:
    """Whether a file is as :func:`write_methods` of any version left it."""
    if not path.is_file():
        return False
    content = path.read_bytes()
    found = _DIGEST.match(content)
    return found is not None and hashlib.sha256(content[found.end() :]).hexdigest().encode() == found["digest"]


def _model(segmentation: Segmentation, cite: References, of: str) -> Iterator[str]:
    model, options = segmentation.model, segmentation.options
    number = len(segmentation.subjects)
    images = in_words(number, "FLAIR image") if of == "image" else f"the FLAIR images of {in_words(number, of)}"
    variant = VARIANTS.get(model.trainer)
    boxed = MODELS.get(model.name) if model.name is not None else None
    if model.name is not None:
        network = f"the model {model.name} (version {model.version}) of nnunetv2-sa-unet, a 3D SA-UNet {cite(_SA_UNET)}"
    elif model.trainer == "nnUNetTrainerSAUNet":
        network = f"a 3D SA-UNet {cite(_SA_UNET)} of nnunetv2-sa-unet"
    elif variant is not None and variant.network_class == SA_UNET:
        network = f"a variant of 3D SA-UNet {cite(_SA_UNET)} of nnunetv2-sa-unet, {variant.summary}"
    elif variant is not None:
        network = f"a network of nnunetv2-sa-unet, {variant.summary}"
    else:
        network = "a trained network"
    yield f"White matter hyperintensities (WMH) were segmented in {images} with {network}, run by nnU-Net"
    yield f"{cite(_NNUNET)}."
    if boxed is not None:
        yield f"The model was trained on {boxed.training} {cite(*boxed.references)}."
    elif model.name is None:
        yield (
            f"It was trained on {model.dataset} with the trainer {model.trainer}, the plans {model.plans} and the "
            f"configuration {model.configuration}."
        )
    folds = [str(fold) for fold in model.folds]
    networks = "one network" if len(folds) == 1 else f"the average of {in_words(len(folds), 'network')}"
    named = "" if folds == ["all"] else f" (fold{'s' * (len(folds) > 1)} {', '.join(folds)})"
    turned = "" if model.orientation is None else f"brought to the orientation {model.orientation}, "
    yield (
        f"Images were {turned}resampled and normalised as the model's plans say, and the masks brought back to the "
        f"images' own grids. The prediction was that of {networks}{named}, in a sliding window with steps of "
        f"{options.step_size:g} of its size, {'averaged over' if options.mirroring else 'without'} mirrored images."
    )


def _decision(segmentation: Segmentation, cite: References, of: str) -> Iterator[str]:
    options, model = segmentation.options, segmentation.model
    if options.threshold is not None:
        yield f"A voxel was called WMH from a probability of {options.threshold:g} on."
    elif model.threshold is not None:
        yield (
            f"A voxel was called WMH from a probability of {model.threshold:g} on, as the network was trained to give "
            "it, which is the model's default."
        )
    else:
        yield "A voxel was given its most probable label."
    excluded = sum(row.exclude is not None for row in segmentation.subjects)
    if excluded:
        yield f"In {in_words(excluded, of)}, no voxel within a given mask was called WMH."
    if options.clear_ends is not None:
        yield f"No voxel was called WMH in the first and the last {options.clear_ends:.3g} of the axial slices"
        yield f"{cite(_LI)}."
    if options.min_volume_mm3 is not None:
        yield f"Lesions of less than {options.min_volume_mm3:g} mm³ were dropped."


def _measures(segmentation: Segmentation, cite: References, of: str) -> Iterator[str]:
    yield (
        "The volume of WMH is the number of its voxels times the volume of a voxel; a lesion is a component that is "
        "connected by faces, edges or corners in 3D."
    )


def _regions(segmentation: Segmentation, cite: References, of: str) -> Iterator[str]:
    rule = segmentation.options.regions
    found = [row.regions for row in segmentation.subjects if row.regions is not None and row.regions.rule == rule]
    if not found:
        return
    # Of a folder that was segmented before, some subjects may have been left as they were.
    without = sum(row.mask is not None for row in segmentation.subjects) - len(found)
    whom = f"in {in_words(len(found), of)}" if without else f"in each {of}"
    yield (
        f"To tell {whom} where WMH lie, a tissue map of the MNI152 template (ICBM 152, nonlinear symmetric 2009a) "
        f"{cite(_MNI152)} was registered to the FLAIR image: an affine transform by mutual information "
        f"{cite(MATTES)}, then a smooth deformation by demons with symmetric forces {cite(_VERCAUTEREN)}, both of "
        f"SimpleITK. A voxel of WMH was infratentorial where the map shows cerebellum or brain stem; else "
        f"periventricular within {PERIVENTRICULAR_MM:g} mm of the lateral ventricles, as they are dark in the image "
        f"{cite(_DECARLI, _GRIFFANTI)}; else juxtacortical within {JUXTACORTICAL_MM:g} mm of the map's cerebral cortex "
        f"{cite(_KIM)}; and else deep."
    )
    if rule == "confluent":
        yield (
            f"A lesion was counted in one region as a whole: as periventricular if it came within {CONFLUENT_MM:g} mm "
            f"of the ventricles {cite(_KIM)} and was not mostly infratentorial; else in the region of most of its "
            "voxels, its distance from the ventricles aside."
        )
    else:
        yield "A lesion was counted in the region of most of its voxels."
    yield "The intracranial volume was estimated as that of the template under the transform."
    failed = sum(regions.registration == "failed" for regions in found)
    if failed:
        whom = in_words(failed, of)
        yield f"In {whom} the registration failed by the program's own measures: no regions there."


def _outcome(segmentation: Segmentation, cite: References, of: str) -> Iterator[str]:
    numbers = Counter(row.status for row in segmentation.subjects)
    if numbers["failed"]:
        images = in_words(numbers["failed"], of)
        yield f"{images[0].upper()}{images[1:]} could not be segmented and {was(numbers['failed'])} left out."
    if numbers["warning"]:
        images = in_words(numbers["warning"], "image")
        yield f"{images[0].upper()}{images[1:]} {was(numbers['warning'])} marked by the program as unusual."


def _software(segmentation: Segmentation, cite: References, of: str) -> Iterator[str]:
    used = Counter(tuple((row.made_with or {}).items()) for row in segmentation.subjects if row.mask is not None)
    for items, number in sorted(used.items(), key=lambda item: (-item[1], item[0])):
        made_with = dict(items)
        device = made_with.pop("device", "cpu")
        listed = ", ".join(f"{_NAMES.get(name, name)} {version}" for name, version in made_with.items())
        whom = "Masks" if len(used) == 1 else f"Those of {in_words(number, of)}"
        yield f"{whom} were made with {listed or 'versions that were not recorded'}, on {_DEVICES.get(device, device)}."


def was(count: int) -> str:
    """``was`` or ``were``, after that number."""
    return "was" if count == 1 else "were"
