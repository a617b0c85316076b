"""Faces that are drawn, with labels that are known: from an expression's action units to a data set on disk."""

from eac_lightning.faces.synthetic.action_units import EXPRESSIONS, LANDMARKS
from eac_lightning.faces.synthetic.identity import Identity, sample_identity
from eac_lightning.faces.synthetic.rendering import FaceParameters, SyntheticFace, render_face
from eac_lightning.faces.synthetic.writing import TABLE, contact_sheet, sample_face, write_synthetic_faces

__all__ = [
    "EXPRESSIONS",
    "LANDMARKS",
    "TABLE",
    "FaceParameters",
    "Identity",
    "SyntheticFace",
    "contact_sheet",
    "render_face",
    "sample_face",
    "sample_identity",
    "write_synthetic_faces",
]
