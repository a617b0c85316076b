import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from eac_lightning._lightning import L
from eac_lightning.callbacks.confusion import ConfusionMatrixCallback
from eac_lightning.errors import ConfigurationError

MakeTrainer = Callable[..., L.Trainer]
Loader = Callable[..., DataLoader]


def read_counts(path: Path) -> list[list[int]]:
    header, *rows = list(csv.reader(path.open()))
    assert header == ["true \\ predicted", "anger", "fear", "happiness"]
    assert [row[0] for row in rows] == header[1:]
    return [[int(count) for count in row[1:]] for row in rows]


def expected_counts(module: L.LightningModule, loader: DataLoader) -> list[list[int]]:
    counts = torch.zeros(3, 3, dtype=torch.long)
    with torch.no_grad():
        for batch in loader:
            for label, predicted in zip(batch["label"], module.eval()(batch["image"]).argmax(1), strict=True):
                counts[label, predicted] += 1
    return counts.tolist()


@pytest.mark.parametrize(("verb", "split"), [("validate", "val"), ("test", "test")])
def test_counts_and_picture_of_an_evaluation(
    module: L.LightningModule, make_trainer: MakeTrainer, loader: Loader, tmp_path: Path, verb: str, split: str
) -> None:
    faces = loader(11)
    getattr(make_trainer(ConfusionMatrixCallback()), verb)(module, faces)
    counts = read_counts(tmp_path / f"confusion_matrix_{split}.csv")
    assert counts == expected_counts(module, faces)
    assert sum(map(sum, counts)) == 11
    with Image.open(tmp_path / "pictures" / f"confusion_matrix_{split}.png") as picture:
        assert picture.width > 300


def test_a_fit_leaves_the_counts_of_its_last_epoch(
    module: L.LightningModule, make_trainer: MakeTrainer, loader: Loader, tmp_path: Path
) -> None:
    validation = loader(11)
    make_trainer(ConfusionMatrixCallback(every_n_epochs=2), max_epochs=3).fit(module, loader(), validation)
    path = tmp_path / "confusion_matrix_val.csv"
    assert read_counts(path) == expected_counts(module, validation)


def test_it_is_written_every_n_epochs_and_at_the_end(
    module: L.LightningModule,
    make_trainer: MakeTrainer,
    loader: Loader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    titles: list[str] = []
    callback = ConfusionMatrixCallback(every_n_epochs=2)
    write = callback._write

    def note(*args: Any) -> None:
        titles.extend([] if callback._newest is None else [callback._newest[1]])
        write(*args)

    monkeypatch.setattr(callback, "_write", note)
    make_trainer(callback, max_epochs=5).fit(module, loader(), loader(6))
    assert titles == ["Validation · epoch 1", "Validation · epoch 3", "Validation · epoch 4"]


def test_a_fit_without_validation_writes_nothing(
    module: L.LightningModule, make_trainer: MakeTrainer, loader: Loader, tmp_path: Path
) -> None:
    make_trainer(ConfusionMatrixCallback(), max_epochs=1).fit(module, loader())
    assert not list(tmp_path.glob("confusion*"))


def test_the_logged_figures_are_those_of_the_counts(
    module: L.LightningModule, make_trainer: MakeTrainer, loader: Loader, tmp_path: Path
) -> None:
    trainer = make_trainer(ConfusionMatrixCallback())
    (figures,) = trainer.test(module, loader(11), verbose=False)
    counts = torch.tensor(read_counts(tmp_path / "confusion_matrix_test.csv"))
    assert figures["test/accuracy"] == pytest.approx(float(counts.trace() / counts.sum()))


def test_a_fast_dev_run_writes_nothing(
    module: L.LightningModule, make_trainer: MakeTrainer, loader: Loader, tmp_path: Path
) -> None:
    make_trainer(ConfusionMatrixCallback(), fast_dev_run=True).fit(module, loader(), loader(6))
    assert not list(tmp_path.glob("*confusion*"))


def test_numbers_below_one_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="every_n_epochs to be at least 1, but got -1"):
        ConfusionMatrixCallback(every_n_epochs=-1)


def test_another_module_is_refused(make_trainer: MakeTrainer, loader: Loader) -> None:
    class Other(L.LightningModule):
        def test_step(self, batch: Any) -> None: ...

    with pytest.raises(ConfigurationError, match="ConfusionMatrixCallback needs a FERModule"):
        make_trainer(ConfusionMatrixCallback()).test(Other(), loader())
