"""``eac ood`` on a checkpoint whose statistics were attached by hand, or are taken by the command."""

import csv
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from eac_lightning._lightning import L
from eac_lightning.answering import Answering
from eac_lightning.cli import main
from eac_lightning.cli.ood import features_and_logits
from eac_lightning.data.decoding import resize_square
from eac_lightning.modules import load_module
from eac_lightning.ood import Energy, KNearestNeighbours, OODScore, RelativeMahalanobis, ood_report
from tests.conftest import make_faces
from tests.test_inference import make_module

LOGIT_SCORES = ["max_softmax", "energy"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with a data set, eight pictures of noise, and a run without statistics."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "120")
    make_faces(Path("faces"))
    rng = np.random.default_rng(0)
    for number in range(8):
        save(f"noise/{number}.png", rng.integers(0, 256, (20 + number, 30, 3)))
    save_run("run", None)


def save(path: str, pixels: np.ndarray) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def save_run(folder: str, answers: Answering | None, **options: object) -> None:
    module = make_module(**options)
    module.answers = answers
    trainer = L.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", default_root_dir=folder)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(Path(folder) / "last.ckpt")


def fitted() -> dict[str, OODScore]:
    """Return two scores that know the training faces."""
    faces = sorted(Path("faces/train").glob("*/*.png"))
    image = torch.stack([torch.from_numpy(pixels_of(path)).permute(2, 0, 1) for path in faces])
    features, _ = features_and_logits(make_module(), image)
    labels = torch.arange(3).repeat_interleave(8)
    return {
        "relative_mahalanobis": RelativeMahalanobis(0.1).fit(features, labels),
        "knn": KNearestNeighbours(2).fit(features),
    }


def pixels_of(path: Path, size: int | None = 32) -> np.ndarray:
    pixels = np.asarray(Image.open(path).convert("RGB"))
    return (resize_square(pixels, size) if size else pixels).copy()


def read(out: str = "ood") -> tuple[dict[str, Any], list[dict[str, str]]]:
    with (Path(out) / "ood.csv").open(newline="") as file:
        return json.loads((Path(out) / "ood.json").read_text()), list(csv.DictReader(file))


def column(rows: list[dict[str, str]], score: str, folder: str) -> torch.Tensor:
    return torch.tensor([float(row[score]) for row in rows if row["folder"] == folder], dtype=torch.float64)


def test_the_scores_of_a_checkpoint_become_a_table_files_and_a_picture(capsys: pytest.CaptureFixture[str]) -> None:
    scores = fitted()
    save_run("run", Answering(ood=scores, ood_score="knn", ood_threshold=0.01))
    Path("noise/broken.png").write_bytes(b"nothing")
    assert main(["ood", "run", "faces/test", "noise"]) == 0
    found, rows = read()
    names = ["relative_mahalanobis", "knn", *LOGIT_SCORES]
    assert list(rows[0]) == ["path", "folder", *names]
    assert list(found["scores"]) == names
    assert [row["path"] for row in rows if row["folder"] == "out"] == [f"noise/{number}.png" for number in range(8)]
    assert [row["folder"] for row in rows] == ["in"] * 12 + ["out"] * 8
    module = load_module("run/last.ckpt")
    for row in rows[::5]:
        image = torch.from_numpy(pixels_of(Path(row["path"]))).permute(2, 0, 1)[None]
        with torch.no_grad():
            features, logits = module.features(image), module(image)
        for name in ("relative_mahalanobis", "knn"):
            assert float(row[name]) == pytest.approx(float(scores[name].score(features)), rel=1e-3, abs=1e-5)
        assert float(row["max_softmax"]) == pytest.approx(1 - float(logits.softmax(1).max()), abs=1e-5)
        assert float(row["energy"]) == pytest.approx(-float(logits.logsumexp(1)), rel=1e-5)
    for name, figures in found["scores"].items():
        inside, outside = column(rows, name, "in"), column(rows, name, "out")
        assert {key: figures[key] for key in ("auroc", "aupr", "fpr95")} == ood_report(inside, outside)
        assert figures["threshold"] == inside.max()  # 95 % of twelve are more than eleven
    assert found["best"] == max(names, key=lambda name: found["scores"][name]["auroc"])
    refused = {place: float((column(rows, "knn", place) > 0.01).double().mean()) for place in ("in", "out")}
    assert found["infer"] == {"score": "knn", "threshold": 0.01, "refused": refused}
    assert found["in"] == {"folder": "faces/test", "pictures": 12, "unreadable": []}
    assert found["out"]["unreadable"] == ["noise/broken.png: not a picture in a known format"]
    with Image.open("ood/ood.png") as picture:
        assert picture.width > 1000
    said = capsys.readouterr().out
    for text in (
        f"{found['best']} *", f"{found['scores']['knn']['auroc']:.3f}", "in: 12 pictures, out: 8; * highest AUROC",
        "by chance: 0.400", f"refuses {refused['out']:.1%} of out and {refused['in']:.1%} of in (knn above 0.01)",
        "1 of 9 pictures of noise could not be read:\n  noise/broken.png: not a picture",
    ):  # fmt: skip
        assert text in said
    assert said.endswith("ood/ood.json\nood/ood.csv\nood/ood.png\n")


def test_a_score_of_the_checkpoint_stands_for_the_usual_one(capsys: pytest.CaptureFixture[str]) -> None:
    save_run("run", Answering(ood={"energy": Energy(5.0)}))
    assert (
        main(["ood", "run/last.ckpt", "faces/test", "noise", "--out", "said", "--device", "cpu", "--import", "json"])
        == 0
    )
    found, rows = read("said")
    assert list(found["scores"]) == LOGIT_SCORES
    assert found["infer"] is None
    assert "eac infer" not in capsys.readouterr().out
    image = torch.from_numpy(pixels_of(Path(rows[0]["path"]))).permute(2, 0, 1)[None]
    logits = load_module("run/last.ckpt")(image)
    assert float(rows[0]["energy"]) == pytest.approx(float(Energy(5.0).score(logits)), rel=1e-5)


def test_a_checkpoint_without_statistics_says_how_to_get_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ood", "run", "faces/test", "noise"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "run/last.ckpt holds no statistics" in said
    assert "--trainer.callbacks+=eac_lightning.OODCallback" in said
    assert "eac calibrate run/last.ckpt" in said
    assert "--fit ROOT" in said
    save_run("run", Answering(temperature=2.0))
    assert main(["ood", "run", "faces/test", "noise"]) == 1
    assert not Path("ood").exists()


@pytest.mark.parametrize("classes", [{}, {"class_names": None, "num_classes": 3}])
def test_statistics_are_taken_of_a_data_set(classes: dict[str, Any]) -> None:
    save_run("run", Answering(ood={"energy": Energy(5.0)}), **classes)
    before = Path("run/last.ckpt").read_bytes()
    options = ["--fit", "faces", "--layout", "folder", "--shrinkage", "0.1", "--batch-size", "5"]
    assert main(["ood", "run", "faces/test", "noise", *options]) == 0
    found, rows = read()
    assert list(found["scores"]) == ["relative_mahalanobis", "mahalanobis", "knn", *LOGIT_SCORES]
    assert found["statistics"] == "faces"
    assert found["infer"] is None
    inside = sorted(Path("faces/test").glob("*/*.png"))
    image = torch.stack([torch.from_numpy(pixels_of(path)).permute(2, 0, 1) for path in inside])
    expected = fitted()["relative_mahalanobis"].score(features_and_logits(make_module(), image)[0])
    torch.testing.assert_close(column(rows, "relative_mahalanobis", "in"), expected, rtol=1e-3, atol=1e-3)
    assert Path("run/last.ckpt").read_bytes() == before


def test_what_cannot_be_fitted_is_left_out_and_said(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    make_faces(Path("few"), (4, 1, 1))
    for extra in (1, 2, 3):
        Path(f"few/train/neutral/{extra}.png").unlink()
    assert main(["ood", "run", "faces/test", "noise", "--fit", "few", "--shrinkage", "0.1"]) == 1
    for said in (
        "mahalanobis is left out. Expected at least two samples of each class",
        "knn is left out. Expected at least k=10",
    ):
        assert said in caplog.text
    assert "No score can be fitted on the 9 training faces of few" in " ".join(capsys.readouterr().err.split())
    assert not Path("ood").exists()
    shutil.copy("few/train/anger/0.png", "few/train/anger/4.png")
    assert main(["ood", "run", "faces/test", "noise", "--fit", "few", "--shrinkage", "0.1"]) == 0
    assert list(read()[0]["scores"]) == ["knn", *LOGIT_SCORES]


def test_a_limit_takes_pictures_from_all_over_a_folder() -> None:
    assert main(["ood", "run", "faces/test", "noise", "--fit", "faces", "--shrinkage", "0.1", "--limit", "6"]) == 0
    rows = read()[1]
    assert [Path(row["path"]).parent.name for row in rows[:6]] == ["anger"] * 2 + ["happiness"] * 2 + ["neutral"] * 2
    assert len(rows) == 12


def test_a_module_of_no_size_takes_pictures_as_they_are() -> None:
    save_run("run", Answering(ood=fitted()), image_size=None)
    assert main(["ood", "run", "faces/test", "noise"]) == 0
    row = read()[1][-1]
    image = torch.from_numpy(pixels_of(Path(row["path"]), None)).permute(2, 0, 1)[None]
    energy = float(Energy().score(load_module("run/last.ckpt")(image)))
    assert float(row["energy"]) == pytest.approx(energy, rel=1e-5)


def test_a_folder_without_a_picture_that_can_be_read_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken").mkdir()
    for number in range(12):
        Path(f"broken/{number:02d}.png").write_bytes(b"nothing")
    assert main(["ood", "run", "faces/test", "broken", "--fit", "faces", "--shrinkage", "0.1"]) == 1
    said = capsys.readouterr().err
    assert "None of the pictures in broken can be read" in said
    assert "broken/09.png" in said
    assert "… and 2 more" in said
    assert "broken/10.png" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["faces/test", "faces/test"], "Expected two folders apart, but faces/test and faces/test are the same"),
        (["faces/test", "faces"], "or one lies in the other"),
        (["faces", "faces/../faces/test"], "or one lies in the other"),
        (["faces/test", "noise", "--out", "noise"], "noise/ood.png would be among the pictures"),
        (["faces/test", "noise", "--out", "faces/test/x"], "would be among the pictures"),
        (["faces/test", "noise", "--out", "run/last.ckpt"], "Expected --out to be a folder, but run/last.ckpt is"),
        (["faces/test", "noise", "--out", "run/last.ckpt/x/y"], "Expected --out to be a folder, but run/last.ckpt is"),
        (["faces/test", "noise", "--batch-size", "0"], "--batch-size to be at least 1, but got 0"),
        (["faces/test", "noise", "--limit", "0"], "--limit to be at least 1, but got 0"),
        (["faces/test", "noise", "--device", "gpu"], "device that is there, but got 'gpu'"),
        (["faces/test", "nowhere"], "folder of pictures at nowhere, but there is none"),
        (["faces/test", "noise/0.png"], "folder of pictures at noise/0.png, but that is a file"),
        (["faces/test", "run"], "Expected pictures"),
        (["faces/test", "noise", "--fit", "faces", "--shrinkage", "2"], "shrinkage to be from 0 to 1, but got 2.0"),
    ],
)
def test_what_cannot_be_is_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ood", "run", *arguments]) == 1
    assert message in " ".join(capsys.readouterr().err.split())
    assert not Path("ood").exists()


def test_a_module_that_takes_normalised_images_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    save_run("run", Answering(ood=fitted()), normalize=False)
    assert main(["ood", "run", "faces/test", "noise"]) == 1
    assert "normalize=False" in capsys.readouterr().err
