import pickle
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import Dataset

from eac_lightning.data.dataset import FaceDataset
from eac_lightning.data.unlabelled import WithUnlabelled
from eac_lightning.types import Batch

SHAPE = (4, 3, 64, 64)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pixels"
    path.write_bytes(np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8).tobytes())
    return path


def mapped(path: Path) -> np.ndarray:
    return np.memmap(path, np.uint8, "c", shape=SHAPE)


def faces(images: np.ndarray) -> FaceDataset:
    return FaceDataset(images, np.arange(len(images)), np.arange(len(images)))


def with_unlabelled(images: np.ndarray) -> WithUnlabelled:
    return WithUnlabelled(faces(np.zeros((1, 1, 64, 64), np.uint8)), images)


@pytest.mark.parametrize("make", [faces, with_unlabelled])
def test_the_pixels_of_a_file_are_mapped_again(file: Path, make: type[Dataset[Batch]]) -> None:
    dataset = make(mapped(file))
    content = pickle.dumps(dataset)
    assert len(content) < file.stat().st_size / 4
    again = pickle.loads(content)
    everything = list(range(len(dataset)))
    assert (again[everything]["image"] == dataset[everything]["image"]).all()
    assert len(pickle.dumps(again)) == len(content)


def remove(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    (path.parent / "other").write_bytes(bytes(path.stat().st_size))
    (path.parent / "other").replace(path)


@pytest.mark.parametrize("change", [remove, replace])
def test_those_of_a_file_that_is_gone_are_copied(file: Path, change: type[None]) -> None:
    dataset = faces(mapped(file))
    expected = dataset.images.clone()  # type: ignore[union-attr]
    change(file)  # type: ignore[call-arg]
    assert (pickle.loads(pickle.dumps(dataset)).images == expected).all()
    if not file.exists():
        file.write_bytes(b"")
    assert (pickle.loads(pickle.dumps(dataset)).images == expected).all()


@pytest.mark.parametrize("part", [lambda images: np.array(images), lambda images: images[1:3]])
def test_those_in_ram_and_parts_of_a_file_are_copied(file: Path, part: type[np.ndarray]) -> None:
    images = part(mapped(file))
    assert (pickle.loads(pickle.dumps(faces(images))).images.numpy() == images).all()
