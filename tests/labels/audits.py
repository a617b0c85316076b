"""An audit made by hand, and the folder of faces that it is about."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image


def make_audit(
    paths: Sequence[str], given: Sequence[str], suggested: Sequence[str], classes: Sequence[str]
) -> pd.DataFrame:
    """The first path is the worst; the probability of what is suggested is 0.7."""
    count = len(paths)
    rest = 0.3 / (len(classes) - 1)
    audit = pd.DataFrame({"index": np.arange(count), "path": paths, "given": given, "suggested": suggested})
    for name in classes:
        audit[f"p_{name}"] = np.where(audit["suggested"] == name, 0.7, rest).astype(np.float32)
    return audit.assign(
        p_given=rest,
        loss=-np.log(rest),
        score=np.linspace(9, 1, count),
        suspect=True,
        confidence=np.linspace(0.9, 0.5, count),
    )


def write_faces(root: Path, paths: Sequence[str], given: Sequence[str], classes: Sequence[str], size: int = 16) -> None:
    """Faces whose classes differ in brightness, with a table of their labels; two of each class to validate on."""
    rng = np.random.default_rng(0)
    validation = [(f"val/{name}/{i}.png", name) for name in classes for i in range(2)]
    for path, name in [*zip(paths, given, strict=True), *validation]:
        pixels = rng.integers(0, 60, (size, size, 3)) + 60 * list(classes).index(name)
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(root / path)
    table = pd.DataFrame({"path": paths, "label": given, "split": "train"})
    table = pd.concat([table, pd.DataFrame(validation, columns=["path", "label"]).assign(split="val")])
    table.to_csv(root / "labels.csv", index=False)
