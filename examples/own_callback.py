"""A callback of your own: it reads what a module logs and predicts, and names the labels that the network doubts.

Every batch carries the index of its faces, so anything you collect finds back to its picture. Run it with

    python examples/own_callback.py
"""

from pathlib import Path
from typing import Any

import pytorch_lightning as L

from eac_lightning import ClassificationModule, SymmetricNoise, SyntheticFERDataModule


class DoubtedLabels(L.Callback):
    """Prints the ten faces whose given label the network finds least likely."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, int, int]] = []

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        memorized = trainer.callback_metrics["train/memorized"]
        print(f"epoch {trainer.current_epoch}: {memorized:.0%} of the wrong labels memorised")

    def on_predict_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int, loader: int = 0
    ) -> None:
        probabilities = outputs["probabilities"]
        likely, predicted = probabilities.gather(1, outputs["label"][:, None])[:, 0], probabilities.argmax(1)
        self.seen += zip(likely.tolist(), predicted.tolist(), outputs["index"].tolist(), strict=True)

    def on_predict_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        table, names = trainer.datamodule.annotations.table, trainer.datamodule.class_names
        train = [face for face in sorted(self.seen) if table["split"][face[2]] == "train"]
        for likely, predicted, index in train[:10]:
            path, label = table["path"][index], names[table["label"][index]]
            print(f"doubted: {path} is labelled {label} ({likely:.0%}), looks like {names[predicted]}")
        wrong = [table["label"][index] != table["clean_label"][index] for *_, index in train]
        print(f"{sum(wrong[:10])} of these 10 are wrong, and {sum(wrong)} of all {len(wrong)} training labels.")


def main(root: Path = Path("runs/examples"), epochs: int = 10, faces: int = 1200) -> None:
    L.seed_everything(0)
    classes, noise = ["happiness", "surprise"], SymmetricNoise(0.2)
    data = SyntheticFERDataModule(
        root / "faces", count=faces, size=48, image_size=48, batch_size=16, classes=classes, augment="flip", noise=noise
    )
    module = ClassificationModule(backbone="resnet8", lr=2e-3)
    folder = root / "own_callback"
    trainer = L.Trainer(max_epochs=epochs, default_root_dir=folder, logger=False, callbacks=[DoubtedLabels()])
    trainer.fit(module, data)
    trainer.predict(module, data, return_predictions=False)


if __name__ == "__main__":
    main()
