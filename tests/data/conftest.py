from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeFolder = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Write random pictures as ``root/<split>/<class>/<number>.png``."""

    def make(
        counts: dict[str, int] | None = None,
        classes: tuple[str, ...] = ("anger", "happiness", "sadness"),
        name: str = "data",
        size: int = 12,
        colour: bool = False,
    ) -> Path:
        rng = np.random.default_rng(0)
        shape = (size, size, 3) if colour else (size, size)
        for split, count in (counts or {"train": 10, "val": 4, "test": 5}).items():
            for label in classes:
                folder = tmp_path / name / split / label
                folder.mkdir(parents=True)
                for number in range(count):
                    picture = Image.fromarray(rng.integers(0, 256, shape, np.uint8))
                    picture.save(folder / f"{number:03d}.png")
        return tmp_path / name

    return make
