"""A method of your own: EAC whose consistency weight ramps up, so that the network first learns to see.

Only ``compute_loss`` is yours; batches, seeds, metrics, validation and checkpoints stay EACModule's. Run it with

    python examples/subclass_eac.py
"""

from pathlib import Path
from typing import Any

import pytorch_lightning as L
import torch

from eac_lightning import EACModule, SyntheticFERDataModule, attention_consistency, load_module
from eac_lightning.types import StepOutput


class RampedEAC(EACModule):
    """EAC whose consistency weight rises from 0 to ``consistency_weight`` over the first ``ramp_epochs``."""

    def __init__(self, ramp_epochs: int = 4, **options: Any) -> None:
        super().__init__(**options)  # saves every argument, yours too, in self.hparams and in the checkpoint

    def compute_loss(self, batch: Any) -> StepOutput:
        faces = self.unpack(batch)  # a dict or a tuple, uint8 or float: from here on float RGB in [0, 1]
        view1, view2 = self.views(faces["image"])  # erased, and erased and mirrored
        logits, maps1 = self.model.logits_and_maps(self.model.feature_map(view1))
        maps2 = self.model.maps(self.model.feature_map(view2))
        classification = self.classification_loss(logits, faces["label"])
        consistency = attention_consistency(maps1, maps2)
        weight = self.hparams["consistency_weight"] * min(1.0, self.current_epoch / self.hparams["ramp_epochs"])
        logs = {"consistency": consistency.detach(), "consistency_weight": torch.tensor(weight)}
        return StepOutput(classification + weight * consistency, logits, logs)  # logged as train/consistency …


def main(root: Path = Path("runs/examples"), epochs: int = 6, faces: int = 1200) -> None:
    L.seed_everything(0)
    data = SyntheticFERDataModule(
        root / "faces", count=faces, size=48, image_size=48, batch_size=16, classes=["happiness", "surprise"]
    )
    module = RampedEAC(ramp_epochs=4, backbone="resnet8", lr=2e-3)
    trainer = L.Trainer(max_epochs=epochs, default_root_dir=root / "subclass_eac", logger=False)
    trainer.fit(module, data)

    logged = trainer.callback_metrics
    print(f"Consistency weight in the last epoch: {logged['train/consistency_weight']:.2f}")
    print(f"Validation accuracy: {logged['val/accuracy']:.1%}")
    checkpoint = trainer.checkpoint_callback.best_model_path
    print(f"{checkpoint} holds a {type(load_module(checkpoint)).__name__}.")


if __name__ == "__main__":
    main()
