from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from eac_lightning._lightning import L
from eac_lightning.models.classifier import CAMClassifier
from eac_lightning.modules import ClassificationModule

CLASSES = ["anger", "fear", "happiness"]


class TinyBackbone(nn.Module):
    num_features = 6

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 6, 1)
        )

    def forward_features(self, image: Tensor) -> Tensor:
        return self.layers(image)


class TinyModule(ClassificationModule):
    def __init__(self) -> None:
        super().__init__(class_names=CLASSES)

    def configure_models(self) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.model = CAMClassifier(TinyBackbone(), self.num_classes)


class Faces(Dataset):
    """Face i shows class ``i % 3``; every second one is given the next class's label."""

    def __init__(self, count: int, form: str) -> None:
        self.images = torch.randint(0, 256, (count, 3, 16, 16), generator=torch.Generator().manual_seed(count))
        self.form = form

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> object:
        image, clean = self.images[index].to(torch.uint8), index % 3
        label = (clean + index % 2) % 3
        if self.form == "tuple":
            return image, label
        if self.form == "image":
            return image
        return {"image": image, "label": label, "clean_label": clean, "index": index}


def loader(count: int = 12, form: str = "dict", batch_size: int = 4) -> DataLoader:
    return DataLoader(Faces(count, form), batch_size=batch_size)


@pytest.fixture(name="loader")
def loader_fixture() -> Callable[..., DataLoader]:
    return loader


@pytest.fixture
def module() -> TinyModule:
    return TinyModule()


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., L.Trainer]:
    def make(*callbacks: L.Callback, **options: object) -> L.Trainer:
        defaults = {
            "max_epochs": 2,
            "logger": False,
            "accelerator": "cpu",
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": tmp_path,
            "num_sanity_val_steps": 1,
        }
        return L.Trainer(**(defaults | options), callbacks=list(callbacks))  # type: ignore[arg-type]

    return make
