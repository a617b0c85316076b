"""Finding wrong labels that people made: FER2013's own labels against FER+ votes.

    python benchmarks/natural_noise.py --root FERPLUS --weights mobilefacenet_ms1m.pt \\
        --json docs/results/natural_noise.json

EAC once and cross-entropy once and in five folds, all on the same faces and with the schedule of
``noise_benchmark/laptop``; every epoch's answers are kept. Then the labels that EAC suspects most, and as many at
random, get their FER+ label, and cross-entropy and EAC train again. At the end come the tables of all that is there:
every score and cleanlab's beside the time that it took, and what the corrections bought. What is finished is not run
again; ``--report`` runs nothing.
"""

import argparse
import json
import statistics
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from noise import execute
from noise_report import evidence, figures, is_finished, mean

from eac_lightning.audit.confident_learning import QUALITIES, cleanlab_opinion
from eac_lightning.audit.table import SCORES, read_audit, suspicion
from eac_lightning.labels.estimate import estimate_noise_rate

RECIPE = ["-c", "natural_noise_fer2013", "-c", "noise_benchmark/laptop"]
METHODS = {"cross_entropy": ["--model", "eac_lightning.ClassificationModule"], "eac": []}
FOLDS = 5
CORRECTED = 0.05


def run(arguments: argparse.Namespace) -> None:
    """Train what the audits ask."""
    for fold in range(FOLDS):
        # One split into folds of one choice of faces: the data's seed, like the start's, is that of the first runs.
        folds = [f"--data.folds={FOLDS}", f"--data.fold={fold}"]
        fit(arguments, arguments.runs / "folds" / str(fold), "cross_entropy", arguments.seeds[0], folds)
    for seed in arguments.seeds:
        for method in METHODS:
            fit(arguments, arguments.runs / method / str(seed), method, seed)


def correct(arguments: argparse.Namespace) -> None:
    """Train on labels of which some are corrected."""
    for method in arguments.retrain:
        for seed in arguments.seeds:
            rows = read_audit(arguments.runs / "eac" / str(seed))
            count = round(CORRECTED * len(rows))
            for how, chosen in (
                ("suspects", rows.nlargest(count, "score")),
                ("random", rows.sample(count, random_state=seed)),
            ):
                folder = arguments.runs / "corrected" / how / method / str(seed)
                folder.mkdir(parents=True, exist_ok=True)
                path = folder.with_name(f"corrections_{seed}.csv")
                pd.DataFrame({"path": chosen["path"], "label": chosen["clean"]}).to_csv(path, index=False)
                fit(arguments, folder, method, seed, [f"--data.label_overrides={path}"])


def fit(arguments: argparse.Namespace, folder: Path, method: str, seed: int, options: list[str] | None = None) -> None:
    """Run a cell."""
    common = [
        f"--data.subset={arguments.faces}",
        f"--trainer.max_epochs={arguments.epochs}",
        f"--seed_everything={seed}",
    ]
    execute(arguments, folder, [*RECIPE, *common, *arguments.options, *METHODS[method], *(options or [])])


def report(arguments: argparse.Namespace) -> dict[str, Any]:
    """Print and return the figures of what is finished."""
    warnings.filterwarnings("ignore")
    found: dict[str, Any] = {"detection": {}, "noise_rate": [], "accuracy": {}}
    for method in reversed(METHODS):
        for seed in arguments.seeds:
            folder = arguments.runs / method / str(seed)
            if is_finished(folder):
                rows, probabilities, wrong = evidence(folder)
                for score in SCORES:
                    told = {**figures(suspicion(rows, score), wrong), "seconds": seconds(folder), "seed": seed}
                    found["detection"].setdefault(f"{method}, one run: {score}", []).append(told)
                estimate = estimate_noise_rate(probabilities[-1], labels(rows))
                found["noise_rate"].append(
                    {"method": method, "seed": seed, "true": float(wrong.mean()), "estimated": estimate.rate}
                )
    found["detection"] |= report_folds(arguments)
    for method in METHODS:
        folders = {
            "nothing corrected": arguments.runs / method,
            f"{CORRECTED:.0%} at random corrected": arguments.runs / "corrected" / "random" / method,
            f"{CORRECTED:.0%} most suspect corrected": arguments.runs / "corrected" / "suspects" / method,
        }
        for name, folder in folders.items():
            cells = [folder / str(seed) for seed in arguments.seeds if is_finished(folder / str(seed))]
            if cells:
                found["accuracy"][f"{method}, {name}"] = [accuracy(cell) for cell in cells]
    _print(found)
    return found


def report_folds(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of out-of-sample answers: of the last epoch, the mean over epochs, the best epoch."""
    paths = [arguments.runs / "folds" / str(fold) for fold in range(FOLDS)]
    if not all(map(is_finished, paths)):
        return {}
    parts = [evidence(path) for path in paths]
    rows = pd.concat([part[0] for part in parts], ignore_index=True)
    probabilities = np.concatenate([part[1] for part in parts], axis=1)
    wrong = np.concatenate([part[2] for part in parts])
    given, took = labels(rows), sum(map(seconds, paths))
    own = probabilities[:, np.arange(len(given)), given]
    best = int(np.argmax([figures(1 - epoch, wrong)["auroc"] for epoch in own]))
    answers = {
        "last epoch": probabilities[-1],
        "mean over epochs": probabilities.mean(0),
        f"epoch {best}, the best, chosen by the answer": probabilities[best],
    }
    found: dict[str, Any] = {}
    for name, answer in answers.items():
        scores = {"p_given": 1 - answer[np.arange(len(given)), given]}
        scores |= {f"cleanlab {quality}": cleanlab_opinion(given, answer, quality)[0] for quality in QUALITIES}
        for score, values in scores.items():
            found[f"five folds, {name}: {score}"] = [{**figures(values, wrong), "seconds": took}]
    return found


def labels(rows: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the (N,) given labels of an audit's rows."""
    return rows["given"].cat.codes.to_numpy().astype(np.int64)


def seconds(folder: Path) -> float:
    """Return what a fit took, audits and validation included."""
    return float(json.loads((folder / "results.json").read_text())["fit"]["seconds"])


def accuracy(folder: Path) -> dict[str, float]:
    """Return the test figures of a cell, and its validation accuracy."""
    results = json.loads((folder / "results.json").read_text())
    return {"seed": int(folder.name), **results["test"], "val_last5": results["fit"]["last5"]}


def _print(found: dict[str, Any]) -> None:
    print("| score | runs | AUROC | average precision | FPR at 95 % | seconds |\n|---|---|---|---|---|---|")
    for name, runs in found["detection"].items():
        cells = [mean([run[key] for run in runs], 3, 1) for key in ("auroc", "average_precision", "fpr95")]
        took = statistics.median(run["seconds"] for run in runs)
        print(f"| {name} | {len(runs)} | {' | '.join(cells)} | {took:.0f} |")
    print("\n| noise rate | seed | true | estimated |\n|---|---|---|---|")
    for row in found["noise_rate"]:
        print(f"| {row['method']} | {row['seed']} | {row['true']:.1%} | {row['estimated']:.1%} |")
    print("\n| trained with | runs | test accuracy | mean-class | validation, last 5 |\n|---|---|---|---|---|")
    for name, runs in found["accuracy"].items():
        keys = ("test/accuracy", "test/mean_class_accuracy", "val_last5")
        print(f"| {name} | {len(runs)} | {' | '.join(mean([run[key] for run in runs]) for key in keys)} |")


def main() -> None:
    """Run what is missing, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/natural_noise"))
    parser.add_argument("--faces", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--retrain", nargs="*", default=list(METHODS), choices=list(METHODS), help="with corrections")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--options", action="append", default=[], help="more for `eac fit`")
    parser.add_argument("--report", action="store_true", help="run nothing")
    parser.add_argument("--json", type=Path, help="file for the raw figures")
    arguments = parser.parse_args()
    if not arguments.report:
        run(arguments)
        correct(arguments)
    found = report(arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
