"""Tables and curves of the cells that ``noise.py`` has finished."""

import json
import statistics
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import binary_roc

from eac_lightning.audit.table import SCORES, read_audit, suspicion
from eac_lightning.labels.estimate import estimate_noise_rate
from eac_lightning.metrics.detection import detection_figures

CURVE = np.linspace(0, 1, 101)


def is_finished(folder: Path) -> bool:
    """Return whether a cell was fitted and tested."""
    path = folder / "results.json"
    return path.is_file() and "test" in json.loads(path.read_text())


def evidence(folder: Path) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_]]:
    """Return a cell's audit, the (E, N, K) probabilities of its epochs, and (N,) which labels are wrong."""
    rows = read_audit(folder)
    probabilities = torch.from_numpy(np.load(folder / "logits.npz")["logits"].astype(np.float64)).softmax(-1).numpy()
    given = rows["given"].astype(str).to_numpy()
    # Without noise nothing is known to be wrong.
    return rows, probabilities, rows["clean"].to_numpy() != given if "clean" in rows else np.zeros(len(given), bool)


def figures(score: NDArray[np.float64], wrong: NDArray[np.bool_]) -> dict[str, float]:
    """Return how well a score, higher for suspects, finds the wrong labels."""
    return detection_figures(torch.from_numpy(np.asarray(score, np.float64)), torch.from_numpy(wrong))


def read_cell(runs: Path, folder: Path) -> dict[str, Any]:
    """Return all that is told of a cell."""
    noise, method, seed = folder.relative_to(runs).parts
    results = json.loads((folder / "results.json").read_text())
    rows, probabilities, wrong = evidence(folder)
    given = rows["given"].cat.codes.to_numpy().astype(np.int64)
    fit = results["fit"]
    cell: dict[str, Any] = {
        "noise": noise,
        "method": method.replace("_", " "),
        "seed": int(seed),
        "test": results["test"],
        "best": fit["best"],
        "last5": fit["last5"],
        "seconds": fit["seconds"],
        "val_accuracy": [epoch["val/accuracy"] for epoch in fit["history"]],
        "noise_rate": float(wrong.mean()),
        "estimated_noise_rate": estimate_noise_rate(probabilities[-1], given).rate,
    }
    if wrong.any():
        own = probabilities[:, np.arange(len(given)), given]
        means = own.cumsum(0) / np.arange(1, len(own) + 1)[:, None]
        predicted = probabilities.argmax(2)
        cell["memorized"] = (predicted == given)[:, wrong].mean(1).tolist()
        cell["auroc_by_epoch"] = [figures(1 - mean, wrong)["auroc"] for mean in means]
        cell["detection"] = {score: figures(suspicion(rows, score), wrong) for score in SCORES}
        fpr, tpr, _ = binary_roc(torch.from_numpy(1 - means[-1]), torch.from_numpy(wrong).long())
        cell["roc"] = np.interp(CURVE, fpr.numpy(), tpr.numpy()).tolist()
    return cell


def mean(values: list[float], digits: int = 1, scale: float = 100) -> str:
    """Return "mean ± deviation"; the mean alone of a single value."""
    scaled = [scale * value for value in values]
    spread = f" ± {statistics.stdev(scaled):.{digits}f}" if len(scaled) > 1 else ""
    return f"{statistics.mean(scaled):.{digits}f}{spread}"


def print_tables(cells: list[dict[str, Any]]) -> None:
    """Print what each method reaches under each noise, and how well it tells wrong labels."""
    for noise in dict.fromkeys(cell["noise"] for cell in cells):
        print(f"\n{noise}\n\n| method | seeds | test accuracy | mean-class | val best | val last 5 | memorised | s |")
        print("|---|---|---|---|---|---|---|---|")
        for method, group in _by_method(cells, noise).items():
            columns = [
                mean([cell["test"]["test/accuracy"] for cell in group]),
                mean([cell["test"]["test/mean_class_accuracy"] for cell in group]),
                mean([cell["best"] for cell in group]),
                mean([cell["last5"] for cell in group]),
                mean([cell["memorized"][-1] for cell in group]) if "memorized" in group[0] else "",
                f"{statistics.median(cell['seconds'] for cell in group):.0f}",
            ]
            print(f"| {method} | {len(group)} | {' | '.join(columns)} |")
        _print_detection(cells, noise)


def _print_detection(cells: list[dict[str, Any]], noise: str) -> None:
    groups = _by_method(cells, noise)
    if not any("detection" in cell for group in groups.values() for cell in group):
        return
    print(f"\n{noise}, AUROC of\n\n| method | {' | '.join(SCORES)} | AP of p_given | noise rate | estimated |")
    print("|---" * (len(SCORES) + 4) + "|")
    for method, group in groups.items():
        columns = [mean([cell["detection"][score]["auroc"] for cell in group], 3, 1) for score in SCORES]
        columns.append(mean([cell["detection"]["p_given"]["average_precision"] for cell in group], 3, 1))
        columns.append(mean([cell["noise_rate"] for cell in group]))
        columns.append(mean([cell["estimated_noise_rate"] for cell in group]))
        print(f"| {method} | {' | '.join(columns)} |")


def _by_method(cells: list[dict[str, Any]], noise: str) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for cell in cells:
        if cell["noise"] == noise:
            groups.setdefault(cell["method"], []).append(cell)
    return groups


def draw(cells: list[dict[str, Any]], folder: Path) -> None:
    """Write ``noise_<noise>.png``: accuracy, memorisation and detection over epochs, and the ROC curve."""
    folder.mkdir(parents=True, exist_ok=True)
    for noise in dict.fromkeys(cell["noise"] for cell in cells):
        groups = _by_method(cells, noise)
        noisy = any("roc" in cell for group in groups.values() for cell in group)
        panels: list[tuple[str, str, Callable[[dict[str, Any]], list[float]]]] = [
            ("validation accuracy (%)", "epoch", lambda cell: cell["val_accuracy"]),
        ]
        if noisy:
            panels += [
                ("wrong labels memorised (%)", "epoch", lambda cell: cell["memorized"]),
                ("AUROC of the mean p(given) so far (%)", "epoch", lambda cell: cell["auroc_by_epoch"]),
                ("wrong labels found (%)", "right labels called wrong (%)", lambda cell: cell["roc"]),
            ]
        figure, axes = plt.subplots(1, len(panels), figsize=(4 * len(panels), 4.2), squeeze=False, layout="constrained")
        for axis, (title, below, values) in zip(axes[0], panels, strict=True):
            for method, group in groups.items():
                runs = 100 * np.asarray([values(cell) for cell in group])
                across = 100 * CURVE if below != "epoch" else np.arange(1, runs.shape[1] + 1)
                (line,) = axis.plot(across, runs.mean(0), label=method, linewidth=1.5)
                axis.fill_between(across, runs.min(0), runs.max(0), color=line.get_color(), alpha=0.12, linewidth=0)
            axis.set(title=title, xlabel=below)
            axis.title.set_size("medium")
            axis.grid(alpha=0.3)
        seeds = sorted({cell["seed"] for group in groups.values() for cell in group})
        figure.suptitle(f"{noise}, seeds {', '.join(map(str, seeds))}: mean and range")
        handles = axes[0][0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=2 * len(panels), frameon=False)
        figure.savefig(folder / f"noise_{noise}.png", dpi=90)
        plt.close(figure)


def report(runs: Path, order: list[str], path: Path | None, pictures: Path | None) -> None:
    """Print the tables of the finished cells under ``runs``; write their figures and draw their curves."""
    warnings.filterwarnings("ignore")
    folders = [folder for folder in sorted(runs.glob("*/*/*")) if folder.name.isdigit() and is_finished(folder)]
    cells = sorted((read_cell(runs, folder) for folder in folders), key=lambda cell: order.index(cell["method"]))
    cells.sort(key=lambda cell: cell["noise"])
    print_tables(cells)
    if path is not None:
        path.write_text("[\n" + ",\n".join(json.dumps(_rounded(cell)) for cell in cells) + "\n]\n")
    if pictures is not None:
        draw(cells, pictures)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, 5) if isinstance(value, float) else value
