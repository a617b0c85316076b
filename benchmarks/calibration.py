"""Temperature scaling on real faces: fitted on the validation split of runs that exist, measured on the test split.

    python benchmarks/calibration.py --root FER2013 --runs runs/mixing --json docs/results/calibration.jsonl

``--runs`` is the folder of ``benchmarks/mixing.py``: network/mixing/seed. The threshold of confidence is that of 90 %
right answers on the validation split. The pictures are those of the first run without mixing.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import torch
from measuring import markdown
from noise_report import is_finished
from PIL import Image
from torch import Tensor

from eac_lightning import FERDataModule, TemperatureScaling, expected_calibration_error, load_module
from eac_lightning.calibration import area_under_risk_coverage, threshold_for_accuracy
from eac_lightning.errors import ConfigurationError
from eac_lightning.visualization.reliability import reliability_diagram
from eac_lightning.visualization.risk_coverage import risk_coverage_plot

ACCURACY = 0.9
BATCH = 64


@torch.no_grad()
def logits_and_labels(folder: Path, root: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """Return what a run's network says of the validation and the test split."""
    module = load_module(folder / "last.ckpt").eval()
    data = FERDataModule(root, "fer2013", list(module.class_names), module.image_size)
    said = {}
    for split in ("val", "test"):
        dataset = data.dataset(split)
        faces = dataset[range(len(dataset))]
        said[split] = torch.cat([module(part) for part in faces["image"].split(BATCH)]), faces["label"]
    return said


def figures(said: dict[str, tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Return what a temperature and a threshold of the validation split do on the test split."""
    (val, val_labels), (test, labels) = said["val"], said["test"]
    scaling = TemperatureScaling().fit(val, val_labels)
    before, after = test.softmax(1), scaling(test).softmax(1)
    confidence, predicted = after.max(1)
    correct = predicted == labels
    val_confidence, val_predicted = scaling(val).softmax(1).max(1)
    try:
        threshold = threshold_for_accuracy(val_confidence, val_predicted == val_labels, ACCURACY)
    except ConfigurationError:
        threshold = 1.0  # the surest of its answers are not that good
    answered = confidence >= threshold
    return {
        "temperature": scaling.temperature,
        "accuracy": float(correct.float().mean()),
        "ece_before": expected_calibration_error(before, labels),
        "ece_after": expected_calibration_error(after, labels),
        "aurc_before": area_under_risk_coverage(before.max(1).values, correct),
        "aurc_after": area_under_risk_coverage(confidence, correct),
        "threshold": threshold,
        "answered": float(answered.float().mean()),
        "right_of_answered": float(correct[answered].float().mean()) if answered.any() else 0.0,
    }


def draw(said: dict[str, tuple[Tensor, Tensor]], line: dict[str, Any], folder: Path) -> None:
    """Write the reliability diagram and the risk-coverage curve of a run."""
    test, labels = said["test"]
    temperature = line["temperature"]
    after = (test / temperature).softmax(1)
    probabilities = {"as trained": test.softmax(1), f"temperature {temperature:.2f}": after}
    title = f"{line['network']}, {line['mixing']}"
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(reliability_diagram(probabilities, labels, title=title)).save(folder / "reliability.png")
    confidence, predicted = after.max(1)
    curve = risk_coverage_plot(confidence, predicted == labels, threshold=line["threshold"], title=title)
    Image.fromarray(curve).save(folder / "risk_coverage.png")


def table(lines: list[dict[str, Any]]) -> str:
    """Return means over the seeds; all but the temperature in per cent."""
    rows = []
    for kind in dict.fromkeys((line["network"], line["mixing"]) for line in lines):
        group = [line for line in lines if (line["network"], line["mixing"]) == kind]

        def mean(name: str, group: list[dict[str, Any]] = group) -> float:
            return statistics.mean(line[name] for line in group)

        names = ("ece_before", "ece_after", "aurc_after", "answered", "right_of_answered")
        rows.append([*kind, f"{mean('temperature'):.2f}", *(f"{100 * mean(name):.1f}" for name in names), len(group)])
    head = ["network", "mixing", "temperature", "ECE before", "after", "AURC", "answered", "of these right", "seeds"]
    return markdown(head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="FER2013: its CSV or class folders")
    parser.add_argument("--runs", type=Path, default=Path("runs/mixing"))
    parser.add_argument("--json", type=Path, help="file for the raw figures")
    parser.add_argument("--figures", type=Path, help="folder for the pictures")
    arguments = parser.parse_args()
    lines: list[dict[str, Any]] = []
    drawn = False
    for path in sorted(arguments.runs.glob("*/*/*/results.json")):
        if is_finished(path.parent):
            network, mixing, seed = path.parent.relative_to(arguments.runs).parts
            said = logits_and_labels(path.parent, arguments.root)
            lines.append({"network": network, "mixing": mixing, "seed": int(seed), **figures(said)})
            if arguments.figures and mixing == "plain" and not drawn:
                draw(said, lines[-1], arguments.figures)
                drawn = True
    if arguments.json:
        arguments.json.write_text("".join(json.dumps(line) + "\n" for line in lines))
    print(table(lines))


if __name__ == "__main__":
    main()
