"""What makes training fast changes neither the figures nor the checkpoints, and keeps its errors."""

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from traceback import FrameSummary, extract_stack, format_stack
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from eac_lightning import ClassificationModule, EACModule, FaceNet2ExpNetModule, FERDataModule, FERModule, load_module
from eac_lightning._lightning import L, loggers
from eac_lightning.errors import DataError, TrainingDivergedError
from eac_lightning.modules import base
from eac_lightning.types import StepOutput
from tests.conftest import batch


def trainer(folder: Path, **options: Any) -> L.Trainer:
    settings: dict[str, Any] = {
        "max_epochs": 2,
        "accelerator": "cpu",
        "default_root_dir": folder,
        "logger": loggers.CSVLogger(folder, name="", version=""),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
    }
    return L.Trainer(**(settings | options))


def data(root: Path) -> FERDataModule:
    return FERDataModule(root, image_size=16, batch_size=8)


def eac(**options: Any) -> EACModule:
    torch.manual_seed(0)
    return EACModule(**({"num_classes": 3, "backbone": "tiny"} | options))


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let modules take the CPU for an accelerator, which has to be waited for."""
    monkeypatch.setattr(FERModule, "_on_cpu", False)


# ---- waiting for the device ------------------------------------------------------------------------------------


WAITS = {"item", "tolist", "numpy", "cpu", "__bool__", "__int__", "__float__", "nonzero", "unique", "bincount"}


class Looks(TorchFunctionMode):
    """Notes who asks for the value of a tensor, which makes an accelerator wait.

    kornia draws on the CPU what is erased, whatever the device, so that looking at it waits for nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.places: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        masked = func.__name__ == "__getitem__" and isinstance(args[1], Tensor) and args[1].dtype == torch.bool
        if (func.__name__ in WAITS or masked) and not any(_draws(frame) for frame in extract_stack()):
            self.places.append("".join(format_stack(limit=12)))
        return func(*args, **(kwargs or {}))


def _draws(frame: FrameSummary) -> bool:
    return "kornia" in frame.filename or frame.name == "_erased"


class Watched(EACModule):
    """Notes what a training step looks at, after the first epoch and its first step's check of the range."""

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        with Looks() as looks:
            step = super().training_step(batch, batch_idx)
        if self.current_epoch > 0 and batch_idx > 0:
            self.places = [*getattr(self, "places", []), *looks.places]
            self.steps = getattr(self, "steps", 0) + 1
        return step


def test_a_training_step_never_waits_for_an_accelerator(accelerator: None, faces: Path, tmp_path: Path) -> None:
    net = Watched(num_classes=3, backbone="tiny")
    trainer(tmp_path).fit(net, datamodule=data(faces))
    assert net.steps == 2
    assert net.places == []


def test_on_the_cpu_it_looks_at_every_loss(faces: Path, tmp_path: Path) -> None:
    net = Watched(num_classes=3, backbone="tiny")
    trainer(tmp_path).fit(net, datamodule=data(faces))
    assert any("_check_losses" in place for place in net.places)


class Diverging(ClassificationModule):
    """Returns NaN in the second step of every epoch from the second on."""

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        self.now = (self.current_epoch, batch_idx)
        return super().training_step(batch, batch_idx)

    def compute_loss(self, batch: Any) -> StepOutput:
        output = super().compute_loss(batch)
        return output._replace(loss=output.loss * float("nan")) if self.now >= (1, 1) else output


def test_an_accelerator_tells_the_broken_step_later_and_saves_nothing(
    accelerator: None, faces: Path, tmp_path: Path
) -> None:
    from eac_lightning.runs.checkpoints import BestCheckpoint, LastCheckpoint

    run = trainer(tmp_path, max_epochs=3, callbacks=[BestCheckpoint(tmp_path), LastCheckpoint(tmp_path)])
    with pytest.raises(TrainingDivergedError, match="loss is nan at step 1 of epoch 1"):
        run.fit(Diverging(num_classes=3, backbone="tiny"), datamodule=data(faces))
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert state["global_step"] == 3  # those of the first epoch
    assert all(torch.isfinite(value).all() for value in state["state_dict"].values())


class SavesOften(L.Callback):
    """Saves after every step."""

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        trainer.save_checkpoint(Path(trainer.default_root_dir) / f"{trainer.global_step}.ckpt")


def test_a_checkpoint_asks_first(accelerator: None, faces: Path, tmp_path: Path) -> None:
    run = trainer(tmp_path, limit_val_batches=0, callbacks=[SavesOften()], enable_checkpointing=False)
    with pytest.raises(TrainingDivergedError, match="step 1 of epoch 1"):
        run.fit(Diverging(num_classes=3, backbone="tiny"), datamodule=data(faces))
    assert sorted(path.stem for path in tmp_path.glob("*.ckpt")) == ["1", "2", "3", "4"]


def test_a_long_epoch_is_asked_within_it(
    accelerator: None, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "WATCHED", 2)
    net = Diverging(num_classes=3, backbone="tiny")
    run = trainer(tmp_path, limit_val_batches=0, enable_checkpointing=False, num_sanity_val_steps=0)
    with pytest.raises(TrainingDivergedError, match="step 1 of epoch 1"):
        run.fit(net, datamodule=data(faces))
    assert net.now == (1, 1)  # not only at the epoch's end, after its third step


def test_wrong_labels_are_refused_in_the_first_epoch(accelerator: None) -> None:
    wrong = batch() | {"label": torch.tensor([0, 1, 2, 0, 1, 7])}
    with pytest.raises(DataError, match="found 7"):
        eac().compute_loss(wrong)


# ---- the optimizer -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fused", [True, False])
def test_the_optimizer_is_fused_as_asked(fused: bool) -> None:
    (optimizer,), _ = eac(fused_optimizer=fused).configure_optimizers()
    assert optimizer.defaults["fused"] is fused


def test_a_fused_step_is_the_step() -> None:
    nets = [eac(fused_optimizer=fused) for fused in (True, False)]
    for net in nets:
        (optimizer,), _ = net.configure_optimizers()
        for _ in range(3):
            optimizer.zero_grad()
            torch.manual_seed(1)
            net.compute_loss(batch()).loss.backward()
            optimizer.step()
    for fused, plain in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(fused, plain, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_gradients_can_be_clipped(precision: str, faces: Path, tmp_path: Path) -> None:
    run = trainer(tmp_path, precision=precision, gradient_clip_val=1.0, max_epochs=1)
    run.fit(eac(), datamodule=data(faces))
    assert not run.optimizers[0].defaults["fused"]


# ---- compiling -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["eager", "aot_eager"])
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[Callable[..., Any]]:
    """Trace what is compiled without a compiler for it, and note it."""
    given: list[Callable[..., Any]] = []
    compile_with = partial(torch.compile, backend=request.param)

    def noted(function: Callable[..., Any]) -> Any:
        given.append(function)
        return compile_with(function)

    monkeypatch.setattr(torch, "compile", noted)
    torch._dynamo.reset()
    return given


def test_a_compiled_backbone_gives_the_loss_and_the_gradients(compiled: list[Callable[..., Any]]) -> None:
    plain, fast = eac().train(), eac(compile_backbone=True).train()
    for net in (plain, fast):
        torch.manual_seed(1)
        net.compute_loss(batch()).loss.backward()
    assert [function.__name__ for function in compiled] == ["forward_features"]
    for one, other in zip(plain.parameters(), fast.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-5, rtol=1e-4)


def test_only_training_is_compiled(compiled: list[Callable[..., Any]]) -> None:
    net = eac(compile_backbone=True).eval()
    net(batch()["image"])
    assert compiled == []


def test_checkpoints_load_either_way(compiled: list[Callable[..., Any]], faces: Path, tmp_path: Path) -> None:
    run = trainer(tmp_path, max_epochs=1)
    net = eac(num_classes=None, class_names=["anger", "happiness", "neutral"], compile_backbone=True)
    run.fit(net, datamodule=data(faces))
    assert len(compiled) == 1
    run.save_checkpoint(tmp_path / "fast.ckpt")
    plain = eac()
    plain.load_state_dict(torch.load(tmp_path / "fast.ckpt", weights_only=True)["state_dict"])
    loaded = load_module(tmp_path / "fast.ckpt")
    assert loaded.hparams["compile_backbone"]
    for other in (plain, loaded):
        assert list(other.state_dict()) == list(net.state_dict())
        torch.testing.assert_close(other.eval()(batch()["image"]), net.eval()(batch()["image"]))
    net.load_state_dict(eac().state_dict())


def test_a_copy_is_compiled_anew(compiled: list[Callable[..., Any]]) -> None:
    net = eac(compile_backbone=True).train()
    net.compute_loss(batch()).loss.backward()
    twin = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    assert twin.compute_loss(batch()).logits.abs().sum() > 0  # type: ignore[union-attr]
    assert len(compiled) == 2


def test_facenet2expnet_takes_both() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FaceNet2ExpNetModule, "configure_models", lambda self: None)
        net = FaceNet2ExpNetModule(num_classes=3, fused_optimizer=False, compile_backbone=True)
    assert (net.hparams["fused_optimizer"], net.hparams["compile_backbone"]) == (False, True)


# ---- views in place --------------------------------------------------------------------------------------------


def test_views_leave_the_pictures_as_they_are() -> None:
    given = batch()
    kept = given["image"].clone()
    eac().compute_loss(given)
    assert torch.equal(given["image"], kept)


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_what_is_erased_is_what_kornia_would_erase(probability: float) -> None:
    net = eac(erasing_probability=probability)
    view = torch.rand(8, 3, 24, 30) + 1
    torch.manual_seed(3)
    expected = net._erase(view)
    following = torch.rand(2)
    torch.manual_seed(3)
    assert torch.equal(net._erased(view.clone()), expected)
    assert torch.equal(torch.rand(2), following)
    assert bool((expected == 0).any()) == (probability > 0)


def test_the_loss_has_a_gradient_to_the_pictures() -> None:
    given = batch()
    given["image"].requires_grad_()
    eac(gaussian_noise_probability=1.0, gaussian_noise_std=0.01).compute_loss(given).loss.backward()
    assert given["image"].grad is not None
    assert given["image"].grad.abs().sum() > 0
