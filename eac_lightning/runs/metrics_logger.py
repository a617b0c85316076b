"""``metrics.csv``: one row an epoch, the same after an interruption as without one."""

import csv
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eac_lightning._files import replacing
from eac_lightning._lightning import L, loggers

rank_zero_only = L.utilities.rank_zero_only
METRICS = "metrics.csv"
_PATIENCE = 5.0  # seconds between two writings of the whole table


class MetricsLogger(loggers.Logger):
    """Keeps all that is logged in one table by step, and writes it whole to ``metrics.csv``.

    Lightning's CSVLogger begins its file anew when a run goes on. Here the rows are part of the run's checkpoint (see
    ``RunReport``). What an epoch logs of training and validation stands in one row.

    Args:
        folder: Where the file is written.

    Attributes:
        rows: The figures by name, by step.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.rows: dict[int, dict[str, float]] = {}
        self._written = self._took = 0.0

    @property
    def name(self) -> str:
        """Nothing: the folder is the run's own."""
        return ""

    @property
    def version(self) -> str:
        """Nothing: the folder is the run's own."""
        return ""

    @property
    def save_dir(self) -> str:
        """The folder."""
        return str(self.folder)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add figures to the row of a step."""
        at = max(self.rows, default=-1) + 1 if step is None else step
        self.rows.setdefault(at, {}).update({name: float(value) for name, value in metrics.items()})

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Leave them to ``config.yaml``."""

    @rank_zero_only
    def save(self) -> None:
        """Write the table, unless that was done a moment ago."""
        if time.monotonic() - self._written >= max(_PATIENCE, 50 * self._took):
            self._write()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the table."""
        self._write()

    def _write(self) -> None:
        if not self.rows:
            return
        began = time.monotonic()
        names = sorted({name for row in self.rows.values() for name in row} - {"epoch"})
        path = self.folder / METRICS
        with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["epoch", "step", *names])
            writer.writeheader()
            for step, row in sorted(self.rows.items()):
                writer.writerow({**row, "epoch": int(row.get("epoch", -1)), "step": step})
        self._written = time.monotonic()
        self._took = self._written - began
