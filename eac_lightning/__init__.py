"""Facial expression recognition that withstands wrong labels, as a PyTorch Lightning plugin."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Names are imported on first use: `import eac_lightning` and `eac --help` must not wait seconds for torch.
_WHERE = {
    "CAMCallback": "callbacks.cam",
    "CalibrationCallback": "callbacks.calibration",
    "ClassificationModule": "modules.classification",
    "ConfusionMatrixCallback": "callbacks.confusion",
    "EACModule": "modules.eac",
    "ELRModule": "modules.elr",
    "FERDataModule": "data.datamodule",
    "FERModule": "modules.base",
    "FaceNet2ExpNetModule": "modules.facenet2expnet",
    "FailureReport": "callbacks.failures",
    "InstanceNoise": "labels.instance_noise",
    "LabelAuditCallback": "callbacks.label_audit",
    "LabelNoise": "labels.noise",
    "NoiseFile": "labels.noise",
    "OODCallback": "callbacks.ood",
    "PairNoise": "labels.noise",
    "PredictionWriter": "callbacks.predictions",
    "Predictor": "inference",
    "StepOutput": "types",
    "RULModule": "modules.rul",
    "RelativeMahalanobis": "ood",
    "SCNModule": "modules.scn",
    "SymmetricNoise": "labels.noise",
    "SyntheticFERDataModule": "data.synthetic",
    "TemperatureScaling": "calibration",
    "TransitionNoise": "labels.noise",
    "attention_consistency": "losses.attention_consistency",
    "class_activation_maps": "losses.attention_consistency",
    "create_backbone": "models.backbones",
    "create_classification_loss": "losses.classification",
    "create_mixing": "data.mixing",
    "expected_calibration_error": "calibration",
    "feature_regression": "losses.feature_regression",
    "fmix_mask": "data.mixing",
    "focal_loss": "losses.focal",
    "generalized_cross_entropy": "losses.generalized_cross_entropy",
    "list_backbones": "models.backbones",
    "load_module": "modules.loading",
    "logit_adjusted_cross_entropy": "losses.logit_adjustment",
    "ood_report": "metrics.ood",
    "register_backbone": "models.backbones",
    "symmetric_cross_entropy": "losses.symmetric_cross_entropy",
}

if TYPE_CHECKING:
    from eac_lightning.calibration import TemperatureScaling, expected_calibration_error
    from eac_lightning.callbacks.calibration import CalibrationCallback
    from eac_lightning.callbacks.cam import CAMCallback
    from eac_lightning.callbacks.confusion import ConfusionMatrixCallback
    from eac_lightning.callbacks.failures import FailureReport
    from eac_lightning.callbacks.label_audit import LabelAuditCallback
    from eac_lightning.callbacks.ood import OODCallback
    from eac_lightning.callbacks.predictions import PredictionWriter
    from eac_lightning.data.datamodule import FERDataModule
    from eac_lightning.data.mixing import create_mixing, fmix_mask
    from eac_lightning.data.synthetic import SyntheticFERDataModule
    from eac_lightning.inference import Predictor
    from eac_lightning.labels.instance_noise import InstanceNoise
    from eac_lightning.labels.noise import LabelNoise, NoiseFile, PairNoise, SymmetricNoise, TransitionNoise
    from eac_lightning.losses.attention_consistency import attention_consistency, class_activation_maps
    from eac_lightning.losses.classification import create_classification_loss
    from eac_lightning.losses.feature_regression import feature_regression
    from eac_lightning.losses.focal import focal_loss
    from eac_lightning.losses.generalized_cross_entropy import generalized_cross_entropy
    from eac_lightning.losses.logit_adjustment import logit_adjusted_cross_entropy
    from eac_lightning.losses.symmetric_cross_entropy import symmetric_cross_entropy
    from eac_lightning.metrics.ood import ood_report
    from eac_lightning.models.backbones import create_backbone, list_backbones, register_backbone
    from eac_lightning.modules.base import FERModule
    from eac_lightning.modules.classification import ClassificationModule
    from eac_lightning.modules.eac import EACModule
    from eac_lightning.modules.elr import ELRModule
    from eac_lightning.modules.facenet2expnet import FaceNet2ExpNetModule
    from eac_lightning.modules.loading import load_module
    from eac_lightning.modules.rul import RULModule
    from eac_lightning.modules.scn import SCNModule
    from eac_lightning.ood import RelativeMahalanobis
    from eac_lightning.types import StepOutput

__all__ = [
    "CAMCallback",
    "CalibrationCallback",
    "ClassificationModule",
    "ConfusionMatrixCallback",
    "EACModule",
    "ELRModule",
    "FERDataModule",
    "FERModule",
    "FaceNet2ExpNetModule",
    "FailureReport",
    "InstanceNoise",
    "LabelAuditCallback",
    "LabelNoise",
    "NoiseFile",
    "OODCallback",
    "PairNoise",
    "PredictionWriter",
    "Predictor",
    "RULModule",
    "RelativeMahalanobis",
    "SCNModule",
    "StepOutput",
    "SymmetricNoise",
    "SyntheticFERDataModule",
    "TemperatureScaling",
    "TransitionNoise",
    "attention_consistency",
    "class_activation_maps",
    "create_backbone",
    "create_classification_loss",
    "create_mixing",
    "expected_calibration_error",
    "feature_regression",
    "fmix_mask",
    "focal_loss",
    "generalized_cross_entropy",
    "list_backbones",
    "load_module",
    "logit_adjusted_cross_entropy",
    "ood_report",
    "register_backbone",
    "symmetric_cross_entropy",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'eac_lightning' has no attribute {name!r}")
    return getattr(importlib.import_module(f"eac_lightning.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
