"""Measure time and memory of the networks of this package and of those that nnU-Net plans for the same patch.

python docs/benchmarks/networks.py --threads 2 --networks plain SAUNet PlainConvUNet

They run in turn, round by round, so that what slows the machine for a while slows all of them. Writes networks.csv and
networks.md and prints the table.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from measure import Job, as_it_is, count_multiplications, interleaved, peak_memory, plain_modules
from planned import DEFAULT_NETWORKS, configurations
from predict import interleaved_predictions
from tables import Row, make_row, markdown, write_csv

from nnunetv2_sa_unet import __version__

TASKS = ("forward", "train", "predict")
DTYPES = ("float32", "bfloat16", "float16")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--patch", nargs=3, type=int, default=[32, 128, 128], metavar=("Z", "Y", "X"), help="(32 128 128)"
    )
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="patches at once (1)")
    parser.add_argument("--device", default="cpu", help="torch device: cpu, cuda … (cpu)")
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=["float32"], help="by autocast (float32)")
    parser.add_argument(
        "--networks",
        nargs="+",
        default=DEFAULT_NETWORKS,
        metavar="NAME",
        help="plain (SAUNet by its plain modules), the trainers without nnUNetTrainer, each also with -wide (nnU-Net's "
        "widths), PlainConvUNet, ResidualEncoderUNet (nnU-Net's plans); plain, SAUNet and nnU-Net's two if absent",
    )
    parser.add_argument(
        "--baseline", metavar="NAME", help="network that ratios refer to, in the first dtype (the first)"
    )
    parser.add_argument(
        "--what",
        nargs="+",
        choices=TASKS,
        default=["forward", "train"],
        help="train: forward and backward; predict: nnUNetv2_predict of one volume (forward train)",
    )
    parser.add_argument(
        "--volume",
        nargs=3,
        type=int,
        default=[48, 256, 256],
        metavar=("Z", "Y", "X"),
        help="that is predicted (48 256 256)",
    )
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="after two to warm up (7)")
    parser.add_argument("--threads", type=int, metavar="N", help="of the CPU (torch's choice)")
    parser.add_argument("--compile", action="store_true", help="with torch.compile, as nnU-Net does on CUDA")
    parser.add_argument("-o", dest="output", type=Path, default=Path("benchmark"), metavar="DIR", help="(./benchmark)")
    return parser


def main(words: Sequence[str] | None = None) -> None:
    parser = make_parser()
    arguments = parser.parse_args(words)
    try:
        known = configurations(arguments.patch)
        torch.empty(1, device=arguments.device)
    except (ValueError, AssertionError, RuntimeError) as error:
        parser.error(str(error).splitlines()[0])
    unknown = set(arguments.networks) - set(known)
    if unknown:
        parser.error(f"--networks: found {', '.join(sorted(unknown))}, expected some of: {', '.join(known)}")
    baseline = arguments.baseline or arguments.networks[0]
    if baseline not in arguments.networks:
        parser.error(f"--baseline: found {baseline}, expected one of the networks measured")
    if "predict" in arguments.what and any(name.startswith("plain") for name in arguments.networks):
        parser.error("--what predict: nnU-Net's command knows no plain, only SAUNet")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)

    networks = {name: known[name] for name in arguments.networks}
    counts = {
        name: count_multiplications(configuration, arguments.patch, formulation(name))
        for name, configuration in networks.items()
    }
    rows: list[Row] = []
    for what in arguments.what:
        rows += (predicted if what == "predict" else timed)(what, networks, counts, baseline, arguments)
    text = markdown(rows, setting(arguments, baseline))
    arguments.output.mkdir(parents=True, exist_ok=True)
    write_csv(arguments.output / "networks.csv", rows)
    (arguments.output / "networks.md").write_text(text, encoding="utf-8")
    print(text, end="")


def formulation(name: str) -> Any:
    return plain_modules if name.startswith("plain") else as_it_is


def timed(
    what: Any,
    networks: Mapping[str, Mapping[str, Any]],
    counts: Mapping[str, tuple[int, int]],
    baseline: str,
    arguments: argparse.Namespace,
) -> list[Row]:
    jobs = {
        (name, dtype): Job(
            configuration,
            what,
            tuple(arguments.patch),
            arguments.batch,
            arguments.device,
            getattr(torch, dtype),
            arguments.compile,
            formulation(name),
        )
        for dtype in arguments.dtype
        for name, configuration in networks.items()
    }
    peaks = [peak_memory(job) for job in jobs.values()]
    seconds = dict(zip(jobs, interleaved(list(jobs.values()), arguments.rounds), strict=True))
    to_compare = seconds[baseline, arguments.dtype[0]]
    return [
        make_row(what, name, dtype, seconds[name, dtype], to_compare, peak, *counts[name])
        for (name, dtype), peak in zip(jobs, peaks, strict=True)
    ]


def predicted(
    what: str,
    networks: Mapping[str, Mapping[str, Any]],
    counts: Mapping[str, tuple[int, int]],
    baseline: str,
    arguments: argparse.Namespace,
) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        measured = interleaved_predictions(
            networks, arguments.device, arguments.rounds, Path(folder), tuple(arguments.volume)
        )
    seconds = dict(zip(networks, measured, strict=True))
    return [make_row(what, name, "", seconds[name], seconds[baseline], None, *counts[name]) for name in networks]


def setting(arguments: argparse.Namespace, baseline: str) -> dict[str, str]:
    if torch.device(arguments.device).type == "cuda":
        device = f"{torch.cuda.get_device_name(arguments.device)}, CUDA {torch.version.cuda}"
        device += f", cuDNN {torch.backends.cudnn.version()}"
    else:
        device = f"{arguments.device}: {processor()}, {torch.get_num_threads()} threads"
    return {
        "patch": f"{arguments.batch} × {'×'.join(map(str, arguments.patch))}",
        "device": device,
        "versions": f"nnunetv2-sa-unet {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
        "compiled": "yes" if arguments.compile else "no",
        "ratios to": f"{baseline} {arguments.dtype[0]}",
        "rounds": str(arguments.rounds),
    }


def processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
