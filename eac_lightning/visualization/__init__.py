"""Pictures as pure functions: arrays in, arrays or figures out; no pyplot, no global state, no files."""

from eac_lightning.visualization.canvas import figure_to_image
from eac_lightning.visualization.confusion import confusion_matrix_figure
from eac_lightning.visualization.mixing_grid import mixing_grid
from eac_lightning.visualization.ood_scores import ScorePanel, ood_scores_figure
from eac_lightning.visualization.overlay import overlay
from eac_lightning.visualization.panel import cam_panel
from eac_lightning.visualization.reliability import reliability_diagram
from eac_lightning.visualization.risk_coverage import risk_coverage_plot
from eac_lightning.visualization.sample import CAMSample
from eac_lightning.visualization.side_by_side import side_by_side

__all__ = [
    "CAMSample",
    "ScorePanel",
    "cam_panel",
    "confusion_matrix_figure",
    "figure_to_image",
    "mixing_grid",
    "ood_scores_figure",
    "overlay",
    "reliability_diagram",
    "risk_coverage_plot",
    "side_by_side",
]
