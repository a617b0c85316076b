"""Everything in plain Python: the same noisy faces, once with cross-entropy and once with EAC.

A DataModule, a module and a Trainer are all it takes; any of the three can be yours. Run it with

    python examples/without_cli.py
"""

from pathlib import Path

import pytorch_lightning as L

from eac_lightning import ClassificationModule, EACModule, SymmetricNoise, SyntheticFERDataModule


def main(root: Path = Path("runs/examples"), epochs: int = 10, faces: int = 1200) -> None:
    data = SyntheticFERDataModule(  # for a folder of your own: FERDataModule("path/to/faces")
        root / "faces",
        count=faces,
        size=48,
        image_size=48,
        batch_size=16,
        classes=["happiness", "surprise"],
        augment="flip",
        noise=SymmetricNoise(0.2),  # in the training split only; validation and test judge by the clean labels
    )
    # From random weights and few faces, EAC's default weight of 5 learns nothing for many epochs.
    methods = {ClassificationModule: {}, EACModule: {"consistency_weight": 1.0}}
    figures = {}
    for method, options in methods.items():
        L.seed_everything(0)  # both start from the same weights
        module = method(backbone="resnet8", lr=2e-3, **options)  # learns the classes from the data
        trainer = L.Trainer(max_epochs=epochs, default_root_dir=root / "without_cli" / method.__name__, logger=False)
        trainer.fit(module, data)
        memorized = trainer.callback_metrics["train/memorized"].item()
        (test,) = trainer.test(module, data, verbose=False)
        figures[method.__name__] = (test["test/accuracy"], test["test/mean_class_accuracy"], memorized)

    print(f"{'':22}accuracy  mean-class  memorised")
    for name, (accuracy, mean_class, memorized) in figures.items():
        print(f"{name:22}{accuracy:8.1%}  {mean_class:10.1%}  {memorized:9.1%}")


if __name__ == "__main__":
    main()
