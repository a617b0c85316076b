"""``eac infer``, with a detector that finds a face in the middle of every large photograph."""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from eac_lightning import inference
from eac_lightning.answering import Answering
from eac_lightning.cli import infer, main
from eac_lightning.cli.parser import build_parser
from eac_lightning.cli.prediction_files import prediction_files
from eac_lightning.faces.alignment import TEMPLATE, Alignment
from eac_lightning.faces.detection import Face, FaceDetector
from eac_lightning.inference import PhotoPrediction
from eac_lightning.ood import Energy
from tests.cli.test_training import fit_small
from tests.conftest import CLASSES
from tests.test_inference import save_checkpoint


class Detector:
    def __init__(self, min_size: int, min_confidence: float, device: str) -> None:
        self.min_size, self.min_confidence, self.device = min_size, min_confidence, device

    def __call__(self, images: Sequence[Image.Image]) -> list[list[Face]]:
        return [[face for face in faces if self._wanted(face)] for faces in self._all(images)]

    def _wanted(self, face: Face) -> bool:
        return face.size >= self.min_size and face.confidence >= self.min_confidence

    def _all(self, images: Sequence[Image.Image]) -> list[list[Face]]:
        face = Face((20, 20, 60, 60), 0.98, (TEMPLATE / 112 * 40 + 20).astype(np.float32))
        small = Face((4, 4, 26, 26), 0.95, (TEMPLATE / 112 * 22 + 4).astype(np.float32))
        return [[face, small] if image.width > 200 else [face] if image.width > 60 else [] for image in images]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(infer, "FaceDetector", Detector)
    monkeypatch.setenv("COLUMNS", "120")
    Path("run").mkdir()
    save_checkpoint(Path("run"), Alignment(size=40))


def save_photo(path: str, width: int = 80) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(width).integers(0, 256, (70, width, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(file)
    return file


def read(out: str = "predictions") -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    with (Path(out) / "predictions.csv").open(newline="") as file:
        return json.loads((Path(out) / "predictions.json").read_text()), list(csv.DictReader(file))


def test_long_paths_are_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    save_photo(f"{'folder_' * 20}/first.png")
    assert main(["infer", "run", "folder_" * 20]) == 0
    shown = capsys.readouterr().out
    assert "first.png" in "".join(line[2:].partition("┃")[0].partition("│")[0].strip() for line in shown.splitlines())


def test_a_folder_becomes_files_pictures_and_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    save_photo("photos/a.png", 240)
    save_photo("photos/b/c.jpg")
    save_photo("photos/none.png", 30)
    Path("photos/broken.png").write_bytes(b"nothing")
    Path("photos/notes.txt").write_text("not searched")
    assert main(["infer", "run", "photos"]) == 0
    entries, rows = read()
    sources = ["photos/a.png", "photos/b/c.jpg", "photos/broken.png", "photos/none.png"]
    assert [entry["source"] for entry in entries] == sources
    assert [len(entry["faces"]) for entry in entries] == [2, 1, 0, 0]
    reasons = ["", "", "unreadable: not a picture in a known format", "no face"]
    assert [entry["reason"] for entry in entries] == reasons
    pictures = ["pictures/a.jpg", "pictures/c.jpg", "", ""]
    assert [entry["picture"] for entry in entries] == pictures
    assert sorted(f"pictures/{path.name}" for path in Path("predictions/pictures").iterdir()) == pictures[:2]
    assert Image.open("predictions/pictures/a.jpg").width >= 480
    said = capsys.readouterr().out
    for text in (
        "photos/b/c.jpg",
        "no face",
        "pictures: 4, faces: 3, unsure: 0\n",
        "1 of 4 pictures could not be read",
    ):
        assert text in said
    assert said.endswith("predictions/predictions.json\npredictions/predictions.csv\npredictions/pictures\n")

    assert list(rows[0]) == [
        "source", "face", "x0", "y0", "x1", "y1", "detection_confidence", "expression", "confidence", "ood_score",
        "unlike", "p_anger", "p_happiness", "p_neutral", "reason",
    ]  # fmt: skip
    assert [(row["source"], row["face"]) for row in rows] == [
        (sources[0], "0"), (sources[0], "1"), (sources[1], "0"), (sources[2], ""), (sources[3], ""),
    ]  # fmt: skip
    assert [row["reason"] for row in rows] == ["", *reasons]
    for row, face in zip(rows, entries[0]["faces"] + entries[1]["faces"], strict=False):
        assert [float(row[name]) for name in ("x0", "y0", "x1", "y1")] == face["box"]
        assert {name: float(row[f"p_{name}"]) for name in CLASSES} == face["probabilities"]
        assert row["expression"] == face["expression"]
        assert float(row["confidence"]) == face["confidence"] == max(face["probabilities"].values())
        assert float(row["detection_confidence"]) == face["detection_confidence"]
    assert rows[3]["x0"] == rows[3]["p_anger"] == rows[3]["expression"] == ""
    assert all(row["ood_score"] == row["unlike"] == "" for row in rows)
    assert entries[0]["faces"][0]["ood_score"] is entries[0]["faces"][0]["unlike"] is None


def test_photographs_of_one_name_keep_apart() -> None:
    for path in ("one/me.png", "one/me.jpg", "two/ME.png"):
        save_photo(path)
    assert main(["infer", "run", "one", "two"]) == 0
    pictures = [entry["picture"] for entry in read()[0]]
    assert pictures == ["pictures/me.jpg", "pictures/me_2.jpg", "pictures/ME_3.jpg"]
    assert all((Path("predictions") / picture).is_file() for picture in pictures)


def test_options(capsys: pytest.CaptureFixture[str]) -> None:
    save_photo("a.png", 240)
    options = ["--min-confidence", "1", "--faces", "largest", "--no-pictures", "--out", "said", "--batch-size", "1"]
    assert (
        main(["infer", "run/last.ckpt", "a.png", *options, "--align", "box", "--device", "cpu", "--import", "json"])
        == 0
    )
    [entry], [row] = read("said")
    assert row["expression"] == entry["faces"][0]["expression"] == "unsure"
    assert entry["picture"] == ""
    assert sorted(path.name for path in Path("said").iterdir()) == ["predictions.csv", "predictions.json"]
    assert "faces: 1, unsure: 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ([], 2),
        (["--min-size", "30"], 1),
        (["--min-face-confidence", "0.97"], 1),
        (["--min-face-confidence", "0.99"], 0),
    ],
)
def test_which_faces_count_is_a_choice(options: list[str], count: int) -> None:
    save_photo("a.png", 240)
    assert main(["infer", "run", "a.png", *options]) == 0
    assert len(read()[0][0]["faces"]) == count


def test_crops_are_not_searched(capsys: pytest.CaptureFixture[str]) -> None:
    save_photo("crop.png", 30)
    assert main(["infer", "run", "crop.png", "--crops"]) == 0
    [entry], [row] = read()
    assert entry["faces"][0]["box"] == [0, 0, 30, 70]
    assert row["detection_confidence"] == ""
    with pytest.raises(SystemExit, match="2"):
        main(["infer", "run", "crop.png", "--crops", "--align", "box"])
    assert "not allowed with argument --crops" in capsys.readouterr().err


def test_a_run_knows_how_its_faces_were_cut_out(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alignment = Alignment("box", size=16, margin=0.4)
    (faces / "faces.json").write_text(json.dumps({"alignment": alignment.to_dict()}))
    assert main(fit_small(faces, "--trainer.default_root_dir", "trained")) == 0
    assert inference.Predictor.from_checkpoint("trained").alignment == alignment
    save_photo("a.png")
    assert main(["infer", "trained", "a.png"]) == 0
    assert "does not say" not in " ".join(capsys.readouterr().out.split())


def test_alignment_that_is_not_known_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    save_checkpoint(Path("run"))
    save_photo("a.png")
    assert main(["infer", "run", "a.png"]) == 0
    assert "does not say how the faces" in " ".join(capsys.readouterr().out.split())


def test_errors_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    photo = str(save_photo("a.png"))
    Path("notes.txt").write_text("no picture")
    for arguments, message in (
        (["run", "nowhere"], "a folder of pictures at nowhere, but there is nothing"),
        (["run", "run"], "in run or below it, but there is none"),
        (["a.png", photo], "Error: a.png is "),
        (["nowhere.ckpt", photo], "nowhere.ckpt, but there is no such file"),
        (["run", "notes.txt"], "1 of 1 pictures could not be read: notes.txt: not a picture in a known format"),
        (["run", photo, "--min-confidence", "50"], "min_confidence to be from 0 to 1, but got 50"),
        (["run", photo, "--import", "no_such_module"], "no_such_module"),
    ):
        assert main(["infer", *arguments]) == 1
        assert message in " ".join(capsys.readouterr().err.split())


def test_pictures_of_an_earlier_run_are_left_out() -> None:
    save_photo("a.png")
    for _ in range(2):
        assert main(["infer", "run", "."]) == 0
        assert [entry["source"] for entry in read()[0]] == ["a.png"]


def test_annotated_pictures_of_an_earlier_run_go_with_its_list() -> None:
    save_photo("photos/a.png")
    save_photo("photos/b.png")
    assert main(["infer", "run", "photos"]) == 0
    mine = save_photo("predictions/pictures/mine.jpg")
    outside = save_photo("predictions/precious.jpg")
    entries = read()[0]
    named = ["", "precious.jpg", "../predictions/precious.jpg", "pictures/../precious.jpg", "pictures/gone.jpg"]
    entries += [{"picture": name} for name in named]
    Path("predictions/predictions.json").write_text(json.dumps(entries))
    Path("photos/b.png").unlink()
    assert main(["infer", "run", "photos"]) == 0
    assert sorted(path.name for path in Path("predictions/pictures").iterdir()) == ["a.jpg", "mine.jpg"]
    assert mine.is_file()
    assert outside.is_file()


@pytest.mark.parametrize("before", ["{", "3", "{}", '["a"]', "[{}]", '[{"picture": 3}]'])
def test_a_list_of_an_earlier_run_that_is_damaged_is_written_over(before: str) -> None:
    save_photo("a.png")
    Path("predictions").mkdir()
    Path("predictions/predictions.json").write_text(before)
    assert main(["infer", "run", "a.png"]) == 0
    assert len(read()[0]) == 1


def test_a_photograph_that_goes_meanwhile_is_not_drawn(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_photo("photos/a.png")
    photo = save_photo("photos/b.png")
    stream = inference.Predictor.stream

    def removing(predictor: inference.Predictor, paths: Sequence[Path]) -> Iterator[PhotoPrediction]:
        for prediction in stream(predictor, paths):
            photo.unlink(missing_ok=True)
            yield prediction

    monkeypatch.setattr(inference.Predictor, "stream", removing)
    assert main(["infer", "run", "photos"]) == 0
    assert [entry["picture"] for entry in read()[0]] == ["pictures/a.jpg", ""]
    assert "photos/b.png cannot be drawn: no such file" in " ".join(capsys.readouterr().out.split())


def test_a_face_that_cannot_be_cut_out_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = Face((0, 0, 9, 9), 0.99, np.full((5, 2), 4, np.float32))
    found = Detector._all
    monkeypatch.setattr(Detector, "_all", lambda self, images: [[*faces, bad] for faces in found(self, images)])
    save_photo("a.png")
    assert main(["infer", "run", "a.png", "--min-size", "0"]) == 0
    [entry] = read()[0]
    assert len(entry["faces"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "a.png: a face cannot be cut out: Expected landmarks" in said


def test_no_photograph_is_ever_written_over(capsys: pytest.CaptureFixture[str]) -> None:
    original = save_photo("pictures/a.jpg")
    before = original.read_bytes()
    save_photo("a.png")
    for named in (["pictures"], ["."], ["pictures/a.jpg"]):
        assert main(["infer", "run", *named, "--out", "."]) == 1
        assert "pictures holds photographs that are to be read" in " ".join(capsys.readouterr().err.split())
    assert original.read_bytes() == before


def test_many_photographs_are_not_all_listed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(infer, "ROWS", 3)
    monkeypatch.setattr(infer, "NAMED", 2)
    for number in range(4):
        save_photo(f"many/{number}.png", 240)
        Path(f"many/broken_{number}.png").write_bytes(b"nothing")
    assert main(["infer", "run", "many", "--no-pictures"]) == 0
    said = capsys.readouterr().out
    assert "… and 9 more lines in predictions.csv" in said
    assert "many/1.png" in said
    assert "many/2.png" not in said
    assert "4 of 8 pictures could not be read:\n  many/broken_0.png" in said
    assert said.count("known format") == 2
    assert "… and 2 more" in said
    assert len(read()[1]) == 12


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS keeps no name that is not UTF-8")
def test_strange_names_go_through(capsys: pytest.CaptureFixture[str]) -> None:
    strange = bytes(Path("photos")) + b"/[red]\xff.png"
    photo = save_photo("a.png")
    Path("photos").mkdir()
    photo.rename(Path(strange.decode(errors="surrogateescape")))
    assert main(["infer", "run", "photos"]) == 0
    assert "photos/[red]?.png" in capsys.readouterr().out
    assert b"photos/[red]\xff.png" in Path("predictions/predictions.csv").read_bytes()
    [entry] = json.loads(Path("predictions/predictions.json").read_text())
    assert (Path("predictions") / entry["picture"]).is_file()


def test_what_was_predicted_is_kept_when_a_run_is_stopped(tmp_path: Path) -> None:
    def stopped() -> None:
        with prediction_files(tmp_path / "out", CLASSES) as write:
            write(PhotoPrediction("a.png", []), "")
            write(PhotoPrediction("b.png", [], 'damaged, "truly"\nso'), "")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    entries, rows = read(str(tmp_path / "out"))
    reasons = ["no face", 'unreadable: damaged, "truly"\nso']
    assert [entry["reason"] for entry in entries] == [row["reason"] for row in rows] == reasons
    with prediction_files(tmp_path / "none", CLASSES):
        pass
    assert read(str(tmp_path / "none")) == ([], [])


def test_the_detector_is_as_it_is_in_python() -> None:
    defaults = build_parser().parse_args(["infer", "run", "a.png"])
    detector = FaceDetector()
    assert (defaults.min_size, defaults.min_face_confidence) == (detector.min_size, detector.min_confidence)


def knowing(threshold: float, **more: object) -> Answering:
    """Return answers by which one of the two faces of a large photograph is not like the training data."""
    return Answering(ood={"energy": Energy()}, ood_score="energy", ood_threshold=threshold, **more)  # type: ignore[arg-type]


def test_faces_not_like_the_training_data_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    save_photo("a.png", 240)
    save_checkpoint(Path("run"), Alignment(size=40), knowing(0.0))
    assert main(["infer", "run", "a.png"]) == 0
    scores = [face["ood_score"] for face in read()[0][0]["faces"]]
    threshold = sum(scores) / 2
    save_checkpoint(Path("run"), Alignment(size=40), knowing(threshold))
    capsys.readouterr()
    assert main(["infer", "run", "a.png"]) == 0
    [entry], rows = read()
    said = capsys.readouterr().out
    for face, row, score in zip(entry["faces"], rows, scores, strict=True):
        assert face["ood_score"] == float(row["ood_score"]) == score
        assert face["unlike"] is (score > threshold)
        assert row["unlike"] == str(face["unlike"])
        assert (face["expression"] == "not like the training data") is face["unlike"]
        assert row["expression"] == face["expression"]
        assert float(row["confidence"]) == max(face["probabilities"].values())
        [line] = [line for line in said.splitlines() if f"a.png      │ {row['face']}" in line]
        assert ("%" in line) is not face["unlike"]
        assert face["expression"] in line
    assert "faces: 2, unsure: 0, not like the training data: 1" in said
    assert main(["infer", "run", "a.png", "--keep-unlike"]) == 0
    assert {face["expression"] for face in read()[0][0]["faces"]} <= set(CLASSES)
    assert [face["unlike"] for face in read()[0][0]["faces"]] == [score > threshold for score in scores]
    said = capsys.readouterr().out
    assert said.count("(not like the training data)") == 1
    assert "unsure: 0, not like the training data: 1" in said


def test_the_checkpoint_says_when_a_face_is_unsure(capsys: pytest.CaptureFixture[str]) -> None:
    save_photo("a.png")
    save_checkpoint(Path("run"), Alignment(size=40), Answering(min_confidence=1.0))
    for options, unsure in (([], 1), (["--min-confidence", "0"], 0)):
        assert main(["infer", "run", "a.png", *options]) == 0
        assert f"faces: 1, unsure: {unsure}\n" in capsys.readouterr().out


def test_a_trained_run_knows_its_limits(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From `eac fit` with both callbacks to `eac infer`, `eac test` and `eac predict`."""
    both = (
        "[{class_path: eac_lightning.CalibrationCallback, init_args: {accuracy: 0.3}}, "
        "{class_path: eac_lightning.OODCallback, init_args: {neighbours: 3}}]"
    )
    fit = fit_small(faces, "--trainer.max_epochs", "3", "--model.lr", "0.05", "--trainer.callbacks", both)
    assert main(fit) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "on 12 validation faces; unsure below" in said
    assert "what scores more is not like the training data" in said
    for name in ("last", "best"):
        entry = torch.load(f"run/{name}.ckpt", weights_only=True)["eac_lightning"]["answering"]
        assert entry["ood_threshold"] is not None
        assert entry["min_confidence"] is not None
    assert main(["infer", "run", str(faces / "val"), "--crops"]) == 0
    entries, rows = read()
    assert len(entries) == 12
    unlike = [face["unlike"] for entry in entries for face in entry["faces"]]
    assert sum(unlike) <= 1  # 95 % of these very faces lie below the threshold
    assert all(row["ood_score"] for row in rows)
    assert f"not like the training data: {sum(unlike)}" in capsys.readouterr().out
    assert main(["predict", *fit[1:]]) == 0
    with Path("run/predictions.csv").open(newline="") as file:
        predicted = {row["path"]: float(row["confidence"]) for row in csv.DictReader(file)}
    for row in rows:
        path = Path(row["source"]).relative_to(faces).as_posix()
        assert float(row["confidence"]) == pytest.approx(predicted[path], abs=1e-4)
