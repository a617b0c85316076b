"""``eac mixing``, and what other commands make of a run that was trained with mixing."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from eac_lightning.cli import main
from tests.cli.test_training import fit_small


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", ["eac"])


def test_a_picture_is_written_and_the_seed_decides(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mixing", str(faces), "--faces", "4", "--size", "32"]) == 0
    assert capsys.readouterr().out.strip() == "mixing.png"
    first = np.asarray(Image.open("mixing.png"))
    assert first.shape[2] == 3
    for seed, same in (("0", True), ("1", False)):
        assert main(["mixing", str(faces), "--faces", "4", "--size", "32", "--seed", seed, "--out", "new/a.png"]) == 0
        assert np.array_equal(np.asarray(Image.open("new/a.png")), first) == same


def test_each_class_is_shown_before_a_second_face_of_any(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {}

    def draw(pictures: list[np.ndarray], labels: list[int], names: tuple[str, ...], seed: int) -> np.ndarray:
        shown.update(pictures=pictures, labels=labels, names=names)
        return np.zeros((4, 4, 3), dtype=np.uint8)

    monkeypatch.setattr("eac_lightning.cli.draw_mixing.mixing_grid", draw)
    for path in faces.glob("train/*/*.png"):  # grey files, too
        Image.open(path).convert("L").save(path)
    assert main(["mixing", str(faces), "--faces", "5", "--classes", "neutral", "anger"]) == 0
    assert shown["names"] == ("neutral", "anger")
    assert sorted(shown["labels"][:2]) == sorted(shown["labels"][2:4]) == [0, 1]
    assert {picture.shape for picture in shown["pictures"]} == {(64, 64, 3)}
    brightness = [picture.mean() > 100 for picture in shown["pictures"]]
    assert brightness == [label == 0 for label in shown["labels"]]


def test_broken_faces_are_passed_over_until_too_few_are_left(faces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = sorted(faces.glob("train/*/*.png"))
    for path in pictures[:-2]:
        path.write_bytes(b"no picture")
    assert main(["mixing", str(faces)]) == 0
    pictures[-2].write_bytes(b"no picture")
    assert main(["mixing", str(faces), "--out", "other.png"]) == 1
    assert "at least two training faces" in " ".join(capsys.readouterr().err.split())
    assert not Path("other.png").exists()


@pytest.mark.parametrize(("option", "value"), [("--faces", "1"), ("--faces", "1000"), ("--size", "4")])
def test_numbers_out_of_range_are_refused(
    option: str, value: str, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["mixing", str(faces), option, value]) == 1
    assert f"Expected {option} from" in " ".join(capsys.readouterr().err.split())


def test_a_folder_is_no_picture(faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mixing", str(faces), "--out", str(tmp_path)]) == 1
    assert "Expected --out to be a file, but" in " ".join(capsys.readouterr().err.split())


def test_a_run_that_mixed_its_labels_is_not_audited_unless_somebody_insists(
    faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for *options, audited in (
        ("--model.mixing", "mixup", False),
        ("--model.mixing", "cutout", True),
        ("--model.mixing", "mixup", "--model.force_mixing", "true", True),
    ):
        assert main([*fit_small(faces, *options), "--resume", "false"]) == 0
        capsys.readouterr()
        assert main(["audit", "run", "--gallery", "0"]) == (0 if audited else 1)
        said = " ".join(capsys.readouterr().err.split())
        assert ("An audit does not go with mixing='mixup': labels that are mixed are never learnt" in said) != audited
        assert audited or "--force-mixing" in said
    assert main([*fit_small(faces, "--model.mixing", "mixup"), "--resume", "false"]) == 0
    assert main(["audit", "run", "--gallery", "0", "--force-mixing"]) == 0


def test_a_comparison_sets_mixing_beside_plain_training(faces: Path) -> None:
    options = ["--model.mixing", "fmix", "--model.mixing_options", "{alpha: 0.4}"]
    assert main(["compare", *fit_small(faces, *options)[1:]]) == 0
    assert set(json.loads(Path("run/summary.json").read_text())) == {"cross_entropy", "cross_entropy_with_fmix"}
    for method, expected in (("cross_entropy", (None, None)), ("cross_entropy_with_fmix", ("fmix", {"alpha": 0.4}))):
        model = yaml.safe_load(Path("run", method, "config.yaml").read_text())["model"]["init_args"]
        assert (model["mixing"], model["mixing_options"]) == expected
