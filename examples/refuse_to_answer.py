"""Knowing when not to answer: how sure a network may be, and what is not like the faces that it was trained on.

``CalibrationCallback`` and ``OODCallback`` do this when training ends, and ``eac infer`` goes by it; here by hand.

    python examples/refuse_to_answer.py
"""

from pathlib import Path

import pytorch_lightning as L
import torch

from eac_lightning import ClassificationModule, RelativeMahalanobis, SyntheticFERDataModule, TemperatureScaling
from eac_lightning.calibration import expected_calibration_error, threshold_for_accuracy

CLASSES = ["anger", "happiness", "surprise"]


def main(root: Path = Path("runs/examples"), epochs: int = 12, faces: int = 1200) -> None:
    root = root / "refuse_to_answer"
    L.seed_everything(0)
    data = SyntheticFERDataModule(root / "faces", count=faces, size=48, image_size=48, batch_size=16, classes=CLASSES)
    module = ClassificationModule(backbone="resnet8", lr=2e-3)
    L.Trainer(max_epochs=epochs, default_root_dir=root, logger=False).fit(module, data)

    labels, logits, features = {}, {}, {"noise": module.eval().features(torch.rand(200, 3, 48, 48)).detach()}
    for split in ("train", "val", "test"):
        dataset = data.dataset(split)
        batch = dataset[range(len(dataset))]  # "image" (N, 3, H, W), "label" (N,)
        labels[split] = batch["label"]
        with torch.no_grad():
            logits[split], features[split] = module(batch["image"]), module.features(batch["image"])

    scaling = TemperatureScaling().fit(logits["val"], labels["val"])  # on faces that training has not seen
    before, after = logits["test"].softmax(1), scaling(logits["test"]).softmax(1)
    errors = [expected_calibration_error(probabilities, labels["test"]) for probabilities in (before, after)]
    print(f"temperature {scaling.temperature:.2f}: calibration error {errors[0]:.1%} before, {errors[1]:.1%} after")

    confidence, predicted = scaling(logits["val"]).softmax(1).max(1)
    least = threshold_for_accuracy(confidence, predicted == labels["val"], accuracy=0.97)
    confidence, predicted = after.max(1)
    answered = confidence >= least
    right = (predicted == labels["test"])[answered].float().mean()
    print(f"answered from a confidence of {least:.2f}: {answered.float().mean():.1%}, of them right {right:.1%}")

    score = RelativeMahalanobis(shrinkage=0.01).fit(features["train"], labels["train"])
    limit = score.score(features["val"]).quantile(0.95)  # accepts 95 % of the faces
    for name in ("test", "noise"):
        refused = (score.score(features[name]) > limit).float().mean()
        print(f"{name}: {refused:.1%} refused as not like the training data")


if __name__ == "__main__":
    main()
