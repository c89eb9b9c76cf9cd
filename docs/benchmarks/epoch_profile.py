"""Train one epoch by nnU-Net and say where its time went. Writes a model folder as ``nnUNetv2_train`` does.

nnUNet_n_proc_DA=0 python docs/benchmarks/epoch_profile.py DATASET CONFIGURATION -p PLANS -tr TRAINER

Without workers (``nnUNet_n_proc_DA=0``) batches are loaded and augmented by the process that trains, and their time
shows; with workers "batches" is the time that the training waits for them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter, process_time
from typing import Any

import torch
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.run.run_training import get_trainer_from_args

#: In the order of the table; what is indented is part of the one before that is not.
PARTS = (
    "start",
    "epoch",
    "batches",
    "  augmentation",
    "training steps",
    "  forward",
    "  loss",
    "  backward",
    "  gradient's norm",
    "  optimiser",
    "batches of the validation",
    "  augmentation in validation",
    "validation steps",
    "  forward in validation",
    "  loss in validation",
    "end of the epoch, and of the training",
    "  checkpoints",
    "  progress.png",
)
#: Wall clock and processor seconds, and number of calls, of each part.
Spent = dict[str, list[float]]


@contextmanager
def counted(spent: Spent, part: str) -> Iterator[None]:
    wall, processor = perf_counter(), process_time()
    yield
    for place, amount in enumerate((perf_counter() - wall, process_time() - processor, 1)):
        spent[part][place] += amount


def watch(spent: Spent, owner: Any, name: str, part: Callable[[], str]) -> None:
    """Count what ``owner.name`` takes as ``part``."""
    function = getattr(owner, name)

    def counting(*args: Any, **kwargs: Any) -> Any:
        with counted(spent, part()):
            return function(*args, **kwargs)

    setattr(owner, name, counting)


class Batches:
    """A loader whose time is counted."""

    def __init__(self, loader: Any, spent: Spent, part: str) -> None:
        self.loader, self.spent, self.part = loader, spent, part

    def __next__(self) -> Any:
        with counted(self.spent, self.part):
            return next(self.loader)

    def _finish(self) -> None:
        if hasattr(self.loader, "_finish"):
            self.loader._finish()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("configuration")
    parser.add_argument("-p", default="nnUNetPlans")
    parser.add_argument("-tr", default="nnUNetTrainerSAUNet")
    parser.add_argument("-f", default="0")
    parser.add_argument("--iterations", type=int, help="of the epoch (the plans')")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    spent: Spent = {part: [0.0, 0.0, 0] for part in PARTS}

    trainer = get_trainer_from_args(
        args.dataset, args.configuration, int(args.f), args.tr, args.p, device=torch.device("cpu")
    )
    trainer.num_epochs = 1
    trainer.num_iterations_per_epoch = args.iterations or trainer.num_iterations_per_epoch
    with counted(spent, "start"):
        trainer.on_train_start()
    trainer.on_train_start = lambda: None

    def during(part: str) -> Callable[[], str]:
        return lambda: f"  {part}" if trainer.network.training else f"  {part} in validation"

    trainer.dataloader_train = Batches(trainer.dataloader_train, spent, "batches")
    trainer.dataloader_val = Batches(trainer.dataloader_val, spent, "batches of the validation")
    watch(spent, ComposeTransforms, "__call__", during("augmentation"))
    watch(spent, trainer, "train_step", lambda: "training steps")
    # Of the class: a network with a method of its own would run as its plain modules.
    watch(spent, type(trainer.network), "forward", during("forward"))
    watch(spent, trainer.loss, "forward", during("loss"))
    watch(spent, torch.Tensor, "backward", during("backward"))
    watch(spent, torch.nn.utils, "clip_grad_norm_", during("gradient's norm"))
    watch(spent, trainer.optimizer, "step", during("optimiser"))
    watch(spent, trainer, "validation_step", lambda: "validation steps")
    for name in ("on_epoch_end", "on_train_end"):
        watch(spent, trainer, name, lambda: "end of the epoch, and of the training")
    watch(spent, trainer, "save_checkpoint", lambda: "  checkpoints")
    watch(spent, trainer.logger, "plot_progress_png", lambda: "  progress.png")
    with counted(spent, "epoch"):
        trainer.run_training()

    print("| part | times | wall s | processor s | of the epoch |\n| --- | --- | --- | --- | --- |")
    for part, (wall, processor, times) in spent.items():
        name = part.replace("  ", "– ")
        print(f"| {name} | {times} | {wall:.2f} | {processor:.2f} | {wall / spent['epoch'][0]:.1%} |")


if __name__ == "__main__":
    main()
