"""A user's own checkout of the authors' code, timed as it is: ``--reference DIR``.

Nothing of it is part of this package. Expected are, in ``DIR/src`` or in ``DIR``, ``resnet.py``, ``model.py`` with
``Model(args)``, which reads the file ``args.resnet50_path``, ``loss.py`` with ``ACLoss(maps1, maps2, grid, logits)``
and ``utils.py`` with ``generate_flip_grid(width, height, device)``.
"""

import importlib
import importlib.util
import pickle
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = 7  # the checkout's own number
_FILES = ("resnet", "model", "loss", "utils")


def reference_step(folder: Path, device: str = "cpu") -> Callable[[Tensor, Tensor, Tensor], None]:
    """Return a training step of the checkout's network and loss: (view 1, view 2, labels in [0, 7)) → None.

    Raises:
        FileNotFoundError: If the checkout has not the files above.
    """
    source = folder / "src" if (folder / "src").is_dir() else folder
    missing = [f"{name}.py" for name in _FILES if not (source / f"{name}.py").is_file()]
    if missing:
        raise FileNotFoundError(f"Expected {', '.join(missing)} in {source}: give the folder of the checkout.")
    with _importable(source) as modules:
        model = _build(modules).to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-4)

    def step(view1: Tensor, view2: Tensor, label: Tensor) -> None:
        logits, maps1 = model(view1)
        _, maps2 = model(view2)
        grid = modules["utils"].generate_flip_grid(maps1.shape[-1], maps1.shape[-2], torch.device(device))
        loss = F.cross_entropy(logits, label) + 5 * modules["loss"].ACLoss(maps1, maps2, grid, logits)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def _build(modules: dict[str, Any]) -> nn.Module:
    """Build the checkout's network on random weights, which it wants to read from a file."""
    resnet = modules["resnet"]
    arrays = {key: value.numpy() for key, value in resnet.ResNet(resnet.Bottleneck, [3, 4, 6, 3]).state_dict().items()}
    with tempfile.NamedTemporaryFile(suffix=".pkl") as file:
        file.write(pickle.dumps(arrays))
        file.flush()
        built: nn.Module = modules["model"].Model(Namespace(resnet50_path=file.name))
    return built


@contextmanager
def _importable(source: Path) -> Iterator[dict[str, Any]]:
    """Import the checkout's files by their own names, and leave no trace of them among the modules."""
    before = {name: sys.modules.pop(name, None) for name in _FILES}
    without = importlib.util.find_spec("cv2") is None
    if without:
        sys.modules["cv2"] = ModuleType("cv2")  # only its reading of pictures needs it
    sys.path.insert(0, str(source))
    try:
        yield {name: importlib.import_module(name) for name in _FILES}
    finally:
        sys.path.remove(str(source))
        for name in _FILES:
            sys.modules.pop(name, None)
        sys.modules.update({name: module for name, module in before.items() if module is not None})
        if without:
            del sys.modules["cv2"]
