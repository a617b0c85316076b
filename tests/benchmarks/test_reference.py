"""A checkout of the authors' code is imported by its path and leaves nothing behind."""

import sys
from pathlib import Path

import pytest
import torch
from reference import reference_step
from step import variants

FILES = {
    "resnet.py": """
import torch.nn as nn
class Bottleneck: pass
class ResNet(nn.Module):
    def __init__(self, block, layers):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4)
""",
    "utils.py": """
import cv2
asked = []
def generate_flip_grid(w, h, device):
    asked.append((w, h, str(device)))
    return None
""",
    "loss.py": """
def ACLoss(maps1, maps2, grid, output):
    return (maps1 - maps2.flip(-1)).square().mean()
""",
    "model.py": """
import pickle
import torch
from resnet import *
from utils import asked
class Model(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.net = ResNet(Bottleneck, [3, 4, 6, 3])
        weights = pickle.load(open(args.resnet50_path, "rb"))
        self.net.load_state_dict({key: torch.as_tensor(array) for key, array in weights.items()})
        self.fc = nn.Linear(4, 7)
        self.seen, self.asked = [], asked
        built.append(self)
    def forward(self, x):
        self.seen.append(tuple(x.shape))
        x = self.net.bn1(self.net.conv1(x))
        return self.fc(x.mean((2, 3))), x
built = []
""",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    for name, text in FILES.items():
        (tmp_path / "src" / name).write_text(text)
    return tmp_path


def test_its_network_takes_both_views_and_learns(checkout: Path) -> None:
    before = set(sys.modules), list(sys.path)
    step = reference_step(checkout)
    assert ({"resnet", "model", "loss", "utils", "cv2"} & set(sys.modules), sys.path) == (
        {"resnet", "model", "loss", "utils", "cv2"} & before[0],
        before[1],
    )
    model = next(
        cell.cell_contents for cell in step.__closure__ or () if isinstance(cell.cell_contents, torch.nn.Module)
    )
    weight = model.fc.weight.clone()
    step(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8), torch.tensor([0, 6]))
    assert model.seen == [(2, 3, 8, 8)] * 2
    assert model.asked == [(4, 4, "cpu")]
    assert not torch.equal(model.fc.weight, weight)


def test_it_stands_among_the_variants_of_its_network_only(checkout: Path) -> None:
    assert "reference" in variants("resnet50", 2, 16, checkout)
    assert "reference" not in variants("resnet18", 2, 16, checkout)
    variants("resnet50", 2, 16, checkout)["reference"]()()


def test_a_folder_that_is_no_checkout_is_refused(checkout: Path) -> None:
    (checkout / "src" / "loss.py").unlink()
    with pytest.raises(FileNotFoundError, match=r"Expected loss\.py in"):
        reference_step(checkout)
