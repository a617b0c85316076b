"""Names, order and defaults of the public interface: users' code and recipes depend on them."""

import inspect
from typing import Any

from eac_lightning import EACModule, FERDataModule, SymmetricNoise
from eac_lightning.losses.attention_consistency import attention_consistency

EAC = {
    "num_classes": None, "class_names": None, "backbone": "resnet18", "weights": None, "normalize": True,
    "consistency_weight": 5.0, "view_order": "flip_then_erase", "joint_forward": False, "erasing_probability": 0.5,
    "erasing_scale": (0.02, 0.25), "erasing_ratio": (0.3, 3.3), "gaussian_noise_std": 0.0215,
    "gaussian_noise_probability": 0.5, "lr": 1e-4, "weight_decay": 1e-4, "lr_decay": 0.9,
}  # fmt: skip
DATA = {
    "root": inspect.Parameter.empty, "layout": "auto", "classes": None, "image_size": 224, "batch_size": 32,
    "num_workers": 0, "val_fraction": 0.1, "test_fraction": 0.1, "augment": "none", "noise": None,
    "label_overrides": None, "sampler": "shuffle", "cache": "auto", "on_bad_image": "error", "seed": None,
}  # fmt: skip


def first_parameters(kind: Any, count: int) -> dict[str, Any]:
    parameters = list(inspect.signature(kind).parameters.values())[:count]
    return {parameter.name: parameter.default for parameter in parameters}


def test_the_interface_is_what_was_promised() -> None:
    for kind, promised in ((EACModule, EAC), (FERDataModule, DATA)):
        found = first_parameters(kind, len(promised))
        assert list(found.items()) == list(promised.items())
    assert first_parameters(SymmetricNoise, 2) == {"rate": inspect.Parameter.empty, "exact": False}
    assert list(inspect.signature(attention_consistency).parameters) == ["cam_a", "cam_b", "flip", "reduction"]
