"""The comparison of what can be done for rare classes: every method runs once, and the table is of what is there."""

import json
import sys
from pathlib import Path
from typing import Any

import imbalance
import pytest

from eac_lightning import ClassificationModule
from eac_lightning.data.layouts import fer2013
from tests.conftest import make_fer2013


def line(method: str, seed: int, accuracy: float, recall: float) -> dict[str, Any]:
    figures = {
        **dict.fromkeys(imbalance.FIGURES.values(), 0.5),
        "test/accuracy": accuracy,
        "test/recall/disgust": recall,
    }
    counts = {"anger": 40, "disgust": 5, "fear": 41}
    return {
        "method": method,
        "faces": 86,
        "epochs": 2,
        "size": 48,
        "seed": seed,
        "pretrained": seed < 9,
        "class_counts": counts,
        "figures": figures,
    }


def test_the_table_has_mean_and_deviation_and_the_rarest_class() -> None:
    lines = [line("focal loss", 0, 0.6, 0.2), line("focal loss", 1, 0.7, 0.4), line("cross-entropy", 0, 0.5, 0.0)]
    written = imbalance.table(lines)
    assert "86 faces (disgust: 5), 48 px, 2 epochs, pretrained" in written
    assert "| recall of disgust |" in written
    rows = [row for row in written.splitlines() if row.startswith(("| cross", "| focal"))]
    assert rows[0].startswith("| cross-entropy | 50.0 |")
    assert rows[1].startswith("| focal loss | 65.0 ± 7.1 |")
    assert rows[1].endswith("| 30.0 ± 14.1 |")


def test_another_start_has_a_table_of_its_own() -> None:
    written = imbalance.table([line("focal loss", 0, 0.6, 0.2), line("focal loss", 9, 0.3, 0.1)])
    scratch, pretrained = written.split("\n\n86 faces")
    assert ("from scratch" in scratch, "| focal loss | 30.0 |" in scratch) == (True, True)
    assert "| focal loss | 60.0 |" in pretrained


def test_every_method_runs_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    faces = [(fer2013.CLASSES[i % 7], {"neutral": 10}) for i in range(28)]
    root = make_fer2013(tmp_path / "data", faces, ["Training", "Training", "PublicTest", "PrivateTest"])
    settings: list[dict[str, Any]] = []

    def small(backbone: str, **options: Any) -> ClassificationModule:
        settings.append(options)
        return ClassificationModule(backbone="tiny", **options)

    monkeypatch.setattr(imbalance, "ClassificationModule", small)
    monkeypatch.setattr(imbalance, "be_quiet", lambda: None)
    out = tmp_path / "found" / "runs.jsonl"
    command = ["imbalance", "--root", str(root), "--faces=14", "--epochs=1", "--seeds", "0", "--out", str(out)]
    for more in ([], ["--table"]):  # the second time all is there, and the third nothing is run
        monkeypatch.setattr(sys, "argv", [*command, *more])
        imbalance.main()
    monkeypatch.setattr(sys, "argv", command)
    imbalance.main()
    lines = [json.loads(row) for row in out.read_text().splitlines()]
    assert [row["method"] for row in lines] == list(imbalance.METHODS)
    assert sum(lines[0]["class_counts"].values()) == 14
    assert [each.get("loss", "cross_entropy") for each in settings] == ["cross_entropy"] * 3 + [
        "logit_adjustment",
        "focal",
        "focal",
    ]
    assert capsys.readouterr().out.count("| logit adjustment |") == 3
