"""What the logits alone tell: how sure the network is, and how strongly it answers at all."""

import math

from torch import Tensor

from eac_lightning.errors import ConfigurationError
from eac_lightning.ood.score import OODScore


class MaximumSoftmax(OODScore):
    """1 − the probability of the most probable class, in [0, 1).

    Hendrycks and Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural Networks",
    ICLR 2017, arXiv 1610.02136.
    """

    reads = "logits"

    def _score(self, rows: Tensor) -> Tensor:
        return 1 - rows.softmax(1).amax(1)


class Energy(OODScore):
    """−T · log Σ_k exp(logit_k / T).

    Liu et al., "Energy-based Out-of-distribution Detection", NeurIPS 2020, arXiv 2010.03759.

    Args:
        temperature: T > 0.

    Raises:
        ConfigurationError: If it is not.
    """

    reads = "logits"
    _settings = ("temperature",)

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        if not 0 < temperature < math.inf:
            raise ConfigurationError(f"Expected temperature to be a number above 0, but got {temperature}.")
        self.temperature = temperature

    def _score(self, rows: Tensor) -> Tensor:
        return -self.temperature * (rows / self.temperature).logsumexp(1)
