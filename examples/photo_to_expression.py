"""From a photograph to expressions: find every face, cut it out as in training, predict, and draw what was found.

A checkpoint and a photograph are all it takes; without them, a small network is trained and a group of synthetic
faces stands for a photograph. Run it with

    python examples/photo_to_expression.py
"""

from pathlib import Path

import pytorch_lightning as L
from PIL import Image

from eac_lightning import ClassificationModule, Predictor, SyntheticFERDataModule
from eac_lightning.faces.alignment import Alignment
from eac_lightning.faces.synthetic import contact_sheet
from eac_lightning.visualization.annotated_photo import annotated_photo


def main(
    root: Path = Path("runs/examples"),
    epochs: int = 6,
    faces: int = 1200,
    checkpoint: Path | None = None,
    photograph: Path | None = None,
) -> None:
    L.seed_everything(0)
    classes = ["happiness", "surprise"]
    folder = root / "photo_to_expression"
    if checkpoint is None:
        data = SyntheticFERDataModule(
            root / "faces", count=faces, size=48, image_size=48, batch_size=16, classes=classes
        )
        trainer = L.Trainer(max_epochs=epochs, default_root_dir=folder, logger=False)
        trainer.fit(ClassificationModule(backbone="resnet8", lr=2e-3), data)
        checkpoint = Path(trainer.checkpoint_callback.best_model_path)
    if photograph is None:
        photograph = folder / "group.png"
        Image.fromarray(contact_sheet(rows=2, columns=classes, size=192)).save(photograph)

    # Synthetic faces are not cut out of photographs, so the checkpoint cannot say how: left out, `alignment` is what
    # the training data were aligned with.
    predictor = Predictor.from_checkpoint(checkpoint, alignment=Alignment("box", margin=0.1), min_confidence=0.6)
    prediction = predictor(photograph)  # a list of pictures gives a list; predictor.stream takes any number of them
    for number, face in enumerate(prediction.faces):
        box = ", ".join(f"{value:.0f}" for value in face.box)
        probabilities = ", ".join(f"{name} {value:.0%}" for name, value in face.probabilities.items())
        print(f"face {number} at ({box}): {face.expression} ({probabilities})")
    annotated = annotated_photo(Image.open(photograph), prediction.faces)
    Image.fromarray(annotated).save(folder / "annotated.png")
    print(f"Wrote {folder / 'annotated.png'}")


if __name__ == "__main__":
    main()
