"""Out-of-sample answers: who was trained on what, and what is kept of a finished fold."""

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import yaml
from torch import Tensor

from eac_lightning._lightning import L
from eac_lightning.audit.folds import audit_folds
from eac_lightning.audit.observe import prepared
from eac_lightning.audit.record import AuditRecord
from eac_lightning.audit.run import FinishedRun
from eac_lightning.data.datamodule import FERDataModule
from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.labels.noise import SymmetricNoise
from eac_lightning.modules import ClassificationModule
from eac_lightning.runs.folder import CONFIG
from eac_lightning.types import UNKNOWN_LABEL

FOLDS = 3


class Remembering(ClassificationModule):
    """Notes which samples each training has seen; may break off."""

    trained: ClassVar[list[set[int]]] = []
    fails_at: ClassVar[int | None] = None

    def on_fit_start(self) -> None:
        self.trained.append(set())

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        if len(self.trained) == self.fails_at:
            raise KeyboardInterrupt
        self.trained[-1].update(batch["index"].tolist())
        return super().training_step(batch, batch_idx)


class NoFERModule(L.LightningModule):
    """Something else."""


class NoFoldsData(L.LightningDataModule):
    """Data that are whole."""

    def __init__(self, root: str) -> None:
        super().__init__()


class SeedlessData(FERDataModule):
    """Data that take their seed from the run."""

    def __init__(self, root: str, folds: int | None = None, fold: int = 0) -> None:
        super().__init__(root, image_size=16, batch_size=8, folds=folds, fold=fold, noise=SymmetricNoise(0.5))


class NoAuditData(L.LightningDataModule):
    """Data that can be dealt to folds, but not be asked about."""

    def __init__(self, root: str, seed: int = 0, folds: int = 2, fold: int = 0) -> None:
        super().__init__()
        self.faces = FERDataModule(root, image_size=16, batch_size=8, seed=seed, folds=folds, fold=fold)
        self.class_names = self.faces.class_names

    def train_dataloader(self) -> Any:
        return self.faces.train_dataloader()


@pytest.fixture(autouse=True)
def _nothing_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Remembering, "trained", [])
    monkeypatch.setattr(Remembering, "fails_at", None)


def make_run(root: Path, module: type = Remembering, data: type = FERDataModule, **options: Any) -> FinishedRun:
    sizes = {"image_size": 16, "batch_size": 8, "augment": "standard"} if data is FERDataModule else {}
    model = {"backbone": "tiny", "lr": 0.01} if module is Remembering else {}
    config = {
        "seed_everything": 3,
        "data": {"class_path": _path(data), "init_args": {"root": str(root), **sizes, **options}},
        "model": {"class_path": _path(module), "init_args": model},
        "trainer": {"max_epochs": 1, "accelerator": "cpu"},
    }
    (root.parent / CONFIG).write_text(yaml.safe_dump(config))
    return FinishedRun(root.parent)


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def answered(path: Path) -> set[int]:
    return set(torch.nonzero(torch.load(path, weights_only=True)["given"] != UNKNOWN_LABEL)[:, 0].tolist())


def assert_equal(first: AuditRecord, second: AuditRecord) -> None:
    for name, column in first.columns.items():
        torch.testing.assert_close(column, second.columns[name], rtol=0, atol=0, equal_nan=True)


def test_every_sample_is_asked_about_once_by_a_network_that_has_not_seen_it(faces: Path, tmp_path: Path) -> None:
    run = make_run(faces)
    record = audit_folds(run, FOLDS, tmp_path / "folds")
    table = run.data().annotations.table  # type: ignore[attr-defined]
    train = set(table.index[table["split"] == "train"])
    assert len(train) == 24
    assert set(torch.nonzero(record.columns["count"] == 1)[:, 0].tolist()) == train
    assert record.columns["count"].max() == 1
    assert record.epochs == [0]
    assert len(Remembering.trained) == FOLDS
    for number, seen in enumerate(Remembering.trained):
        held_out = answered(tmp_path / "folds" / f"fold_{number}_of_{FOLDS}.pt")
        assert len(held_out) == 8
        assert not seen & held_out
        assert seen | held_out == train
    rows = sorted(train)
    assert record.columns["given"][rows].tolist() == table["label"].loc[rows].tolist()
    assert record.columns["consistency"][rows].isfinite().all()


def test_folds_of_data_without_a_seed_of_their_own_do_not_overlap(faces: Path, tmp_path: Path) -> None:
    run = make_run(faces, data=SeedlessData)
    record = audit_folds(run, FOLDS, tmp_path, mirror=False)
    assert record.columns["count"].sum() == 24
    L.seed_everything(run.seed, verbose=False)
    label = run.data().annotations.table["label"]  # type: ignore[attr-defined]
    seen = torch.nonzero(record.columns["count"])[:, 0].tolist()
    assert record.columns["given"][seen].tolist() == label[seen].tolist()  # one draw of noise in all folds


def test_a_finished_fold_is_kept_and_what_is_missing_comes_out_the_same(faces: Path, tmp_path: Path) -> None:
    run, folder = make_run(faces), tmp_path / "folds"
    Remembering.fails_at = 2
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        audit_folds(run, FOLDS, folder, mirror=False)
    assert [path.name for path in folder.glob("*.pt")] == [f"fold_0_of_{FOLDS}.pt"]
    Remembering.fails_at = None
    kept = (folder / f"fold_0_of_{FOLDS}.pt").read_bytes()
    Remembering.trained.clear()
    resumed = audit_folds(run, FOLDS, folder, mirror=False)
    assert len(Remembering.trained) == FOLDS - 1
    assert (folder / f"fold_0_of_{FOLDS}.pt").read_bytes() == kept
    assert_equal(resumed, audit_folds(run, FOLDS, tmp_path / "anew", mirror=False))
    assert resumed.columns["consistency"].isnan().all()
    assert len(Remembering.trained) == 2 * FOLDS - 1


def test_another_number_of_folds_is_trained_anew(faces: Path, tmp_path: Path) -> None:
    run = make_run(faces)
    audit_folds(run, 2, tmp_path, mirror=False)
    audit_folds(run, 3, tmp_path, mirror=False)
    assert len(Remembering.trained) == 5


def test_faces_are_asked_about_as_they_are(faces: Path, tmp_path: Path) -> None:
    run = make_run(faces)
    module, data = run.module(), run.data(folds=FOLDS, fold=0)
    trainer = run.trainer(tmp_path / "folds")
    trainer.fit(module, datamodule=data)
    trainer.training = True  # as a fit that was broken off leaves it
    assert isinstance(module, Remembering)
    asked = list(prepared(data, module))
    stored = data.dataset("held_out")  # type: ignore[attr-defined]
    images = torch.cat([batch["image"] for batch in asked])
    torch.testing.assert_close(images, stored[list(range(len(stored)))]["image"] / 255)


def test_data_without_an_audit_loader_are_named(faces: Path, tmp_path: Path) -> None:
    class Silent:
        """Has no batches to offer."""

    with pytest.raises(ConfigurationError, match=r"audit_dataloader\(\), .* but Silent has none"):
        next(prepared(Silent(), Remembering(num_classes=3, backbone="tiny")))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="NoAuditData has none"):
        audit_folds(make_run(faces, data=NoAuditData), 2, tmp_path)


def test_data_that_know_no_folds_are_named(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"(?s)Cannot rebuild .*NoFoldsData .*folds"):
        audit_folds(make_run(faces, data=NoFoldsData), 2, tmp_path)


def test_a_module_of_another_kind_is_refused(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="of a FERModule, but the run's module is NoFERModule"):
        audit_folds(make_run(faces, NoFERModule), 2, tmp_path)


def test_there_are_as_many_samples_as_folds_or_more(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least as many pictures as folds, but there are 24 for 25 folds"):
        audit_folds(make_run(faces), 25, tmp_path)
