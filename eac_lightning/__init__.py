"""Facial expression recognition that withstands wrong labels, as a PyTorch Lightning plugin."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Names are imported on first use: `import eac_lightning` and `eac --help` must not wait seconds for torch.
_WHERE = {
    "CAMCallback": "callbacks.cam",
    "ClassificationModule": "modules.classification",
    "ConfusionMatrixCallback": "callbacks.confusion",
    "EACModule": "modules.eac",
    "FERDataModule": "data.datamodule",
    "FERModule": "modules.base",
    "FaceNet2ExpNetModule": "modules.facenet2expnet",
    "LabelNoise": "labels.noise",
    "NoiseFile": "labels.noise",
    "PairNoise": "labels.noise",
    "PredictionWriter": "callbacks.predictions",
    "Predictor": "inference",
    "StepOutput": "types",
    "SymmetricNoise": "labels.noise",
    "SyntheticFERDataModule": "data.synthetic",
    "TransitionNoise": "labels.noise",
    "attention_consistency": "losses.attention_consistency",
    "class_activation_maps": "losses.attention_consistency",
    "create_backbone": "models.backbones",
    "feature_regression": "losses.feature_regression",
    "list_backbones": "models.backbones",
    "load_module": "modules.loading",
    "register_backbone": "models.backbones",
}

if TYPE_CHECKING:
    from eac_lightning.callbacks.cam import CAMCallback
    from eac_lightning.callbacks.confusion import ConfusionMatrixCallback
    from eac_lightning.callbacks.predictions import PredictionWriter
    from eac_lightning.data.datamodule import FERDataModule
    from eac_lightning.data.synthetic import SyntheticFERDataModule
    from eac_lightning.inference import Predictor
    from eac_lightning.labels.noise import LabelNoise, NoiseFile, PairNoise, SymmetricNoise, TransitionNoise
    from eac_lightning.losses.attention_consistency import attention_consistency, class_activation_maps
    from eac_lightning.losses.feature_regression import feature_regression
    from eac_lightning.models.backbones import create_backbone, list_backbones, register_backbone
    from eac_lightning.modules.base import FERModule
    from eac_lightning.modules.classification import ClassificationModule
    from eac_lightning.modules.eac import EACModule
    from eac_lightning.modules.facenet2expnet import FaceNet2ExpNetModule
    from eac_lightning.modules.loading import load_module
    from eac_lightning.types import StepOutput

__all__ = [
    "CAMCallback",
    "ClassificationModule",
    "ConfusionMatrixCallback",
    "EACModule",
    "FERDataModule",
    "FERModule",
    "FaceNet2ExpNetModule",
    "LabelNoise",
    "NoiseFile",
    "PairNoise",
    "PredictionWriter",
    "Predictor",
    "StepOutput",
    "SymmetricNoise",
    "SyntheticFERDataModule",
    "TransitionNoise",
    "attention_consistency",
    "class_activation_maps",
    "create_backbone",
    "feature_regression",
    "list_backbones",
    "load_module",
    "register_backbone",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'eac_lightning' has no attribute {name!r}")
    return getattr(importlib.import_module(f"eac_lightning.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
