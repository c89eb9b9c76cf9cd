"""Measure SA-UNet on a GPU: exactness first, then times, memory, profiles, and training by nnU-Net.

python docs/benchmarks/gpu.py -o gpu [--parts exactness norm network profile epoch memory] [--minutes 9]
python docs/benchmarks/gpu.py -o trial --dry-run          # tiny sizes on the CPU: tries the script itself

Every measurement has a process of its own (gpu_parts.py), one at a time; nothing else may use the GPU. Whatever fails
or takes too long gets a line that says so, and the rest goes on. OUT/gpu.md is written anew after each measurement,
from OUT/gpu.json, which holds what earlier calls measured too: parts may be measured one by one. The order is that of
importance, and what no time is left for is named.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PARTS = ("exactness", "norm", "network", "profile", "epoch", "memory")
HERE = Path(__file__).parent
#: By setting: patch, batch, and the ending of the names of networks of that width.
SETTINGS = {
    "paper's size": ([32, 256, 256], 4, ""),
    "nnU-Net's size": ([40, 224, 224], 2, "-wide"),
}
#: Setting, network, what is called of it, whether it is compiled, and the tasks; by importance.
NETWORKS = [
    ("paper's size", "SAUNet", "as it is", False, ("train", "forward")),
    ("paper's size", "PlainConvUNet", "as it is", True, ("train",)),
    ("paper's size", "PlainConvUNet", "as it is", False, ("train", "forward")),
    ("nnU-Net's size", "SAUNet", "as it is", False, ("train", "forward")),
    ("nnU-Net's size", "PlainConvUNet", "as it is", True, ("train",)),
    ("nnU-Net's size", "PlainConvUNet", "as it is", False, ("train", "forward")),
    ("paper's size", "SAUNet", "as it is", True, ("train",)),
    ("paper's size", "SAUNet", "usual storage", False, ("train", "forward")),
    ("paper's size", "SAUNet_backboneBN", "usual storage", False, ("train", "forward")),
    ("paper's size", "SAUNet_backboneBN", "channels last", False, ("train", "forward")),
    ("paper's size", "SAUNet_noASPP", "as it is", False, ("train", "forward")),
    ("paper's size", "SAUNet_noSAM", "as it is", False, ("train", "forward")),
    ("paper's size", "SAUNet_backboneGN", "as it is", False, ("train", "forward")),
    ("paper's size", "SAUNet_backbone333BN", "as it is", False, ("train", "forward")),
    ("paper's size", "UNet3D", "as it is", False, ("train", "forward")),
    ("paper's size", "AttentionUNet", "as it is", False, ("train", "forward")),
    ("nnU-Net's size", "SAUNet", "as it is", True, ("train",)),
    ("paper's size", "ResidualEncoderUNet", "as it is", False, ("train", "forward")),
]
#: Peak memory is compared with what plans of so many GB promise.
GPU_MEMORIES = (8, 11, 24)
_TRAINER, _NNUNETS = "nnUNetTrainerSAUNet", "nnUNetTrainer"
#: Seconds that one process may take (exactness was not done after 150 on an H200), and on a CPU, where it is not the
#: speed that is tried.
_LIMIT, _DRY_LIMIT = 480, 1800


@dataclass(frozen=True)
class Step:
    """One measurement.

    Attributes:
        part: of :data:`PARTS`.
        name: of the measurement, unique in its part.
        function: of gpu_parts.py.
        words: its arguments.
        environment: variables beside those of this process.
    """

    part: str
    name: str
    function: str
    words: dict[str, Any]
    environment: dict[str, str]


def steps(folder: Path, dry: bool, parts: list[str]) -> Iterator[Step]:
    """All measurements of the parts, in their order."""
    device = "cpu" if dry else "cuda"
    # Triton interprets the kernels where there is no GPU.
    kernels = {"TRITON_INTERPRET": "1"} if dry else {}
    for part in parts:
        if part == "exactness":
            words = {"patch": [16, 32, 32] if dry else [32, 256, 256], "batch": 1 if dry else 2, "device": device}
            # A CPU takes its time in float16.
            words["dtypes"] = ["float32", "bfloat16"] if dry else ["float32", "float16", "bfloat16"]
            yield Step(part, "SAUNet", "exactness", words, {})
        elif part == "norm":
            words = {"patch": [1, 16, 16] if dry else [32, 256, 256], "batch": 1 if dry else 4, "device": device}
            yield Step(part, "GroupNorm and ReLU", "norm", words | {"rounds": 1 if dry else 20}, kernels)
        elif part == "network":
            for setting, network, way, compiled, tasks in NETWORKS[:2] + NETWORKS[7:10:2] if dry else NETWORKS:
                patch, batch, ending = SETTINGS[setting]
                name = network if network in ("PlainConvUNet", "ResidualEncoderUNet") else network + ending
                words = sized(dry, {"patch": patch, "batch": batch, "device": device, "dtype": "float16"})
                # Compiling for the CPU would try the compiler and not the script.
                words |= {"name": name, "way": way, "compiled": compiled and not dry, "tasks": tasks}
                words |= {"rounds": 2 if dry else 12}
                label = f"{network}, {'compiled' if compiled else 'eager'}" + ("" if way == "as it is" else f", {way}")
                yield Step(part, f"{setting}: {label}", "network", words, {})
        elif part == "profile":
            for setting, (patch, batch, ending) in SETTINGS.items():
                words = sized(dry, {"patch": patch, "batch": batch, "device": device, "dtype": "float16"})
                file = folder / f"profile_{'nnunet' if ending else 'paper'}.txt"
                yield Step(part, setting, "profile", words | {"name": "SAUNet" + ending, "file": str(file)}, {})
        else:
            yield from nnunets_steps(part, folder, dry, device)


def nnunets_steps(part: str, folder: Path, dry: bool, device: str) -> Iterator[Step]:
    """Training by nnU-Net, which needs a data set: made of random numbers, in the folder, at the first step."""
    variables = nnunets_variables(folder)
    iterations, epochs = (2, 2) if dry else (250, 2)
    if part == "epoch":
        for trainer, plans in (
            (_TRAINER, "nnUNetSAUNetBenchmarkPlans"),
            (_NNUNETS, "nnUNetPlans"),
            (_TRAINER, "nnUNetPlans"),
        ):
            words = {"plans": plans, "trainer": trainer, "device": device, "iterations": iterations}
            yield Step(part, f"{trainer}, {plans}", "epoch", words | {"epochs": epochs, "promised": None}, variables)
        return
    for memory in GPU_MEMORIES:
        words = {"plans": f"nnUNetSAUNetMemory{memory}Plans", "trainer": _TRAINER, "device": device}
        words |= {"iterations": 2 if dry else 8, "epochs": 1, "promised": memory}
        yield Step(part, f"plan --gpu-memory {memory}", "epoch", words, variables)


def nnunets_variables(folder: Path) -> dict[str, str]:
    variables = {name: str(folder / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    # An installed package needs no such help, a source tree does.
    trainers = HERE.parents[1] / "nnunetv2_sa_unet" / "discovery" / "trainers"
    return variables | {"nnUNet_extTrainer": str(trainers)}


def sized(dry: bool, words: dict[str, Any]) -> dict[str, Any]:
    return words | {"patch": [16, 32, 32], "batch": 1, "dtype": "bfloat16"} if dry else words


def make_data_set(folder: Path, dry: bool) -> None:
    """Write a data set of random volumes, and plan and preprocess it; each command's output goes to OUT/log.txt."""
    import SimpleITK

    root = folder / "nnUNet_raw" / "Dataset001_Benchmark"
    # A data set that could not be made is not tried again.
    if root.exists():
        if not (root / "made").exists():
            raise OSError(f"{root}: was not made to its end; see log.txt, and remove it to try again")
        return
    shape, cases = ((16, 40, 40), 5) if dry else ((40, 256, 256), 8)
    generator = np.random.default_rng(0)
    for number in range(cases):
        image = generator.normal(100, 20, shape).astype(np.float32)
        labels = np.zeros(shape, np.uint8)
        corner = [int(generator.integers(2, extent - 10)) for extent in shape]
        labels[tuple(slice(start, start + 8) for start in corner)] = 1
        for values, path in (
            (image + 60 * labels, root / "imagesTr" / f"case{number}_0000.nii.gz"),
            (labels, root / "labelsTr" / f"case{number}.nii.gz"),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            written = SimpleITK.GetImageFromArray(values)
            written.SetSpacing((1.0, 1.0, 3.0))
            SimpleITK.WriteImage(written, path)
    description = {"channel_names": {"0": "FLAIR"}, "labels": {"background": 0, "WMH": 1}, "numTraining": cases}
    (root / "dataset.json").write_text(json.dumps(description | {"file_ending": ".nii.gz"}), encoding="utf-8")
    (patch, batch), features = (([16, 32, 32], 1), [8, 16, 24]) if dry else (([32, 256, 256], 4), [24, 48, 96, 192])
    values = {"patch_size": patch, "batch_size": batch, "features_per_stage": features, "depth": len(features)}
    override = folder / "benchmark.json"
    contents = {"description": "the paper's size", "configurations": {"3d_fullres": values}}
    override.write_text(json.dumps(contents), encoding="utf-8")
    call = command(folder)
    processes = "1" if dry else "8"
    call("nnUNetv2_plan_and_preprocess", "-d", "1", "-c", "3d_fullres", "-np", processes, "-npfp", processes)
    call("nnUNetv2_sa_unet", "plan", "-d", "1", "-c", "3d_fullres", "--override", str(override))
    for memory in GPU_MEMORIES:
        named = folder / f"memory{memory}.json"
        named.write_text(json.dumps({"description": f"for {memory} GB", "configurations": {}}), encoding="utf-8")
        words = ("plan", "-d", "1", "--gpu-memory", str(memory), "--override", str(named))
        call("nnUNetv2_sa_unet", *words)
    (root / "made").touch()


def command(folder: Path) -> Callable[..., None]:
    variables = nnunets_variables(folder)

    def call(program: str, *words: str) -> None:
        beside = Path(sys.executable).parent / program
        with (folder / "log.txt").open("a", encoding="utf-8") as log:
            subprocess.run(
                [str(beside) if beside.exists() else program, *words],
                env=os.environ | variables,
                stdout=log,
                stderr=log,
                check=True,
            )

    return call


def measure(step: Step, folder: Path, seconds: float) -> Any:
    """Run one step in a process of its own; a string says what went wrong."""
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    words = [sys.executable, str(HERE / "gpu_parts.py"), step.function, json.dumps(step.words), str(result)]
    with (folder / "log.txt").open("a", encoding="utf-8") as log:
        log.write(f"\n== {step.part}: {step.name}\n")
        log.flush()
        try:
            done = subprocess.run(
                words, env=os.environ | step.environment, stdout=log, stderr=log, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            return f"stopped after {seconds:.0f} s"
    if done.returncode or not result.exists():
        lines = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"failed ({done.returncode}): {lines[-1][:200]}"
    return json.loads(result.read_text(encoding="utf-8"))


def tables(found: dict[str, dict[str, Any]]) -> str:
    """All that was measured, as Markdown."""
    lines = [f"Measured: {found['setting']['machine']}", ""]
    for part in PARTS:
        rows = [row for name, result in found.get(part, {}).items() for row in as_rows(name, result)]
        if not rows:
            continue
        columns = list(dict.fromkeys(column for row in rows for column in row))
        lines += [f"## {part}", "", "| " + " | ".join(columns) + " |", "| " + "--- | " * len(columns)]
        lines += ["| " + " | ".join(shown(row.get(column)) for column in columns) + " |" for row in rows]
        lines.append("")
    lines += targets(found.get("network", {}))
    return "\n".join(lines) + "\n"


def as_rows(name: str, result: Any) -> list[dict[str, Any]]:
    if isinstance(result, str):
        return [{"what": name, "remark": result}]
    if isinstance(result, list):
        return [{"what": name} | row for row in result]
    if result and all(isinstance(value, dict) for value in result.values()):
        return [{"what": name, "task": task} | row for task, row in result.items()]
    return [{"what": name} | result]


def shown(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def targets(networks: dict[str, Any]) -> list[str]:
    """The ratios to nnU-Net's default network as nnU-Net runs it: compiled in training, eager in prediction."""
    lines = ["## Ratios to PlainConvUNet", ""]
    for setting in SETTINGS:
        for task, way, column in (
            ("train", "compiled", "ms"),
            ("forward", "eager", "ms"),
            ("train", "compiled", "peak GB"),
        ):
            one = networks.get(f"{setting}: SAUNet, eager")
            other = networks.get(f"{setting}: PlainConvUNet, {way}")
            values = [each[task][column] if isinstance(each, dict) and task in each else None for each in (one, other)]
            if None not in values:
                lines.append(f"- {setting}, {task}, {column}: {values[0] / values[1]:.2f}")
    return lines


def machine(dry: bool) -> str:
    import torch

    from nnunetv2_sa_unet import __version__

    versions = f"nnunetv2-sa-unet {__version__}, torch {torch.__version__}"
    if dry:
        return f"a dry run on a CPU, {versions}: no figure means anything"
    return f"{torch.cuda.get_device_name()}, {versions}, cuDNN {torch.backends.cudnn.version()}, {os.cpu_count()} cores"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", dest="output", type=Path, default=Path("gpu"), metavar="OUT")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--minutes", type=float, default=15, help="in all; what does not fit is left out (15)")
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes on the CPU")
    arguments = parser.parse_args()
    folder = arguments.output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * arguments.minutes
    store = folder / "gpu.json"
    found: dict[str, dict[str, Any]] = json.loads(store.read_text(encoding="utf-8")) if store.exists() else {}
    found["setting"] = {"machine": machine(arguments.dry_run)}
    limit = _DRY_LIMIT if arguments.dry_run else _LIMIT
    for step in steps(folder, arguments.dry_run, arguments.parts):
        part = found.setdefault(step.part, {})
        left = end - time.monotonic()
        start = time.monotonic()
        try:
            if step.part in ("epoch", "memory") and left > 0:
                make_data_set(folder, arguments.dry_run)
            result = measure(step, folder, min(limit, left)) if left > 10 else "not measured: no time was left"
        # A data set that cannot be made is no reason to lose the rest.
        except (OSError, subprocess.CalledProcessError) as error:
            result = f"failed: {error}"
        part[step.name] = result
        store.write_text(json.dumps(found, indent=1), encoding="utf-8")
        (folder / "gpu.md").write_text(tables(found), encoding="utf-8")
        print(f"{time.monotonic() - start:5.0f} s  {step.part}: {step.name}: {str(result)[:150]}", flush=True)
    print((folder / "gpu.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
