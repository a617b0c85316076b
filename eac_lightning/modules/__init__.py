"""Methods, one a file, on one base."""

from eac_lightning.modules.base import FERModule
from eac_lightning.modules.classification import ClassificationModule
from eac_lightning.modules.eac import EACModule
from eac_lightning.modules.facenet2expnet import FaceNet2ExpNetModule
from eac_lightning.modules.loading import load_module

__all__ = ["ClassificationModule", "EACModule", "FERModule", "FaceNet2ExpNetModule", "load_module"]
