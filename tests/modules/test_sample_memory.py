"""A memory by sample index: what it gives, how it grows, is saved, and is shared by two processes."""

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from eac_lightning import ClassificationModule, ELRModule, FERDataModule, FERModule, SCNModule
from eac_lightning._lightning import L
from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.models import backbones
from eac_lightning.modules.sample_memory import SampleMemory
from tests.conftest import CLASSES, batch, make_faces


def test_what_is_set_is_found_by_index_and_the_rest_is_the_default() -> None:
    memory = SampleMemory((2,), default=0.5)
    memory.set(torch.tensor([7, 2]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert memory.get(torch.tensor([2, 5, 7, 900])).tolist() == [[3, 4], [0.5, 0.5], [1, 2], [0.5, 0.5]]
    memory.set(torch.tensor([20, 2]), torch.tensor([[5.0, 6.0], [7.0, 8.0]]))
    assert memory.get(torch.tensor([20, 7, 2])).tolist() == [[5, 6], [1, 2], [7, 8]]


def test_to_ask_is_not_to_write() -> None:
    memory = SampleMemory((2,))
    memory.set(torch.tensor([1]), torch.ones(1, 2))
    before = memory.state_dict()["_extra_state"].clone()
    memory.get(torch.tensor([5, 1])).fill_(9)
    assert torch.equal(memory.state_dict()["_extra_state"], before)


def test_no_gradient_is_remembered_and_no_sample_is_no_news() -> None:
    memory = SampleMemory()
    memory.set(torch.tensor([0]), torch.ones(1, requires_grad=True))
    assert not memory.values.requires_grad
    memory.set(torch.tensor([], dtype=torch.long), torch.tensor([]))
    memory.synchronise()
    assert memory.get(torch.tensor([], dtype=torch.long)).shape == (0,)
    assert memory.values.tolist() == [1]


def test_it_is_saved_whatever_its_length() -> None:
    memory, other = SampleMemory(default=-1), SampleMemory(default=-1)
    memory.set(torch.tensor([3]), torch.tensor([2]))
    other.set(torch.tensor([90]), torch.tensor([1]))
    other.load_state_dict(memory.state_dict())
    assert other.values.tolist() == [-1, -1, -1, 2]
    other.set(torch.tensor([0]), torch.tensor([1]))
    assert memory.values.tolist() == [-1, -1, -1, 2]
    assert list(other.parameters()) == list(other.buffers()) == []


def test_it_moves_with_its_module() -> None:
    memory = SampleMemory((2,))
    memory.set(torch.tensor([0]), torch.ones(1, 2))
    module = torch.nn.Sequential(memory).double()
    assert memory.values.dtype == torch.float64
    assert module.to("meta")[0].values.is_meta
    assert SampleMemory(default=-1).double().values.dtype == torch.int64


def test_of_two_that_set_the_same_sample_the_last_is_believed_by_both(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = [(torch.tensor([1, 4]), torch.tensor([10.0, 40.0])), None]

    def gather(told: list[Any], own: Any) -> None:
        said[1] = own
        told[:] = said

    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_gather_object", gather)
    memory = SampleMemory()
    memory.set(torch.tensor([0, 1]), torch.tensor([3.0, 2.0]))
    memory.synchronise()
    assert memory.values.tolist() == [3, 2, 0, 0, 40]
    memory.set(torch.tensor([3]), torch.tensor([7.0]))
    memory.synchronise()
    assert said[1][0].tolist() == [3]  # what was told before is not told again


def test_it_can_forget() -> None:
    memory = SampleMemory((2,), default=0.5)
    memory.set(torch.tensor([3]), torch.ones(1, 2))
    memory.clear()
    assert memory.get(torch.tensor([3])).tolist() == [[0.5, 0.5]]
    assert memory.state_dict()["_extra_state"].shape == (0, 2)
    memory.set(torch.tensor([1]), torch.ones(1, 2))
    assert len(memory.values) == 2


def test_a_step_may_have_nothing_to_remember() -> None:
    module = ELRModule(num_classes=3, backbone="tiny")
    data = {**batch(), "index": torch.arange(6)}
    module.remember(data, module.compute_loss(data)._replace(memory=None))  # type: ignore[arg-type]
    assert not len(module.memory.values)


@pytest.mark.parametrize("wrong", [-1, 2**40])
def test_an_index_that_numbers_no_sample_is_refused(wrong: int) -> None:
    memory = SampleMemory()
    for ask in (lambda index: memory.get(index), lambda index: memory.set(index, torch.ones(2))):
        with pytest.raises(DataError, match=f"indexes from 0 to 134217727, but found {wrong}"):
            ask(torch.tensor([3, wrong]))


@pytest.mark.parametrize("kind", [ELRModule, SCNModule])
def test_a_batch_without_index_is_refused(kind: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"but the batch has none. Let the dataset return \(image, label, index\)"
    ):
        kind(num_classes=3, backbone="tiny").compute_loss(batch())


@pytest.mark.parametrize(
    ("index", "found"),
    [
        (torch.arange(6.0), r"\(6,\) of torch.float32"),
        (torch.arange(5), r"\(5,\) of torch.int64"),
        (torch.arange(6)[:, None], r"\(6, 1\) of torch.int64"),
        (["a.png"] * 6, "list"),
    ],
)
def test_an_index_of_another_form_is_refused(index: Any, found: str) -> None:
    with pytest.raises(DataError, match=f"index to be a tensor of 6 integers.*but got {found}"):
        ELRModule(num_classes=3, backbone="tiny").compute_loss({**batch(), "index": index})


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_an_index_of_any_integer_type_is_a_number(dtype: torch.dtype) -> None:
    module = ELRModule(num_classes=3, backbone="tiny")
    data = {**batch(), "index": torch.tensor([0, 0, 7, 1, 1, 5], dtype=dtype)}
    module.remember(data, module.compute_loss(data))
    assert (module.memory.values.sum(1) > 0).tolist() == [True, True, False, False, False, True, False, True]


# ---- training --------------------------------------------------------------------------------------------------


def trained(root: Path, module: FERModule, epochs: int) -> FERModule:
    trainer = L.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=root,
    )  # fmt: skip
    trainer.fit(module, datamodule=FERDataModule(root, image_size=16, batch_size=8))
    return module


METHODS: dict[str, Any] = {
    "ELR": lambda: ELRModule(class_names=list(CLASSES), backbone="tiny", lr=1e-2),
    "SCN": lambda: SCNModule(class_names=list(CLASSES), backbone="tiny", lr=1e-2, relabel_epoch=1, relabel_margin=0.0),
    "GCE": lambda: ClassificationModule(
        class_names=list(CLASSES), backbone="tiny", lr=1e-2, loss="generalized_cross_entropy"
    ),
}


@pytest.mark.parametrize("method", METHODS)
def test_a_plain_loop_ends_where_a_trainer_does(faces: Path, method: str) -> None:
    torch.manual_seed(0)
    expected = trained(faces, METHODS[method](), 3).state_dict()
    torch.manual_seed(0)
    module, batches = METHODS[method]().train(), FERDataModule(faces, image_size=16, batch_size=8)
    batches.setup("fit")
    loader = batches.train_dataloader()
    (optimizer,), (schedule,) = module.configure_optimizers()
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        for loaded in loader:
            given = (loaded["image"], loaded["label"], loaded["index"])  # a tuple does as well as a dict
            output = module.compute_loss(given)
            optimizer.zero_grad()
            output.loss.backward()
            optimizer.step()
            if epoch >= module.hparams.get("relabel_epoch", 0):
                module.remember(given, output)
        schedule.step()
    found = {key: value for key, value in module.state_dict().items() if key in expected}
    assert any("memory" in key for key in found) == (method != "GCE")
    assert all(torch.equal(value, expected[key]) for key, value in found.items())
    assert {key for key in expected if not key.startswith("means")} <= set(found)


def test_a_new_fit_remembers_nothing_of_another_data_set(faces: Path) -> None:
    module = METHODS["ELR"]()
    module.memory.set(torch.tensor([900]), torch.ones(1, 3))
    trained(faces, module, 1)
    assert 0 < len(module.memory.values) < 900


SCRIPT = """
import sys
import torch
from eac_lightning import ELRModule, FERDataModule, SCNModule, register_backbone
from eac_lightning._lightning import L, callbacks
from eac_lightning.models import backbones
from eac_lightning.types import StepOutput

# No batch norm: its statistics are of one process's half of the batch.
class Plain(torch.nn.Module):
    num_features, output_stride = 8, 4
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 5, 4, 2), torch.nn.ReLU())
    def forward_features(self, image):
        return self.layers(image)


class HalvesModule(SCNModule):
    # One process that ranks both halves of a batch apart, as two processes do.
    def compute_loss(self, batch):
        unpacked = self.unpack(batch)
        half = len(unpacked["label"]) // 2
        one, two = (
            super(HalvesModule, self).compute_loss({key: value[part] for key, value in unpacked.items()})
            for part in (slice(half), slice(half, None))
        )
        logs = {key: (one.logs[key] + two.logs[key]) / 2 for key in one.logs}
        logits, memory = torch.cat([one.logits, two.logits]), torch.cat([one.memory, two.memory])
        return StepOutput((one.loss + two.loss) / 2, logits, logs, memory)


def fit(kind, folder, faces, devices, name, path=None, **options):
    torch.manual_seed(0)
    keeper = callbacks.ModelCheckpoint(
        f"{folder}/{name}-{devices}", filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=name == "odd"
    )  # else at the end of the validation
    trainer = L.Trainer(
        accelerator="cpu", devices=devices, strategy="ddp" if devices > 1 else "auto", max_epochs=3,
        callbacks=[keeper], logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder, limit_val_batches=0 if name == "odd" else 1.0,
    )
    module = kind(backbone="plain", lr=0.01, **options)
    data = FERDataModule(f"{folder}/{faces}", image_size=16, batch_size=8 // devices)
    trainer.fit(module, datamodule=data, ckpt_path=path, weights_only=True)
    torch.save(module.state_dict(), f"{folder}/{name}-{devices}-{trainer.global_rank}.pt")


def main(folder, devices):
    if "plain" not in backbones._registry:
        register_backbone("plain")(Plain)
    relabel = {"relabel_epoch": 0, "relabel_margin": 0.0}
    # DDP's mean of the processes' gradients is that of the faces only where all have as many.
    fit(ELRModule, folder, "even", devices, "elr")
    fit(SCNModule if devices > 1 else HalvesModule, folder, "even", devices, "scn", **relabel)
    if devices > 1:
        fit(SCNModule, folder, "odd", devices, "odd", **relabel)
        fit(SCNModule, folder, "even", devices, "resumed", f"{folder}/scn-2/epoch=1.ckpt", **relabel)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is remembered after fits of one process and of two; 25 faces divide by neither batch nor processes."""
    folder = tmp_path_factory.mktemp("memory")
    make_faces(folder / "even")
    one_more = make_faces(folder / "odd") / "train" / "anger" / "8.png"
    one_more.write_bytes((folder / "odd" / "val" / "anger" / "0.png").read_bytes())
    script = folder / "script.py"
    script.write_text(SCRIPT)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PL_GLOBAL_SEED", raising=False)
        patch.setattr(backbones, "_registry", dict(backbones._registry))
        runpy.run_path(str(script))["main"](str(folder), 1)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "USE_LIBUV": "0"}
        command = [sys.executable, str(script), str(folder), "2"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def state(folder: Path, name: str) -> dict[str, torch.Tensor]:
    kept: dict[str, torch.Tensor] = torch.load(folder / name, weights_only=True)
    return kept


MEMORY = "memory._extra_state"


@pytest.mark.parametrize("name", ["elr", "scn"])
def test_two_processes_remember_as_one(shared: Path, name: str) -> None:
    alone, together = (state(shared, f"{name}-{processes}-0.pt") for processes in (1, 2))
    known = (alone[MEMORY].sum(1) > 0) if name == "elr" else alone[MEMORY] >= 0
    assert known.sum() == 24 if name == "elr" else 0 < known.sum() < 24
    for key, value in together.items():
        torch.testing.assert_close(value, alone[key], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["elr", "scn", "odd"])
def test_every_process_and_checkpoint_knows_what_all_have_seen(shared: Path, name: str) -> None:
    first, second = (state(shared, f"{name}-2-{rank}.pt") for rank in (0, 1))
    saved = state(shared, f"{name}-2/epoch=2.ckpt")["state_dict"]
    assert torch.equal(first[MEMORY], second[MEMORY])
    assert torch.equal(saved[MEMORY], first[MEMORY])  # type: ignore[index]
    assert (first[MEMORY] > 0).any()


def test_two_resumed_processes_end_like_two_that_were_not_interrupted(shared: Path) -> None:
    whole = state(shared, "scn-2-0.pt")
    for rank in (0, 1):
        resumed = state(shared, f"resumed-2-{rank}.pt")
        assert all(torch.equal(value, whole[key]) for key, value in resumed.items())
