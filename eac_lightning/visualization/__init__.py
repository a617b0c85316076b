"""Pictures as pure functions: arrays in, arrays or figures out; no pyplot, no global state, no files."""

from eac_lightning.visualization.canvas import figure_to_image
from eac_lightning.visualization.confusion import confusion_matrix_figure
from eac_lightning.visualization.overlay import overlay
from eac_lightning.visualization.panel import cam_panel
from eac_lightning.visualization.sample import CAMSample

__all__ = ["CAMSample", "cam_panel", "confusion_matrix_figure", "figure_to_image", "overlay"]
