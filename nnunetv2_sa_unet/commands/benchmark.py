"""``nnUNetv2_sa_unet benchmark``: time and memory of the networks beside nnU-Net's own."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunetv2_sa_unet.commands.arguments import at_least
from nnunetv2_sa_unet.devices import choose_device
from nnunetv2_sa_unet.errors import InputError

if TYPE_CHECKING:
    import torch

    from nnunetv2_sa_unet.benchmark.tables import Row

__all__ = ["add_parser", "run"]

TASKS = ("forward", "train", "predict")
DTYPES = ("float32", "bfloat16", "float16")


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``benchmark`` to the command line."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "benchmark",
        help="measure time and memory of the networks beside nnU-Net's own",
        description="Measure the networks of this package and those that nnU-Net plans for the same patch, in turn, "
        "round by round. Writes benchmark.csv, benchmark.md and benchmark.png and prints the table.",
    )
    parser.add_argument(
        "--patch", nargs=3, type=at_least(1), default=[32, 128, 128], metavar=("Z", "Y", "X"), help="(32 128 128)"
    )
    parser.add_argument("--batch", type=at_least(1), default=1, metavar="N", help="patches at once (1)")
    parser.add_argument(
        "-device", "--device", default="auto", help="auto, or a torch device: cpu, cuda:1 … (auto: a GPU that works)"
    )
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=["float32"], help="by autocast (float32)")
    parser.add_argument(
        "--networks",
        nargs="+",
        metavar="NAME",
        help="plain (the paper's formulation), the trainers without nnUNetTrainer, each also with -wide (nnU-Net's "
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
        help="train: forward and backward; predict: nnUNetv2_predict of one volume of 48×256×256 (forward train)",
    )
    parser.add_argument("--rounds", type=at_least(1), default=7, metavar="N", help="after two to warm up (7)")
    parser.add_argument("--threads", type=at_least(1), metavar="N", help="of the CPU (torch's choice)")
    parser.add_argument("--compile", action="store_true", help="with torch.compile, as nnU-Net does on CUDA")
    parser.add_argument(
        "-o", dest="output", type=Path, default=Path("benchmark"), metavar="DIR", help="where to write (./benchmark)"
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Measure, write the three files and print the table."""
    import torch

    from nnunetv2_sa_unet.benchmark.measure import count_multiplications
    from nnunetv2_sa_unet.benchmark.networks import DEFAULT_NETWORKS, configurations
    from nnunetv2_sa_unet.benchmark.tables import draw, markdown, write_csv
    from nnunetv2_sa_unet.files import write_text

    known = configurations(arguments.patch)
    names = list(dict.fromkeys(arguments.networks or DEFAULT_NETWORKS))
    for name in names:
        if name not in known:
            raise InputError(f"--networks: found {name}, expected some of: {', '.join(known)}")
    baseline = arguments.baseline or names[0]
    if baseline not in names:
        raise InputError(f"--baseline: found {baseline}, expected one of the networks measured: {', '.join(names)}")
    arguments.device = choose_device(arguments.device).name
    if arguments.threads:
        torch.set_num_threads(arguments.threads)

    networks = {name: known[name] for name in names}
    counts = {
        name: count_multiplications(configuration, arguments.patch, arguments.device)
        for name, configuration in networks.items()
    }
    rows: list[Row] = []
    for what in dict.fromkeys(arguments.what):
        measure = _predict if what == "predict" else _measure
        rows += measure(what, networks, counts, baseline, arguments)

    setting = _setting(arguments, baseline)
    text = markdown(rows, setting)
    output: Path = arguments.output
    write_csv(output / "benchmark.csv", rows)
    draw(output / "benchmark.png", rows, f"{setting['patch']} on {setting['device']}")
    write_text(output / "benchmark.md", text)
    print(text, end="")
    print(f"wrote {', '.join(str(output / f'benchmark.{kind}') for kind in ('csv', 'md', 'png'))}")
    return 0


def _measure(
    what: str,
    networks: Mapping[str, Mapping[str, Any]],
    counts: Mapping[str, tuple[int, int]],
    baseline: str,
    arguments: argparse.Namespace,
) -> list[Row]:
    import torch

    from nnunetv2_sa_unet.benchmark.measure import Job, interleaved, peak_memory
    from nnunetv2_sa_unet.benchmark.tables import make_row

    jobs: dict[tuple[str, str], Job] = {}
    for dtype in arguments.dtype:
        for name, configuration in networks.items():
            torch_dtype: torch.dtype = getattr(torch, dtype)
            jobs[name, dtype] = Job(
                configuration,
                "train" if what == "train" else "forward",
                tuple(arguments.patch),
                arguments.batch,
                arguments.device,
                torch_dtype,
                arguments.compile,
            )
    peaks = [peak_memory(job) for job in jobs.values()]
    seconds = dict(zip(jobs, interleaved(list(jobs.values()), arguments.rounds), strict=True))
    to_compare = seconds[baseline, arguments.dtype[0]]
    return [
        make_row(what, name, dtype, seconds[name, dtype], to_compare, peak, *counts[name])
        for (name, dtype), peak in zip(jobs, peaks, strict=True)
    ]


def _predict(
    what: str,
    networks: Mapping[str, Mapping[str, Any]],
    counts: Mapping[str, tuple[int, int]],
    baseline: str,
    arguments: argparse.Namespace,
) -> list[Row]:
    import tempfile

    from nnunetv2_sa_unet.benchmark.predict import interleaved_predictions
    from nnunetv2_sa_unet.benchmark.tables import make_row

    with tempfile.TemporaryDirectory() as folder:
        measured = interleaved_predictions(networks, arguments.device, arguments.rounds, Path(folder))
    seconds = dict(zip(networks, measured, strict=True))
    return [make_row(what, name, "", seconds[name], seconds[baseline], None, *counts[name]) for name in networks]


def _setting(arguments: argparse.Namespace, baseline: str) -> dict[str, str]:
    import platform

    import torch

    from nnunetv2_sa_unet import __version__

    if torch.device(arguments.device).type == "cuda":
        device = f"{torch.cuda.get_device_name(arguments.device)}, CUDA {torch.version.cuda}"
        device += f", cuDNN {torch.backends.cudnn.version()}"  # type: ignore[no-untyped-call]
    else:
        device = f"{arguments.device}: {_processor() or platform.machine()}, {torch.get_num_threads()} threads"
    return {
        "patch": f"{arguments.batch} × {'×'.join(map(str, arguments.patch))}",
        "device": device,
        "versions": f"nnunetv2-sa-unet {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
        "compiled": "yes" if arguments.compile else "no",
        "ratios to": f"{baseline} {arguments.dtype[0]}",
        "rounds": str(arguments.rounds),
    }


def _processor() -> str:
    import platform

    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor()
