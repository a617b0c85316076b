"""Methods, one a file, on one base."""

from eac_lightning.modules.base import FERModule
from eac_lightning.modules.classification import ClassificationModule
from eac_lightning.modules.eac import EACModule
from eac_lightning.modules.elr import ELRModule
from eac_lightning.modules.facenet2expnet import FaceNet2ExpNetModule
from eac_lightning.modules.loading import load_module
from eac_lightning.modules.rul import RULModule
from eac_lightning.modules.scn import SCNModule

__all__ = [
    "ClassificationModule",
    "EACModule",
    "ELRModule",
    "FERModule",
    "FaceNet2ExpNetModule",
    "RULModule",
    "SCNModule",
    "load_module",
]
