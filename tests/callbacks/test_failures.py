"""What a failed run leaves as the cause of its exception."""

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eac_lightning import ClassificationModule, FERDataModule
from eac_lightning._lightning import L
from eac_lightning.callbacks import failures
from eac_lightning.callbacks.failures import FailureReport, report_failures
from eac_lightning.callbacks.memory import is_out_of_memory
from eac_lightning.errors import DataError, OutOfMemoryError, ProcessDiedError
from eac_lightning.interrupts import end_at_once
from eac_lightning.models.classifier import CAMClassifier
from eac_lightning.types import StepOutput
from tests.conftest import TinyBackbone

CPU = "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to ..."
KINDS: dict[str, Exception] = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "cpu": RuntimeError(CPU),
    "python": MemoryError("Unable to allocate 9 TiB"),
}


class Limited(TinyBackbone):
    """As much memory as ``most`` faces take."""

    most = 6
    error: Exception = KINDS["cuda"]

    def forward_features(self, image: Tensor) -> Tensor:
        if len(image) > self.most:
            raise type(self.error)(*self.error.args)
        return super().forward_features(image)


class Module(ClassificationModule):
    def configure_models(self) -> None:
        self.model = CAMClassifier(Limited(), self.num_classes)


def trainer(**options: Any) -> L.Trainer:
    quiet: dict[str, Any] = dict.fromkeys(("logger", "enable_progress_bar", "enable_checkpointing"), False)
    return L.Trainer(
        accelerator="cpu", devices=1, max_epochs=1, enable_model_summary=False, num_sanity_val_steps=0, **quiet, **options
    )  # fmt: skip


@pytest.fixture
def data(faces: Path) -> FERDataModule:
    return FERDataModule(faces, image_size=16, batch_size=24)


@pytest.fixture(autouse=True)
def _roomy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # where a trainer without a folder writes its results
    monkeypatch.setattr(Limited, "most", 6)


def cause(raised: pytest.ExceptionInfo[BaseException]) -> str:
    assert isinstance(raised.value.__cause__, OutOfMemoryError)
    return str(raised.value.__cause__)


@pytest.mark.parametrize("kind", KINDS)
def test_says_which_batch_fitted(kind: str, data: FERDataModule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Limited, "error", KINDS[kind])
    module = Module(num_classes=3)
    with pytest.raises(type(KINDS[kind])) as raised:
        trainer(callbacks=[FailureReport()], accumulate_grad_batches=2).fit(module, datamodule=data)
    said = cause(raised)
    assert said.startswith(f"Memory ran out on a batch of 24 faces: {KINDS[kind]}")
    assert "A batch of 6 fitted when it was tried just now: --data.batch_size 6" in said
    assert "--trainer.accumulate_grad_batches 8 takes as many faces a step" in said
    assert all(parameter.grad is None for parameter in module.parameters())


def test_what_fits_is_left_alone(faces: Path) -> None:
    fitting, report = FERDataModule(faces, image_size=16, batch_size=6), FailureReport()
    trainer(callbacks=[report], accumulate_grad_batches=4).fit(Module(num_classes=3), datamodule=fitting)
    assert report._batch is None


def test_says_if_not_one_face_fits(data: FERDataModule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Limited, "most", 0)
    with pytest.raises(torch.OutOfMemoryError) as raised:
        trainer(callbacks=[FailureReport()]).fit(Module(num_classes=3), datamodule=data)
    assert "Not even a batch of 2 fits. Take a smaller --data.image_size" in cause(raised)
    with pytest.raises(torch.OutOfMemoryError) as raised:
        trainer(callbacks=[FailureReport()]).test(Module(num_classes=3), datamodule=data)
    assert "Not even a batch of 1 fits." in cause(raised)


def test_a_bare_exception_says_what_it_is(data: FERDataModule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Limited, "error", MemoryError())
    with pytest.raises(MemoryError) as raised:
        trainer(callbacks=[FailureReport()]).fit(Module(num_classes=3), datamodule=data)
    assert cause(raised).startswith("Memory ran out on a batch of 24 faces: MemoryError\nA batch of 6 fitted")


def test_what_needs_the_other_processes_is_not_tried(data: FERDataModule, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def step(self: Module, batch: Any) -> StepOutput:
        tried.append(len(self.unpack(batch)["image"]))
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(Module, "compute_loss", step)
    module = Module(num_classes=3)
    module.configure_model()
    module.normalization = nn.SyncBatchNorm(3)
    with pytest.raises(torch.OutOfMemoryError) as raised:
        trainer(callbacks=[FailureReport()]).fit(module, datamodule=data)
    assert "a batch of 24 faces: out of memory\nTry half of it, --data.batch_size 12, or" in cause(raised)
    assert tried == [24]


def test_an_evaluation_needs_no_steps(data: FERDataModule) -> None:
    for run in ("validate", "test", "predict"):
        with pytest.raises(torch.OutOfMemoryError) as raised:
            getattr(trainer(callbacks=[FailureReport()]), run)(Module(num_classes=3), datamodule=data)
        assert cause(raised).endswith("fitted when it was tried just now: --data.batch_size 6.")


def test_a_later_step_may_be_the_first_that_does_not_fit(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Less(L.Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            monkeypatch.setattr(Limited, "most", 6 if batch_idx == 0 else 3)

    data = FERDataModule(faces, image_size=16, batch_size=6)
    with pytest.raises(torch.OutOfMemoryError) as raised:
        trainer(callbacks=[FailureReport(), Less()]).fit(Module(num_classes=3), datamodule=data)
    assert "A batch of 3 fitted" in cause(raised)


@pytest.mark.parametrize("error", [RuntimeError("odd"), ValueError("Expected more than 1 value per channel")])
def test_a_part_that_cannot_be_tried_is_no_answer(
    error: Exception, data: FERDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(self: Module, batch: Any) -> StepOutput:
        if len(self.unpack(batch)["image"]) == 24:
            raise torch.OutOfMemoryError("out of memory")
        raise error

    monkeypatch.setattr(Module, "compute_loss", step)
    with pytest.raises(torch.OutOfMemoryError) as raised:
        trainer(callbacks=[FailureReport()]).fit(Module(num_classes=3), datamodule=data)
    assert "Try half of it, --data.batch_size 12" in cause(raised)


def test_memory_may_run_out_before_the_first_batch(data: FERDataModule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "train_dataloader", lambda: (_ for _ in ()).throw(MemoryError("no room")))
    with pytest.raises(MemoryError) as raised:
        trainer(callbacks=[FailureReport()]).fit(Module(num_classes=3), datamodule=data)
    assert "before the first batch (no room). Keep the pictures on disk (--data.cache disk)" in cause(raised)


def test_a_module_of_another_kind_is_told_what_to_try() -> None:
    class Foreign(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory.\nMuch more")

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters())

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.rand(4, 2)), batch_size=4)
    with pytest.raises(torch.OutOfMemoryError) as raised:
        trainer(callbacks=[FailureReport()]).fit(Foreign(), loader)
    assert "of 4 faces: CUDA out of memory.\nTry half of it, --data.batch_size 2, or" in cause(raised)


def test_halves_of_tuples_are_tuples() -> None:
    from eac_lightning.callbacks.memory import _head, _samples

    batch = [torch.zeros(4, 3), torch.arange(4), "a name"]
    assert _samples(batch) == 4
    image, label, name = _head(batch, 2, 4)
    assert (image.shape, label.tolist(), name) == ((2, 3), [0, 1], "a name")


@pytest.mark.parametrize("error", [ValueError("out of memory"), RuntimeError("shape mismatch"), KeyError("memory")])
def test_other_errors_are_not_taken_for_it(error: Exception) -> None:
    assert not is_out_of_memory(error)


# ---- other processes -------------------------------------------------------------------------------------------------


class Watch:
    """Of a process that hears ``said`` when it asks."""

    def __init__(self, said: str = "") -> None:
        self.said, self.told, self.closed = said, list[str](), False

    def news(self) -> str:
        return self.said

    def tell(self, reason: str) -> None:
        self.told.append(reason)

    def close(self) -> None:
        self.closed = True


def fail(watch: Watch, error: BaseException) -> BaseException:
    report = FailureReport()
    report.watch = watch  # type: ignore[assignment]
    report.on_exception(trainer(), Module(num_classes=3), error)
    return error


def test_a_collective_that_fails_is_explained() -> None:
    watch = Watch("rank 1 died")
    error = fail(watch, RuntimeError("Connection closed by peer"))
    assert isinstance(error.__cause__, ProcessDiedError)
    assert str(error.__cause__) == "rank 1 died"
    assert not watch.told


@pytest.mark.parametrize(
    ("error", "told"),
    [(DataError("no label"), "DataError: no label"), (SystemExit(143), "it was told to end")],
)
def test_an_own_failure_is_told_without_asking(error: BaseException, told: str) -> None:
    watch = Watch("something else, later")
    assert fail(watch, error).__cause__ is None
    assert watch.told == [told]


def test_a_foreign_failure_is_told_when_nobody_died() -> None:
    watch = Watch()
    fail(watch, KeyError("own code"))
    assert watch.told == ["KeyError: 'own code'"]


def test_the_others_are_told_what_would_fit() -> None:
    watch = Watch()
    fail(watch, MemoryError("no room"))
    assert watch.told[0].startswith("OutOfMemoryError: Memory ran out before the first batch (no room)")


def test_a_second_interrupt_is_armed() -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        watch = Watch()
        fail(watch, KeyboardInterrupt())
        assert signal.getsignal(signal.SIGINT) is end_at_once
        assert watch.told == ["it was interrupted"]
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("broken", [False, True])
def test_who_catches_the_exception_lives_on(broken: bool) -> None:
    """The watch, which would end the process, goes on while Lightning tidies up, and no longer."""
    run, watch, report = trainer(), Watch("rank 1 died"), FailureReport()
    watched: list[bool] = []

    def teardown() -> None:
        watched.append(not watch.closed)
        if broken:
            raise OSError("the group is broken")

    run.strategy.teardown = teardown  # type: ignore[method-assign]
    report.watch = watch  # type: ignore[assignment]
    report.on_exception(run, Module(num_classes=3), RuntimeError("Connection closed by peer"))
    assert not watch.closed
    with pytest.raises(OSError, match="broken") if broken else nullcontext():
        run.strategy.teardown()
    assert watched == [True]
    assert watch.closed
    assert report.watch is None
    assert run.strategy.teardown is teardown


def test_a_thread_sets_no_handlers() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    report = FailureReport()
    report.watch = Watch()  # type: ignore[assignment]
    with ThreadPoolExecutor() as pool:
        pool.submit(report.on_train_start, trainer(), Module(num_classes=3)).result()
        pool.submit(report.on_exception, trainer(), Module(num_classes=3), KeyboardInterrupt()).result()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Two processes that have met; the watches that began."""
    began: list[Any] = []
    monkeypatch.setattr(failures.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(failures.dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(failures, "meet", lambda how, one_machine: began.append(how) or Watch())
    return began


def test_it_watches_from_the_meeting_to_the_end(group: list[Any]) -> None:
    run = report_failures(trainer())
    report = run.callbacks[0]  # type: ignore[attr-defined]
    assert isinstance(report, FailureReport)
    assert report.watch is None
    run.strategy.setup_environment()
    report.setup(run, Module(num_classes=3), "fit")
    assert len(group) == 1
    watch = report.watch
    report.teardown(run, Module(num_classes=3), "fit")
    assert isinstance(watch, Watch)
    assert watch.closed
    assert report.watch is None


def test_one_process_watches_nobody() -> None:
    report = FailureReport()
    report.setup(trainer(), Module(num_classes=3), "fit")
    assert report.watch is None
    report.teardown(trainer(), Module(num_classes=3), "fit")


def test_sigterm_is_taken_where_there_are_others() -> None:
    before = signal.getsignal(signal.SIGTERM)
    report = FailureReport()
    try:
        report.on_train_start(trainer(), Module(num_classes=3))
        assert signal.getsignal(signal.SIGTERM) == before
        report.watch = Watch()  # type: ignore[assignment]
        report.on_test_start(trainer(), Module(num_classes=3))
        with pytest.raises(SystemExit) as end:
            os.kill(os.getpid(), signal.SIGTERM)
        assert end.value.code == 143
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


class Launcher:
    def __init__(self, *commands: str) -> None:
        self.procs = [subprocess.Popen(["sh", "-c", command]) for command in commands]


def test_the_parent_knows_how_a_child_ended(group: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    run = trainer()
    launcher = Launcher("kill -9 $$", "kill -11 $$", "exit 3")
    monkeypatch.setattr(type(run.strategy), "launcher", property(lambda _: launcher))
    FailureReport().begin(run)
    (how,) = group
    assert how(1) == "by signal 9 (Killed), which the system sends when memory runs out"
    assert how(2) == "by signal 11 (Segmentation fault)"
    assert how(3) == "with exit code 3"
    assert how(4) == ""
    slow = Launcher("exec sleep 60")
    launcher.procs = slow.procs
    monkeypatch.setattr(failures, "_TO_BE_GONE", 0.05)
    assert how(1) == ""
    slow.procs[0].kill()
    slow.procs[0].wait()
