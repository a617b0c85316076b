"""Which labels are wrong: train with an audit, look at the suspects, correct them, train again.

Here the corrections are the audit's own suggestions; make better ones in gallery.html, which saves such a file too.

    python examples/audit_labels.py
"""

from pathlib import Path

import numpy as np
import pytorch_lightning as L
from PIL import Image

from eac_lightning import ClassificationModule, LabelAuditCallback, SymmetricNoise, SyntheticFERDataModule
from eac_lightning.audit.table import read_audit
from eac_lightning.labels.gallery import write_gallery

CLASSES = ["happiness", "surprise"]


def train(folder: Path, faces: Path, count: int, epochs: int, corrections: str | None = None) -> None:
    L.seed_everything(0)
    data = SyntheticFERDataModule(
        faces, count=count, size=48, image_size=48, batch_size=16, classes=CLASSES, augment="flip",
        noise=SymmetricNoise(0.2), label_overrides=corrections,
    )  # fmt: skip
    module = ClassificationModule(backbone="resnet8", lr=2e-3)
    trainer = L.Trainer(max_epochs=epochs, default_root_dir=folder, logger=False, callbacks=[LabelAuditCallback()])
    trainer.fit(module, data)
    (test,) = trainer.test(module, data, verbose=False)
    rows = read_audit(folder)  # index, path, given, suggested, score, suspect, ..., clean where it is known
    wrong = rows["given"].astype(str) != rows["clean"]
    print(f"{folder.name}: {wrong.sum()} of {len(rows)} labels are wrong, test accuracy {test['test/accuracy']:.1%}")


def main(root: Path = Path("runs/examples"), epochs: int = 10, faces: int = 1200) -> None:
    first, second = root / "audit_labels" / "as_given", root / "audit_labels" / "corrected"
    train(first, root / "faces", faces, epochs)

    rows = read_audit(first)
    suspects = rows[rows["suspect"]].sort_values("score", ascending=False)
    found = suspects["given"].astype(str) != suspects["clean"]
    print(f"{len(suspects)} suspects, of which {found.sum()} are wrong")
    paths = rows.set_index("index")["path"]
    write_gallery(
        first / "gallery.html", rows, CLASSES, lambda index: np.asarray(Image.open(root / "faces" / paths[index]))
    )

    corrections = first / "corrections.csv"
    suspects[["path", "suggested"]].set_axis(["path", "label"], axis=1).to_csv(corrections, index=False)
    train(second, root / "faces", faces, epochs, str(corrections))


if __name__ == "__main__":
    main()
