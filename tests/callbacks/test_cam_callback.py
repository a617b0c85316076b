import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

from eac_lightning._lightning import L
from eac_lightning.callbacks import cam as cam_file
from eac_lightning.callbacks._gallery import Gallery
from eac_lightning.callbacks.cam import CAMCallback
from eac_lightning.errors import ConfigurationError

MakeTrainer = Callable[..., L.Trainer]
Loader = Callable[..., DataLoader]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[Any]]]:
    """Keep what panels would show, in place of drawing them."""
    panels: list[tuple[str, list[Any]]] = []

    def note(samples: list[Any], names: object, title: str) -> np.ndarray:
        panels.append((title, samples))
        return np.zeros((4, 4, 3), dtype=np.uint8)

    monkeypatch.setattr(cam_file, "cam_panel", note)
    return panels


def pictures(folder: Path) -> list[str]:
    return sorted(file.stem for file in (folder / "pictures").iterdir())


def test_a_fit_draws_every_n_epochs_and_at_the_end(
    module: L.LightningModule, make_trainer: MakeTrainer, loader: Loader, tmp_path: Path, drawn: list[Any]
) -> None:
    trainer = make_trainer(CAMCallback(samples=3, every_n_epochs=2), max_epochs=3)
    trainer.fit(module, loader(), loader(9))
    assert pictures(tmp_path) == ["cam_train", "cam_train_epoch_001", "cam_val", "cam_val_epoch_001"]
    assert drawn[0][0] == "Where the network looks · validation · epoch 1"


def test_a_panel_is_written_as_a_picture(
    module: L.LightningModule, make_trainer: MakeTrainer, loader: Loader, tmp_path: Path
) -> None:
    make_trainer(CAMCallback(samples=2)).test(module, loader(6))
    with Image.open(tmp_path / "pictures" / "cam_test.png") as picture:
        assert picture.mode == "RGB"
        assert picture.width > 1000


@pytest.mark.parametrize("form", ["dict", "tuple"])
@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_every_evaluation_draws(
    module: L.LightningModule,
    make_trainer: MakeTrainer,
    loader: Loader,
    tmp_path: Path,
    drawn: list[Any],
    verb: str,
    form: str,
) -> None:
    getattr(make_trainer(CAMCallback(samples=3)), verb)(module, loader(form=form))
    assert pictures(tmp_path) == ["cam_val" if verb == "validate" else f"cam_{verb}"]
    ((_, samples),) = drawn
    assert [sample.given for sample in samples] == [0, 1, 2]
    assert all((sample.clean == -1) is (form == "tuple") for sample in samples)


def test_images_alone_are_drawn_without_labels(
    module: L.LightningModule, make_trainer: MakeTrainer, loader: Loader, drawn: list[Any]
) -> None:
    make_trainer(CAMCallback(samples=5)).predict(module, loader(form="image"))
    ((_, samples),) = drawn
    assert len(samples) == 5
    assert all(sample.given == -1 and sample.given_map is None for sample in samples)


def test_training_faces_are_those_whose_label_is_wrong(
    module: L.LightningModule, make_trainer: MakeTrainer, loader: Loader, drawn: list[Any]
) -> None:
    make_trainer(CAMCallback(samples=4)).fit(module, loader(), loader(9))
    ((_, samples),) = [panel for panel in drawn if "wrong label" in panel[0]]
    assert len(samples) == 4
    assert all(sample.clean != sample.given for sample in samples)


def test_without_clean_labels_no_training_face_is_drawn(
    module: L.LightningModule, make_trainer: MakeTrainer, loader: Loader, tmp_path: Path, drawn: list[Any]
) -> None:
    make_trainer(CAMCallback()).fit(module, loader(form="tuple"), loader(9))
    assert pictures(tmp_path) == ["cam_val"]


def test_the_faces_stay_the_same_while_the_network_changes(
    module: L.LightningModule, make_trainer: MakeTrainer, loader: Loader, drawn: list[Any]
) -> None:
    trainer = make_trainer(CAMCallback(samples=3, every_n_epochs=1))
    trainer.fit(module, loader(), loader(9))
    first, second, last = (samples for title, samples in drawn if "validation" in title)
    for before, after in zip(first, second, strict=True):
        np.testing.assert_array_equal(before.image, after.image)
        assert (before.predicted_map != after.predicted_map).any()
    assert [sample.confidence for sample in second] == [sample.confidence for sample in last]


def test_a_second_run_draws_its_own_faces(
    module: L.LightningModule, make_trainer: MakeTrainer, loader: Loader, drawn: list[Any]
) -> None:
    trainer = make_trainer(CAMCallback(samples=1))
    trainer.test(module, loader(6))
    trainer.test(module, loader(9))
    assert (drawn[0][1][0].image != drawn[1][1][0].image).any()


@pytest.mark.parametrize("method", ["grad_cam", "layer_cam"])
def test_gradient_cams_are_drawn_in_inference_mode_too(
    module: L.LightningModule, make_trainer: MakeTrainer, loader: Loader, drawn: list[Any], method: str
) -> None:
    trainer = make_trainer(CAMCallback(samples=2, method=method))
    trainer.fit(module, loader(), loader(6))
    trainer.validate(module, loader(6))
    assert all((sample.predicted_map >= 0).all() for _, samples in drawn for sample in samples)
    assert all(parameter.grad is None for parameter in module.parameters())


def test_a_fit_is_the_same_with_and_without_the_callback(
    make_trainer: MakeTrainer, loader: Loader, drawn: list[Any], module: L.LightningModule
) -> None:
    states = []
    for extra in ([], [CAMCallback(samples=2, every_n_epochs=1, method="grad_cam")]):
        torch.manual_seed(0)
        twin = type(module)()
        make_trainer(*extra).fit(twin, loader(), loader(6))
        states.append((twin.state_dict(), torch.random.get_rng_state()))
    assert drawn
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)


class Trace(L.Callback):
    """Notes what a callback could leave behind, before and after it has drawn."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.seen.append(trace(pl_module))


def trace(module: nn.Module) -> tuple[Any, ...]:
    return (
        [part.training for part in module.modules()],
        [None if p.grad is None else p.grad.tolist() for p in module.parameters()],
        [p.requires_grad for p in module.parameters()],
        [len(part._forward_hooks) + len(part._backward_hooks) for part in module.modules()],
        [buffer.tolist() for buffer in module.buffers()],
        torch.random.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002
        torch.is_grad_enabled(),
    )


@pytest.mark.parametrize("method", ["cam", "layer_cam"])
@pytest.mark.parametrize("fails", [False, True])
def test_drawing_leaves_no_trace(
    module: L.LightningModule,
    make_trainer: MakeTrainer,
    loader: Loader,
    monkeypatch: pytest.MonkeyPatch,
    drawn: list[Any],
    method: str,
    fails: bool,
) -> None:
    callback = CAMCallback(samples=2, every_n_epochs=9, method=method)
    module.model.backbone.layers[1].eval()  # a frozen part of a network that trains

    def draw(trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for parameter in pl_module.parameters():
            parameter.grad = torch.full_like(parameter, 0.25)
        before = trace(pl_module)
        if fails:
            monkeypatch.setattr(type(pl_module.model), "maps", explode)
            with pytest.raises(RuntimeError, match="in the middle"):
                callback._draw(trainer, pl_module, "val")
            monkeypatch.undo()
        else:
            callback._draw(trainer, pl_module, "val")
        traces.extend([before, trace(pl_module)])

    def explode(*args: object) -> None:
        torch.rand(3)
        raise RuntimeError("in the middle")

    traces: list[Any] = []
    callback.on_train_end = draw  # type: ignore[method-assign]
    make_trainer(callback).fit(module, loader(), loader(6))
    assert traces[0] == traces[1]
    assert True in traces[0][0]


def test_a_fast_dev_run_writes_nothing(
    module: L.LightningModule, make_trainer: MakeTrainer, loader: Loader, tmp_path: Path
) -> None:
    make_trainer(CAMCallback(), fast_dev_run=True).fit(module, loader(), loader(6))
    assert not (tmp_path / "pictures").exists()


def test_a_module_without_maps_is_refused(make_trainer: MakeTrainer, loader: Loader) -> None:
    class Other(L.LightningModule):
        def test_step(self, batch: Any) -> None: ...

    with pytest.raises(ConfigurationError, match=r"CAMCallback needs a FERModule.*got a Other"):
        make_trainer(CAMCallback()).test(Other(), loader())


def test_a_network_without_maps_is_refused_before_training(
    module: L.LightningModule, make_trainer: MakeTrainer, loader: Loader
) -> None:
    module.model = nn.Sequential(nn.Flatten(), nn.Linear(768, 3))
    with pytest.raises(ConfigurationError, match=r"Sequential, which defines no class activation maps.*grad_cam"):
        make_trainer(CAMCallback()).fit(module, loader(), loader())


def test_an_unknown_method_names_the_nearest(
    module: L.LightningModule, make_trainer: MakeTrainer, loader: Loader
) -> None:
    with pytest.raises(ConfigurationError, match=r"Unknown CAM method 'gradcam'.*Did you mean 'grad_cam'"):
        make_trainer(CAMCallback(method="gradcam")).test(module, loader())


@pytest.mark.parametrize("name", ["samples", "every_n_epochs"])
def test_numbers_below_one_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} to be at least 1, but got 0"):
        CAMCallback(**{name: 0})


def batch_of(labels: list[int], clean: list[int] | None = None) -> dict[str, torch.Tensor]:
    images = torch.arange(len(labels)).float().view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    batch = {"image": images, "label": torch.tensor(labels)}
    return batch if clean is None else batch | {"clean_label": torch.tensor(clean)}


def test_a_gallery_is_balanced_over_the_classes_where_it_can_be() -> None:
    gallery = Gallery(4, 3)
    gallery.add(batch_of([0, 0, 0, 0, 0, 2]))
    gallery.add(batch_of([0, 1, 2]))
    assert [label for _, label, _ in gallery.faces()] == [0, 0, 1, 2]


def test_a_gallery_takes_what_there_is() -> None:
    gallery = Gallery(4, 3)
    gallery.add(batch_of([1, 1, 1, 1, 1, 1]))
    assert [float(image[0, 0, 0]) for image, _, _ in gallery.faces()] == [0, 1, 2, 3]


def test_a_gallery_closes_once_every_class_has_its_share() -> None:
    gallery = Gallery(2, 2)
    gallery.add(batch_of([0, 1]))
    assert gallery.closed
    gallery.add(batch_of([0, 0]))
    assert len(gallery.faces()) == 2


def test_a_face_does_not_hold_on_to_its_batch() -> None:
    gallery, batch = Gallery(1, 2), batch_of([0] * 50)
    gallery.add(batch)
    (image, _, _) = gallery.faces()[0]
    assert image.untyped_storage().nbytes() == image.numel() * 4


def test_unknown_clean_labels_are_not_wrong() -> None:
    gallery = Gallery(4, 2, wrong_labels_only=True)
    gallery.add(batch_of([0, 0, 1], clean=[-1, 1, 1]))
    assert [(given, clean) for _, given, clean in gallery.faces()] == [(0, 1)]
