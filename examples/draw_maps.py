"""Maps as pictures: what speaks for each expression in a face, and where a face and its mirror image disagree.

A checkpoint is all it takes; without one, a small network is trained first. Run it with

    python examples/draw_maps.py
"""

from pathlib import Path

import numpy as np
import pytorch_lightning as L
import torch
from PIL import Image

from eac_lightning import EACModule, SyntheticFERDataModule, load_module
from eac_lightning.maps.explain import explain
from eac_lightning.visualization import cam_panel, overlay


def main(
    root: Path = Path("runs/examples"), epochs: int = 6, faces: int = 1200, checkpoint: Path | None = None
) -> None:
    L.seed_everything(0)
    data = SyntheticFERDataModule(
        root / "faces", count=faces, size=48, image_size=48, batch_size=16, classes=["happiness", "surprise"]
    )
    folder = root / "draw_maps"
    if checkpoint is None:
        trainer = L.Trainer(max_epochs=epochs, default_root_dir=folder, logger=False)
        trainer.fit(EACModule(backbone="resnet8", consistency_weight=1.0, lr=2e-3), data)
        checkpoint = Path(trainer.checkpoint_callback.best_model_path)

    module = load_module(checkpoint)  # knows its classes, its backbone and its image size
    data.prepare_data()
    test = data.dataset("test")
    batch = module.unpack(test[np.linspace(0, len(test) - 1, 6, dtype=int).tolist()])  # six faces in [0, 1]
    image = batch["image"]

    # By hand: the face, then the evidence for each class laid over it.
    with torch.no_grad():
        maps = module.attention_maps(image)  # (N, K, h, w)
    plain = (image * 255).byte().permute(0, 2, 3, 1).numpy()
    rows = [np.hstack([plain[n], *(overlay(image[n], one) for one in maps[n])]) for n in range(len(image))]
    sheet = Image.fromarray(np.vstack(rows))
    sheet.resize((sheet.width * 3, sheet.height * 3), Image.Resampling.BICUBIC).save(folder / "classes.png")

    # Ready made: labels, confidence, the mirrored twin, and where the two disagree.
    samples = explain(module, image, given=batch["label"], clean=batch.get("clean_label"))
    Image.fromarray(cam_panel(samples, module.class_names)).save(folder / "panel.png")
    print(f"Columns of {folder / 'classes.png'}: face, {', '.join(module.class_names)}")
    print(f"Wrote {folder / 'panel.png'}")


if __name__ == "__main__":
    main()
