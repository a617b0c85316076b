"""What shape a network's feature map has, found out without computing anything."""

import copy

import torch
from torch import nn


def probe_feature_map(backbone: nn.Module, sizes: tuple[int, int] = (128, 256)) -> tuple[int, int]:
    """Return ``(channels, stride in pixels)`` of ``backbone.forward_features``.

    The network runs on torch's meta device, where tensors have shapes but no values.
    """
    probe = copy.deepcopy(backbone).to("meta").eval()
    with torch.no_grad():
        small, large = (probe.forward_features(torch.empty(1, 3, size, size, device="meta")) for size in sizes)  # type: ignore[operator]
    return int(large.shape[1]), round((sizes[1] - sizes[0]) / (large.shape[-1] - small.shape[-1]))
