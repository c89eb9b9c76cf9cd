"""One process of the DDP test: ``python ddp_worker.py FOLDER RANK``.

Takes two steps of every network pickled in FOLDER/networks.pt and saves the parameters to FOLDER/RANK.pt.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

WORLD_SIZE = 2


def loss_of(logits: torch.Tensor | list[torch.Tensor]) -> torch.Tensor:
    """Weigh the scales as nnU-Net does under DDP without torch.compile (``nnUNetTrainer._build_loss``)."""
    if isinstance(logits, torch.Tensor):
        return logits.square().mean()
    weights = torch.tensor([0.5**scale for scale in range(len(logits))])
    weights[-1] = 1e-6
    weights /= weights.sum()
    return torch.stack([w * scale.square().mean() for w, scale in zip(weights, logits, strict=True)]).sum()


def two_steps(network: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    model = DistributedDataParallel(network, find_unused_parameters=False)
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trainable, lr=0.01, momentum=0.99, nesterov=True)
    for _ in range(2):
        optimizer.zero_grad()
        loss_of(model(x)).backward()
        optimizer.step()
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


def main(folder: Path, rank: int) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'rendezvous'}", rank=rank, world_size=WORLD_SIZE
    )
    after = {}
    for name, (network, x) in torch.load(folder / "networks.pt", weights_only=False).items():
        # Each process sees its own batch; only the exchange of gradients keeps the parameters equal.
        after[name] = two_steps(network, x + rank)
    torch.save(after, folder / f"{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
