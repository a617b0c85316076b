"""The figures of a run, kept over interruptions and said at its end."""

import json
import math
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from eac_lightning._files import replacing
from eac_lightning._lightning import L
from eac_lightning.callbacks._folder import run_folder, writes_files
from eac_lightning.runs.metrics_logger import MetricsLogger

RESULTS = "results.json"
LAST_EPOCHS = 5
FIGURES = ("accuracy", "mean_class_accuracy", "macro_f1")
OF_LAST = (*FIGURES, "macro_precision", "ece")


class RunReport(L.Callback):
    """Keeps every epoch's validation figures, prints best and last-5 at the end, and writes ``results.json``.

    Under label noise the best epoch and the last ones differ widely, and only the last ones are what a person
    without clean labels would get: both are always said. Every module brings this callback itself.
    """

    def __init__(self) -> None:
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0
        self._started = 0.0
        self._validated = False
        self._rows: dict[int, dict[str, float]] = {}  # of metrics.csv, shared with its logger

    def state_dict(self) -> dict[str, Any]:
        """Return what must survive an interruption."""
        return {"history": self.history, "seconds": self._elapsed(), "rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from an interruption."""
        self.history = list(state_dict["history"])
        self.seconds = float(state_dict["seconds"])
        self._rows = state_dict.get("rows", {})

    def _elapsed(self) -> float:
        return self.seconds + (time.perf_counter() - self._started if self._started else 0.0)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock; give the table of metrics the rows from before an interruption."""
        self._started = time.perf_counter()
        for logger in trainer.loggers:
            if isinstance(logger, MetricsLogger):
                logger.rows = self._rows

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note that this epoch has figures of its own."""
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the epoch's figures, which follow its validation."""
        split = ("train/", "val/") if self._validated else ("train/",)
        self._validated = False
        logged = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith(split)}
        figures = {name: value for name, value in logged.items() if not math.isnan(value)}
        self.history = [*self.history[: trainer.current_epoch], {"epoch": trainer.current_epoch, **figures}]

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write and print the run's results."""
        self.seconds, self._started = self._elapsed(), 0.0
        results = summarize(self.history) | {"seconds": round(self.seconds, 1)}
        folder = run_folder(trainer)
        add_results(trainer, {"fit": {**results, "history": self.history}})
        if trainer.is_global_zero and "best" in results:
            console = Console()
            console.print(results_table(results))
            console.print(f"run folder: {folder}", highlight=False, soft_wrap=True)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the test figures beside those of the fit."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        add_results(trainer, {"test": metrics})


def add_results(trainer: L.Trainer, results: dict[str, Any]) -> None:
    """Write figures into the run's ``results.json``, beside those in it; every process calls it."""
    path = run_folder(trainer) / RESULTS
    if writes_files(trainer):
        known = json.loads(path.read_text()) if path.is_file() else {}
        write_json(path, known | results)


def summarize(history: list[dict[str, float]]) -> dict[str, Any]:
    """Return best and last-5 figures of a run's epochs.

    Args:
        history: One dict an epoch, with ``val/accuracy`` and so on as logged.

    Returns:
        ``best`` and ``best_epoch`` (overall accuracy); ``last5``, ``mean_class_last5``, ``macro_f1_last5``: means
        over the last five epochs; ``last``: the figures of the last epoch, ``recall``: by class; and where labels
        are known to be wrong ``memorized`` and ``recovered`` of the last epoch. Empty without validation.
    """
    # Where nothing has trained a classifier yet, only what callbacks watch is logged.
    validated = [epoch for epoch in history if "val/macro_f1" in epoch]
    if not validated:
        return {}
    best = max(validated, key=lambda epoch: epoch["val/accuracy"])
    tail = validated[-LAST_EPOCHS:]
    last = validated[-1]
    means = {name: sum(epoch[f"val/{name}"] for epoch in tail) / len(tail) for name in FIGURES}
    return {
        "best": best["val/accuracy"],
        "best_epoch": int(best["epoch"]),
        "last5": means["accuracy"],
        "mean_class_last5": means["mean_class_accuracy"],
        "macro_f1_last5": means["macro_f1"],
        "last": {name: last[f"val/{name}"] for name in OF_LAST if f"val/{name}" in last},
        "recall": {key.removeprefix("val/recall/"): v for key, v in last.items() if key.startswith("val/recall/")},
        **{name: last[f"train/{name}"] for name in ("memorized", "recovered") if f"train/{name}" in last},
    }


def results_table(results: dict[str, Any]) -> Table:
    """Return the table that a run ends with."""
    table = Table(title="Validation", title_justify="left", show_header=False)
    rows = {
        f"overall accuracy, best (epoch {results['best_epoch']})": results["best"],
        f"overall accuracy, mean of the last {LAST_EPOCHS}": results["last5"],
        f"mean-class accuracy, mean of the last {LAST_EPOCHS}": results["mean_class_last5"],
        f"macro-F1, mean of the last {LAST_EPOCHS}": results["macro_f1_last5"],
        **{f"recall of {name}, last epoch": value for name, value in results["recall"].items()},
        "wrong labels memorised": results.get("memorized"),
        "wrong labels recovered": results.get("recovered"),
    }
    for name, value in rows.items():
        if value is not None:
            table.add_row(name, f"{100 * value:.1f} %")
    return table


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")
