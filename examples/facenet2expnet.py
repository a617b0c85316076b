"""FaceNet2ExpNet: a network that knows faces teaches a small one, which then needs few labels; EAC may refine it.

Here the teacher learns six expressions of synthetic faces, and the student two others, with few labels. In earnest the
teacher is a face-recognition network (``teacher="mobilefacenet", teacher_weights="mobilefacenet.pt"``). It takes two
minutes; run it with

    python examples/facenet2expnet.py
"""

from pathlib import Path

import pytorch_lightning as L

from eac_lightning import ClassificationModule, EACModule, FaceNet2ExpNetModule, SyntheticFERDataModule

TEACHER = ["neutral", "sadness", "anger", "disgust", "fear", "contempt"]


def main(root: Path = Path("runs/examples"), epochs: int = 10, faces: int = 1200) -> None:
    def fit(module: L.LightningModule, data: L.LightningDataModule, length: int) -> L.Trainer:
        trainer = L.Trainer(max_epochs=length, default_root_dir=folder, logger=False, enable_checkpointing=False)
        trainer.fit(module, data)
        return trainer

    L.seed_everything(0)
    folder = root / "facenet2expnet"
    size = {"size": 48, "image_size": 48, "batch_size": 16}
    expressions = SyntheticFERDataModule(root / "six", count=3 * faces, classes=TEACHER, **size)
    teacher = ClassificationModule(backbone="resnet8", lr=2e-3)
    fit(teacher, expressions, epochs).save_checkpoint(folder / "teacher.ckpt")

    few = SyntheticFERDataModule(
        root / "faces",
        count=faces,
        classes=["happiness", "surprise"],
        per_class=10,  # labels; stage 1 needs none, and may read any faces
        unlabelled_root=str(root / "six" / "train"),
        **size,
    )
    method = FaceNet2ExpNetModule(
        teacher="resnet8", teacher_weights=str(folder / "teacher.ckpt"), stage1_epochs=epochs, student_width=16
    )
    trained = {"FaceNet2ExpNet": method, "from scratch": ClassificationModule(backbone="expnet", lr=1e-3)}
    length = {"FaceNet2ExpNet": 2 * epochs}
    student = {"backbone": "expnet", "weights": str(folder / "student.safetensors")}
    for name in ("FaceNet2ExpNet", "from scratch", "FaceNet2ExpNet, then EAC"):
        # The student of stage 1 is a file of weights that any module takes.
        module = trained.get(name) or EACModule(lr=1e-3, consistency_weight=1.0, **student)
        trainer = fit(module, few, length.get(name, epochs))
        (test,) = trainer.test(module, few, verbose=False)
        print(f"{name}: test accuracy {test['test/accuracy']:.1%}")


if __name__ == "__main__":
    main()
