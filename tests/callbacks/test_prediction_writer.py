from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor
from torch import distributed as dist
from torch.utils.data import DataLoader

from eac_lightning._lightning import L
from eac_lightning.callbacks.predictions import PredictionWriter, _gathered, _Prediction
from eac_lightning.data.annotations import Annotations
from eac_lightning.errors import ConfigurationError

MakeTrainer = Callable[..., L.Trainer]
Loader = Callable[..., DataLoader]
NAMES = ["anger", "fear", "happiness"]


def probabilities(module: L.LightningModule, loader: DataLoader) -> Tensor:
    with torch.no_grad():
        return torch.cat([module.eval()(batch["image"]) for batch in loader]).softmax(1)


def test_the_table_holds_every_sample_once(
    module: L.LightningModule, make_trainer: MakeTrainer, loader: Loader, tmp_path: Path
) -> None:
    faces = loader(11)
    make_trainer(PredictionWriter()).predict(module, faces, return_predictions=False)
    table = pd.read_csv(tmp_path / "predictions.csv")
    columns = ["index", "label", "predicted", "confidence", "p_anger", "p_fear", "p_happiness"]
    assert table.columns.tolist() == columns
    assert table["index"].tolist() == list(range(11))
    expected = probabilities(module, faces)
    torch.testing.assert_close(torch.tensor(table[columns[4:]].to_numpy()).float(), expected, atol=1e-5, rtol=0)
    assert table["predicted"].tolist() == [NAMES[index] for index in expected.argmax(1)]
    assert table["confidence"].tolist() == pytest.approx(expected.max(1).values.tolist(), abs=1e-5)
    assert table["label"].tolist() == [NAMES[(i % 3 + i % 2) % 3] for i in range(11)]


def test_rows_are_sorted_by_index_and_repeated_samples_written_once(
    module: L.LightningModule, make_trainer: MakeTrainer, loader: Loader, tmp_path: Path
) -> None:
    shuffled = DataLoader(loader(6).dataset, sampler=[4, 0, 2, 4, 1], batch_size=2)
    make_trainer(PredictionWriter()).predict(module, shuffled)
    assert pd.read_csv(tmp_path / "predictions.csv")["index"].tolist() == [0, 1, 2, 4]


def test_batches_without_index_take_the_position_that_the_loader_knows(
    module: L.LightningModule, make_trainer: MakeTrainer, loader: Loader, tmp_path: Path
) -> None:
    backwards = DataLoader(loader(6, "tuple").dataset, sampler=[5, 3, 1], batch_size=2)
    make_trainer(PredictionWriter()).predict(module, backwards)
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert table["index"].tolist() == [1, 3, 5]
    assert "label" in table


def test_images_alone_have_no_label_column(
    module: L.LightningModule, make_trainer: MakeTrainer, loader: Loader, tmp_path: Path
) -> None:
    make_trainer(PredictionWriter()).predict(module, loader(5, "image"))
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert "label" not in table
    assert len(table) == 5


def test_loaders_that_are_no_dataloader_are_counted(
    module: L.LightningModule, make_trainer: MakeTrainer, loader: Loader, tmp_path: Path
) -> None:
    class Batches:
        def __iter__(self) -> Any:
            return iter(loader(6, "tuple"))

    make_trainer(PredictionWriter()).predict(module, Batches())
    assert pd.read_csv(tmp_path / "predictions.csv")["index"].tolist() == list(range(6))


def test_several_loaders_are_refused(
    module: L.LightningModule, make_trainer: MakeTrainer, loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = type(module).predict_step

    def predict_step(self: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        return step(self, batch, batch_idx)

    monkeypatch.setattr(type(module), "predict_step", predict_step)
    with pytest.raises(ConfigurationError, match="Predict one loader at a time"):
        make_trainer(PredictionWriter()).predict(module, [loader(3), loader(2)])


def test_paths_come_from_the_annotations(
    module: L.LightningModule, make_trainer: MakeTrainer, loader: Loader, tmp_path: Path
) -> None:
    class Data(L.LightningDataModule):
        class_names = tuple(NAMES)
        annotations = Annotations(
            table=pd.DataFrame({"path": [f"joy/{i}.png" for i in range(3)]}),
            class_names=class_names,
            layout="folder",
            root=tmp_path,
        )

        def predict_dataloader(self) -> DataLoader:
            return loader(4)

    make_trainer(PredictionWriter()).predict(module, datamodule=Data())
    table = pd.read_csv(tmp_path / "predictions.csv", keep_default_na=False)
    assert table["path"].tolist() == ["joy/0.png", "joy/1.png", "joy/2.png", ""]


def test_the_file_can_be_chosen_and_a_second_run_starts_anew(
    module: L.LightningModule, make_trainer: MakeTrainer, loader: Loader, tmp_path: Path
) -> None:
    path = tmp_path / "deep" / "p.csv"
    trainer = make_trainer(PredictionWriter(str(path)))
    trainer.predict(module, loader(6))
    trainer.predict(module, loader(3))
    assert len(pd.read_csv(path)) == 3
    assert [file.name for file in path.parent.iterdir()] == ["p.csv"]


def test_several_devices_without_an_index_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"what 2 devices predict cannot be joined.*index"):
        PredictionWriter()._indices({}, None, 2, 4)


def test_a_fast_dev_run_writes_nothing(
    module: L.LightningModule, make_trainer: MakeTrainer, loader: Loader, tmp_path: Path
) -> None:
    make_trainer(PredictionWriter(), fast_dev_run=True).predict(module, loader())
    assert not (tmp_path / "predictions.csv").exists()


def test_predictions_of_another_form_are_refused(
    module: L.LightningModule, make_trainer: MakeTrainer, loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(module), "predict_step", lambda self, batch, batch_idx: torch.zeros(4))
    with pytest.raises(ConfigurationError, match=r"dict with probabilities.*returned a Tensor"):
        make_trainer(PredictionWriter()).predict(module, loader())


def test_another_module_is_refused(make_trainer: MakeTrainer, loader: Loader) -> None:
    class Other(L.LightningModule):
        def forward(self, batch: Any) -> Any:
            return batch

    with pytest.raises(ConfigurationError, match="PredictionWriter needs a FERModule"):
        make_trainer(PredictionWriter()).predict(Other(), loader())


def test_what_all_ranks_predicted_is_joined(tmp_path: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        seen = {3: _Prediction(0, [0.25, 0.75])}
        assert _gathered(seen) == seen
        assert _gathered(seen) is not seen
    finally:
        dist.destroy_process_group()
