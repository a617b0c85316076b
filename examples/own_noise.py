"""A noise model of your own: a faint expression is called neutral, a clear one hardly ever.

Wrong labels that depend on the picture are what annotators really make. Run it with

    python examples/own_noise.py
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytorch_lightning as L

from eac_lightning import ClassificationModule, SyntheticFERDataModule
from eac_lightning.labels.noise import LabelNoise, Labels


class FaintLooksNeutral(LabelNoise):
    """Calls a face neutral with probability ``strength * (1 - intensity)`` of its expression."""

    def __init__(self, table: str, strength: float = 1.0) -> None:  # plain values, so that a recipe can give them
        self.table = table
        self.strength = strength

    def corrupt(
        self, labels: Labels, class_names: Sequence[str], rng: np.random.Generator, paths: Sequence[str]
    ) -> Labels:
        faces = pd.read_csv(self.table, index_col="path")  # the table that is written beside synthetic faces
        faint = 1 - faces.loc[list(paths), "intensity"].to_numpy()
        mistaken = rng.random(len(labels)) < self.strength * faint  # rng alone: one seed, one draw
        return np.where(mistaken, class_names.index("neutral"), labels)


def main(root: Path = Path("runs/examples"), epochs: int = 10, faces: int = 1200) -> None:
    L.seed_everything(0)
    data = SyntheticFERDataModule(
        root / "faces_with_neutral",
        count=faces,
        size=48,
        image_size=48,
        batch_size=16,
        classes=["happiness", "surprise", "neutral"],
        augment="flip",
        noise=FaintLooksNeutral(str(root / "faces_with_neutral" / "synthetic.csv")),
    )
    module = ClassificationModule(backbone="resnet8", lr=2e-3)
    trainer = L.Trainer(max_epochs=epochs, default_root_dir=root / "own_noise", logger=False)
    trainer.fit(module, data)

    train = data.annotations.table.query("split == 'train'")
    clean, given = (train[column].map(dict(enumerate(data.class_names))) for column in ("clean_label", "label"))
    print(pd.crosstab(clean, given, rownames=["clean"], colnames=["given"]))
    print(f"Wrong labels that were memorised: {trainer.callback_metrics['train/memorized']:.1%}")


if __name__ == "__main__":
    main()
