"""What OODCallback and CalibrationCallback share: when they look, whose weights, and what becomes of failures."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch import distributed as dist
from torch.utils.data import DataLoader, IterableDataset

from eac_lightning import CalibrationCallback, FERDataModule, OODCallback
from eac_lightning._lightning import L, callbacks
from eac_lightning.callbacks import _after_training, calibration
from eac_lightning.callbacks._after_training import AfterTraining, Said, everything_said, joined, say, twin_of
from eac_lightning.errors import ConfigurationError, DataError, StorageError
from eac_lightning.labels.noise import SymmetricNoise
from eac_lightning.modules import ClassificationModule, load_module
from eac_lightning.runs.checkpoints import BestCheckpoint, DurableCheckpointIO, LastCheckpoint
from tests.callbacks.conftest import TinyModule, loader
from tests.conftest import CLASSES, make_faces
from tests.runs.fitting import same, weights
from tests.runs.test_killed import flat

MakeTrainer = Callable[..., L.Trainer]
BOTH = [OODCallback, CalibrationCallback]


def data(faces: Path, **options: Any) -> FERDataModule:
    settings = {"image_size": 16, "batch_size": 8, "augment": "standard", "noise": SymmetricNoise(0.2), "seed": 0}
    return FERDataModule(faces, **(settings | options))  # type: ignore[arg-type]


def network(kind: type[ClassificationModule] = ClassificationModule) -> ClassificationModule:
    torch.manual_seed(0)
    return kind(class_names=list(CLASSES), backbone="tiny", lr=0.05, seed=0)


def fit(
    faces: Path, folder: Path, *more: L.Callback, net: ClassificationModule | None = None, **options: Any
) -> ClassificationModule:
    """Train as `eac fit` does: best.ckpt and last.ckpt in ``folder``."""
    checkpoint = options.pop("checkpoint", None)
    of_data = options.pop("data", {})
    run = L.Trainer(
        **({"max_epochs": 3, "logger": False, "accelerator": "cpu", "enable_progress_bar": False, "plugins": [DurableCheckpointIO()],
            "enable_model_summary": False, "default_root_dir": folder, "num_sanity_val_steps": 0} | options),
        callbacks=[*more, BestCheckpoint(folder), LastCheckpoint(folder)],
    )  # fmt: skip
    net = net or network()
    run.fit(net, datamodule=data(faces, **of_data), ckpt_path=checkpoint, weights_only=True)
    return net


def stored(folder: Path, name: str = "last.ckpt") -> dict[str, Any]:
    about: dict[str, Any] = torch.load(folder / name, weights_only=True)["eac_lightning"]
    return about["answering"]  # type: ignore[no-any-return]


def test_training_and_its_checkpoints_are_the_same_but_for_what_is_added(faces: Path, tmp_path: Path) -> None:
    def trained(name: str, *more: L.Callback) -> dict[str, Any]:
        L.seed_everything(3, verbose=False)
        fit(faces, tmp_path / name, *more)
        drawn = torch.rand(3)
        whole = {f"{file}{key}": leaf for file in ("last.ckpt", "best.ckpt") for key, leaf in
                 flat(torch.load(tmp_path / name / file, weights_only=True), str(tmp_path / name)).items()}  # fmt: skip
        kept = {key: leaf for key, leaf in whole.items() if ".answering" not in key}
        return {**kept, "drawn": drawn.tolist()}

    without = trained("without")
    with_both = trained("with", OODCallback(neighbours=3), CalibrationCallback(0.5))
    assert with_both == without
    for name in ("last.ckpt", "best.ckpt"):
        assert stored(tmp_path / "without", name) is None
        assert stored(tmp_path / "with", name)["ood_score"] == "relative_mahalanobis"
        assert stored(tmp_path / "with", name)["wanted_accuracy"] == 0.5


def test_the_copy_of_a_half_precision_network_is_asked(faces: Path, tmp_path: Path) -> None:
    """A program that loads the checkpoint gets single precision, whatever training was in."""
    net = fit(faces, tmp_path, OODCallback(neighbours=3), precision="bf16-true", max_epochs=1)
    assert net.answers is not None
    assert next(net.parameters()).dtype == torch.bfloat16
    again, images = load_module(tmp_path / "last.ckpt"), data(faces).dataset("train")[[0, 1, 2]]["image"]
    with torch.no_grad():
        found = again.features(images)
    neighbours = net.answers.ood["knn"].statistics["neighbours"]
    nearest = torch.cdist(torch.nn.functional.normalize(found.double(), dim=1), neighbours).amin(1)
    assert nearest.max() < 1e-6


@pytest.mark.parametrize("kind", BOTH)
def test_a_trial_run_looks_at_nothing(kind: type[AfterTraining], faces: Path, tmp_path: Path) -> None:
    net = fit(faces, tmp_path, kind(), fast_dev_run=True)
    assert net.answers is None
    assert stored(tmp_path) is None
    assert not (tmp_path / "pictures").exists()
    assert not (tmp_path / "results.json").exists()


def test_the_same_objects_serve_several_trainings(faces: Path, tmp_path: Path) -> None:
    more = [OODCallback(neighbours=3), CalibrationCallback()]
    first = fit(faces, tmp_path / "first", *more)
    fit(faces, tmp_path / "second", *more)
    again = fit(faces, tmp_path / "third", *more, net=first)  # of trained weights
    assert flat(stored(tmp_path / "first"), "") == flat(stored(tmp_path / "second"), "")
    assert again.answers is not None
    assert flat(stored(tmp_path / "third"), "") == flat(again.answers.to_dict(), "")
    assert flat(stored(tmp_path / "third"), "") != flat(stored(tmp_path / "first"), "")


# ---- refused before training -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BOTH)
def test_training_without_validation_is_refused(kind: type[AfterTraining], make_trainer: MakeTrainer) -> None:
    for trainer, loaders in (
        (make_trainer(kind()), [loader()]),
        (make_trainer(kind(), limit_val_batches=0), [loader()] * 2),
    ):
        with pytest.raises(ConfigurationError, match=f"{kind.__name__} needs a validation split.*no val_dataloader"):
            trainer.fit(TinyModule(), *loaders)
        assert trainer.global_step == 0


@pytest.mark.parametrize("kind", BOTH)
def test_data_without_a_validation_split_are_refused(kind: type[AfterTraining], tmp_path: Path) -> None:
    root = make_faces(tmp_path / "faces")
    for split in ("val", "test"):
        shutil.rmtree(root / split)
    with pytest.raises(
        ConfigurationError, match="needs a validation split.*have no test split, only train.*val_fraction 0.1"
    ):
        fit(root, tmp_path, kind(), data={"val_fraction": 0.0, "test_fraction": 0.0})


@pytest.mark.parametrize("kind", BOTH)
def test_the_test_split_is_not_calibrated_on(kind: type[AfterTraining], tmp_path: Path) -> None:
    root = make_faces(tmp_path / "faces")
    shutil.rmtree(root / "val")
    with pytest.raises(ConfigurationError, match="needs a validation split.*validates on the test split.*val_fraction"):
        fit(root, tmp_path, kind(), data={"val_fraction": 0.0})


@pytest.mark.parametrize("kind", BOTH)
def test_another_module_is_refused(kind: type[AfterTraining], make_trainer: MakeTrainer) -> None:
    class Other(L.LightningModule):
        def configure_optimizers(self) -> None:
            return None

        def training_step(self, batch: Any, batch_idx: int) -> None:
            return None

    with pytest.raises(ConfigurationError, match=f"{kind.__name__} needs a FERModule"):
        make_trainer(kind()).fit(Other(), loader(), loader())


@pytest.mark.parametrize("kind", BOTH)
def test_a_module_that_cannot_be_copied_is_refused(kind: type[AfterTraining], make_trainer: MakeTrainer) -> None:
    net, trainer = TinyModule(), make_trainer(kind())
    net.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(ConfigurationError, match="TinyModule cannot be copied.*TypeError: cannot pickle"):
        trainer.fit(net, loader(), loader())
    assert trainer.global_step == 0


def test_a_training_set_without_an_order_is_refused(make_trainer: MakeTrainer) -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return iter([loader().dataset[index] for index in range(8)])

    trainer = make_trainer(OODCallback())
    with pytest.raises(
        ConfigurationError, match=r"OODCallback goes over .* got a DataLoader. Give .*audit_dataloader\(\)\.$"
    ):
        trainer.fit(TinyModule(), DataLoader(Stream(), batch_size=4), loader())
    assert trainer.global_step == 0


def test_only_a_fit_needs_validation(make_trainer: MakeTrainer) -> None:
    (figures,) = make_trainer(OODCallback(), CalibrationCallback()).test(TinyModule(), loader(), verbose=False)
    assert "test/accuracy" in figures


# ---- whatever loaders there are ------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["dict", "tuple"])
def test_plain_loaders_are_gone_over_once_and_in_order(form: str, make_trainer: MakeTrainer, tmp_path: Path) -> None:
    """Shuffled, with the last batch dropped; and the file of an ordinary ModelCheckpoint gets what was found."""
    net, faces = TinyModule(), loader(14, form).dataset
    checkpoint = callbacks.ModelCheckpoint(tmp_path, save_last=True)
    shuffled = DataLoader(faces, batch_size=4, shuffle=True, drop_last=True)
    trainer = make_trainer(OODCallback(neighbours=3), CalibrationCallback(), checkpoint, enable_checkpointing=True)
    trainer.fit(net, shuffled, [DataLoader(loader(9, form).dataset, batch_size=4)])
    assert net.answers is not None
    neighbours = net.answers.ood["knn"].statistics["neighbours"]
    images = torch.stack([loader(14).dataset[index]["image"] for index in range(14)])
    with torch.no_grad():
        expected = torch.nn.functional.normalize(net.eval().features(images).double(), dim=1)
    torch.testing.assert_close(neighbours, expected, rtol=0, atol=1e-6)
    for path in (checkpoint.best_model_path, checkpoint.last_model_path):
        assert flat(stored(tmp_path, Path(path).name), "") == flat(net.answers.to_dict(), "")


def test_a_training_that_never_came_to_validate_is_validated_on(faces: Path, tmp_path: Path) -> None:
    net = fit(faces, tmp_path, OODCallback(neighbours=3), CalibrationCallback(), check_val_every_n_epoch=5)
    assert net.answers is not None
    assert (net.answers.ood_score, net.answers.temperature != 1) == ("relative_mahalanobis", True)


def test_batches_that_repeat_a_sample_count_it_once() -> None:
    one = Said(torch.tensor([[3.0], [1.0]]), torch.tensor([0, 1]), torch.tensor([7, 2]))
    two = Said(torch.tensor([[1.0], [5.0]]), torch.tensor([1, 2]), torch.tensor([2, 4]))
    values, label, samples = joined([one, two])
    assert (values.flatten().tolist(), label.tolist()) == ([1, 5, 3], [1, 2, 0])
    assert samples is not None
    assert samples.tolist() == [2, 4, 7]
    assert joined([one, two._replace(samples=None)]).values.flatten().tolist() == [3, 1, 1, 5]
    with pytest.raises(DataError, match="faces to ask the network about, but there is none"):
        joined([])


def test_a_process_without_faces_says_nothing() -> None:
    net, faces = TinyModule(), {"image": torch.rand(2, 3, 16, 16), "label": torch.zeros(2, dtype=torch.int64)}
    none = {name: value[:0] for name, value in faces.items()}
    [said] = say(net, [none, faces, none], "features")
    assert said.values.shape == (2, 6)
    assert net.training


def test_what_all_processes_say_is_joined(tmp_path: Path) -> None:
    """And where one of them fails, all do."""
    net = TinyModule()
    trainer: Any = SimpleNamespace(strategy=SimpleNamespace(batch_to_device=lambda batch: batch))
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        twin = twin_of(net)
        assert same(twin.state_dict(), net.state_dict())
        assert all(one is not other for one, other in zip(twin.parameters(), net.parameters(), strict=True))
        said = everything_said(trainer, twin, loader(5), "logits")
        with pytest.raises(DataError, match="the network could not be asked. Expected a batch as a dict"):
            everything_said(trainer, twin, [3], "logits")
    finally:
        dist.destroy_process_group()
    [alone] = say(net, [next(iter(loader(5, "dict", 5)))], "logits")
    torch.testing.assert_close(said.values, alone.values)
    assert (trainer.training, said.label.tolist()) == (True, alone.label.tolist())


# ---- a training is not lost ------------------------------------------------------------------------------------------


class Breaking(ClassificationModule):
    """Answers the one face of the first check, and no batch."""

    def features(self, image: Tensor) -> Tensor:
        if len(image) > 1:
            raise RuntimeError("a cable was pulled")
        return super().features(image)


def test_what_cannot_be_asked_costs_no_training(faces: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    net = fit(faces, tmp_path, OODCallback(neighbours=3), CalibrationCallback(), net=network(Breaking))
    for weights_ in ("the trained weights", "best.ckpt"):
        assert f"OODCallback stores nothing with {weights_}" in caplog.text
    assert "RuntimeError: a cable was pulled" in caplog.text
    assert not net.trainer.validating
    for name in ("last.ckpt", "best.ckpt"):
        assert stored(tmp_path, name)["ood_score"] is None
        assert stored(tmp_path, name)["temperature"] != 1


def test_files_that_cannot_be_completed_are_left(faces: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Damage(L.Callback):
        def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            (tmp_path / "best.ckpt").write_bytes((tmp_path / "best.ckpt").read_bytes()[:500])

    fit(faces, tmp_path, Damage(), CalibrationCallback())
    assert "CalibrationCallback stores nothing with best.ckpt" in caplog.text
    assert (tmp_path / "best.ckpt").stat().st_size == 500
    assert stored(tmp_path)["temperature"] != 1


def test_files_of_another_training_are_left(
    faces: Path, make_trainer: MakeTrainer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A ModelCheckpoint that has served another network may still name that one's file as its best."""
    kept = callbacks.ModelCheckpoint(tmp_path / "kept", filename="other")
    make_trainer(kept, max_epochs=1, enable_checkpointing=True).fit(TinyModule(), loader(), loader())
    other = Path(kept.best_model_path)
    before = other.read_bytes()

    class StillNamed(L.Callback):
        def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            kept.best_model_path = str(other)

    net = network()
    trainer = make_trainer(StillNamed(), CalibrationCallback(), kept, max_epochs=1, enable_checkpointing=True)
    kept.dirpath = str(tmp_path / "second")
    trainer.fit(net, datamodule=data(faces))
    assert f"CalibrationCallback stores nothing with {other.name}" in caplog.text
    assert "holds the backbone resnet18" in caplog.text
    assert other.read_bytes() == before
    assert net.answers is not None


def test_figures_that_cannot_be_told_are_stored(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no font")

    monkeypatch.setattr(calibration, "reliability_diagram", fail)
    fit(faces, tmp_path, CalibrationCallback(), max_epochs=1)
    assert "What CalibrationCallback found is stored, but cannot be told: RuntimeError: no font" in caplog.text
    assert stored(tmp_path)["temperature"] != 1


def test_a_disk_that_is_full_costs_no_training(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise StorageError("There is no space")

    monkeypatch.setattr(_after_training, "write_checkpoint", fail)
    fit(faces, tmp_path, CalibrationCallback(), max_epochs=1)
    assert "CalibrationCallback stores nothing with best.ckpt, which are complete: There is no space" in caplog.text
    assert (stored(tmp_path, "best.ckpt"), stored(tmp_path)["temperature"] != 1) == (None, True)


def test_files_that_are_no_checkpoints_of_ours_are_left(
    faces: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Plain(callbacks.ModelCheckpoint):
        def _save_checkpoint(self, trainer: L.Trainer, filepath: str) -> None:
            torch.save({"weight": torch.ones(1)}, filepath)
            self.best_model_path = filepath

    fit(faces, tmp_path, CalibrationCallback(), Plain(tmp_path, "plain"), max_epochs=1)
    assert "plain.ckpt is no checkpoint of an eac_lightning module" in caplog.text
    assert torch.load(tmp_path / "plain.ckpt").keys() == {"weight"}
    assert stored(tmp_path)["temperature"] != 1


# ---- killed and resumed ------------------------------------------------------------------------------------------------


class Kill(L.Callback):
    """Ends the process, as it were, in a step of the second epoch, or when training has ended."""

    def __init__(self, where: str) -> None:
        self.where = where

    def on_train_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
        if self.where == "step" and trainer.current_epoch == 1:
            raise RuntimeError("killed")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.where == "end":
            raise RuntimeError("killed")


@pytest.mark.parametrize("where", ["step", "end"])
def test_a_killed_run_goes_on_to_the_same(where: str, faces: Path, tmp_path: Path) -> None:
    def both() -> list[L.Callback]:
        return [OODCallback(neighbours=3), CalibrationCallback(0.6)]

    fit(faces, tmp_path / "whole", *both())
    part = tmp_path / "part"
    with pytest.raises(RuntimeError, match="killed"):
        fit(faces, part, *both(), Kill(where))
    assert stored(part) is None  # what the next epoch begins from
    fit(faces, part, *both(), checkpoint=part / "last.ckpt")
    for name in ("last.ckpt", "best.ckpt"):
        assert same(weights(part, name), weights(tmp_path / "whole", name))
        assert flat(stored(part, name), "") == flat(stored(tmp_path / "whole", name), "")
    assert (
        json.loads((part / "results.json").read_text())["calibration"]
        == json.loads((tmp_path / "whole" / "results.json").read_text())["calibration"]
    )


def test_going_on_after_the_end_makes_what_was_stored_void(faces: Path, tmp_path: Path) -> None:
    seen: list[object] = []

    class Look(L.Callback):
        def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
            seen.append(pl_module.answers)

    fit(faces, tmp_path, CalibrationCallback(), max_epochs=2)
    before = stored(tmp_path)
    fit(faces, tmp_path, Look(), max_epochs=3, checkpoint=tmp_path / "last.ckpt")
    assert before is not None
    assert seen == [None]
    assert stored(tmp_path) is None
