"""Small things that many tests need: a tiny backbone, and faces on disk."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from eac_lightning.data.layouts import fer2013, ferplus
from eac_lightning.models import backbones

CLASSES = ("anger", "happiness", "neutral")
_numbers = itertools.count()


class TinyBackbone(nn.Module):
    """Two convolutions with batch norm; (N, 8, H/4, W/4)."""

    num_features = 8
    output_stride = 4

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()
        )

    def forward_features(self, image: Tensor) -> Tensor:
        features: Tensor = self.layers(image)
        return features


@pytest.fixture(autouse=True)
def _tiny_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the backbone ``tiny``, and give the registry, seeds and threads back afterwards."""
    monkeypatch.setattr(backbones, "_registry", {**backbones._registry, "tiny": TinyBackbone})
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)


@pytest.fixture(autouse=True, scope="session")
def _caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep decoded pictures out of the user's cache, also those of fixtures that many tests share."""
    folder = tmp_path_factory.mktemp("caches")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EAC_LIGHTNING_CACHE", str(folder / "shared"))
        yield folder


@pytest.fixture(autouse=True)
def _cache(_caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a cache of its own, which is made when something is stored."""
    monkeypatch.setenv("EAC_LIGHTNING_CACHE", str(_caches / str(next(_numbers))))


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A folder {train,val,test}/<class>/*.png whose classes differ in brightness, so that they can be learned."""
    return make_faces(tmp_path / "faces")


def make_faces(root: Path, per_class: tuple[int, int, int] = (8, 4, 4), size: int = 16) -> Path:
    rng = np.random.default_rng(0)
    for split, count in zip(("train", "val", "test"), per_class, strict=True):
        for label, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 60, (size, size, 3)) + 90 * label
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    return root


def make_fer2013(
    root: Path, faces: Sequence[tuple[str, dict[str, int]]], usages: Sequence[str] = ("Training",)
) -> Path:
    """Write fer2013.csv with these labels, beside fer2013new.csv with these votes; usages take turns."""
    rng = np.random.default_rng(0)
    pixels, votes = ["emotion,pixels,Usage"], [f"Usage,Image name,{','.join(ferplus.COLUMNS)}"]
    for number, (given, counts) in enumerate(faces):
        usage = usages[number % len(usages)]
        face = " ".join(map(str, rng.integers(0, 256, fer2013.SIDE**2)))
        pixels.append(f"{fer2013.CLASSES.index(given)},{face},{usage}")
        votes.append(f"{usage},{number}.png,{','.join(str(counts.get(name, 0)) for name in ferplus.COLUMNS)}")
    root.mkdir(exist_ok=True)
    (root / "fer2013.csv").write_text("\n".join(pixels))
    (root / "fer2013new.csv").write_text("\n".join(votes))
    return root


def batch(samples: int = 6, classes: int = 3, size: int = 16, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "image": torch.rand(samples, 3, size, size, generator=generator),
        "label": torch.randint(classes, (samples,), generator=generator),
    }
