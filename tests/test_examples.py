"""Every example runs, and finds what it says that it shows."""

import ast
import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eac_lightning import EACModule

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
FACES = 40  # the fewest that leave each of two classes three faces to validate and three to test on
LONGER = {"refuse_to_answer": (6, 240)}  # epochs and faces: more than features, and some answers that are sure


def audit_labels(said: str, root: Path) -> None:
    before, after = (re.search(rf"{name}: (\d+) of 28 labels are wrong", said) for name in ("as_given", "corrected"))
    suspects = re.search(r"(\d+) suspects, of which (\d+) are wrong", said)
    assert before is not None
    assert after is not None
    assert suspects is not None
    # With two classes a suggestion is the other one: right for a wrong label, wrong for a right one.
    count, found = map(int, suspects.groups())
    assert int(after[1]) == int(before[1]) - found + (count - found)
    folder = root / "audit_labels" / "as_given"
    assert (folder / "gallery.html").read_text().count('"path":"train/') == count
    assert len((folder / "corrections.csv").read_text().splitlines()) == count + 1


def draw_maps(said: str, root: Path) -> None:
    assert "face, happiness, surprise" in said
    sheet = np.asarray(Image.open(root / "draw_maps" / "classes.png"))
    assert sheet.shape == (6 * 3 * 48, 3 * 3 * 48, 3)
    face, happiness, surprise = np.split(sheet, 3, axis=1)
    assert (face != happiness).any()
    assert (happiness != surprise).any()
    assert Image.open(root / "draw_maps" / "panel.png").height > 6 * 100


def facenet2expnet(said: str, root: Path) -> None:
    for name in ("FaceNet2ExpNet", "from scratch", "FaceNet2ExpNet, then EAC"):
        assert re.search(rf"^{name}: test accuracy \d+\.\d%", said, re.MULTILINE)
    assert (root / "facenet2expnet" / "student.safetensors").is_file()


def own_backbone(said: str, root: Path) -> None:
    assert "Maps of a 48 px face: 2 classes, 6×6 cells" in said
    assert re.search(r"Validation accuracy: \d+\.\d%", said)


def own_callback(said: str, root: Path) -> None:
    assert re.search(r"epoch 1: \d+% of the wrong labels memorised", said)
    doubted = re.findall(r"doubted: train/\w+/\d+\.png is labelled \w+ \((\d+)%\), looks like \w+", said)
    assert len(doubted) == 10
    assert doubted == sorted(doubted, key=int)
    assert re.search(r"\d+ of these 10 are wrong, and \d+ of all 28 training labels\.", said)


def own_noise(said: str, root: Path) -> None:
    for row in (r"happiness +\d+ +[1-9]\d* +0", r"neutral +0 +\d+ +0", r"surprise +0 +[1-9]\d* +\d+"):
        assert re.search(row, said)
    assert re.search(r"Wrong labels that were memorised: \d+\.\d%", said)


def photo_to_expression(said: str, root: Path) -> None:
    found = re.findall(r"face (\d) at \((.+)\): (\w+) \(happiness (\d+)%, surprise (\d+)%\)", said)
    assert [number for number, *_ in found] == ["0", "1", "2", "3"]
    assert {expression for _, _, expression, *_ in found} <= {"happiness", "surprise", "unsure"}
    places = {tuple(int(value) // 192 for value in box.split(", ")[:2]) for _, box, *_ in found}
    assert places == {(0, 0), (1, 0), (0, 1), (1, 1)}  # each in its own quarter of the picture
    assert Image.open(root / "photo_to_expression" / "annotated.png").width >= 480


def plain_loop(said: str, root: Path) -> None:
    assert re.search(r"epoch 1: loss \d+\.\d+, validation accuracy \d+\.\d%", said)
    weights = torch.load(root / "plain_loop" / "weights.pt", weights_only=True)
    EACModule(num_classes=2, backbone="resnet8").load_state_dict(weights)


def refuse_to_answer(said: str, root: Path) -> None:
    assert re.search(r"temperature \d+\.\d+: calibration error \d+\.\d% before, \d+\.\d% after", said)
    assert re.search(r"answered from a confidence of \d\.\d+: \d+\.\d%, of them right", said)
    (refused,) = re.findall(r"^noise: (\d+)\.\d% refused", said, re.MULTILINE)
    assert int(refused) > 90


def subclass_eac(said: str, root: Path) -> None:
    assert "Consistency weight in the last epoch: 1.25" in said  # epoch 1 of 4, on the way to 5
    assert re.search(r"\.ckpt holds a RampedEAC\.", said)


def without_cli(said: str, root: Path) -> None:
    for name in ("ClassificationModule", "EACModule"):
        assert re.search(name + r"( +\d+\.\d%){3}", said)
        assert (root / "without_cli" / name / "results.json").is_file()


CHECKS: dict[str, Callable[[str, Path], None]] = {
    check.__name__: check
    for check in (
        audit_labels,
        draw_maps,
        facenet2expnet,
        own_backbone,
        own_callback,
        own_noise,
        photo_to_expression,
        plain_loop,
        refuse_to_answer,
        subclass_eac,
        without_cli,
    )
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all examples write, so that they share the faces as they do for a user."""
    return tmp_path_factory.mktemp("examples")


def test_every_example_has_a_check() -> None:
    assert {path.stem for path in EXAMPLES} == set(CHECKS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_is_short_and_says_how_to_run_it(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    assert len(source.splitlines()) <= 60
    assert (ast.get_docstring(tree) or "").endswith(f"    python examples/{path.name}")
    (main,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main"]
    assert len(main.args.defaults) == len(main.args.args)
    assert source.endswith('\n\nif __name__ == "__main__":\n    main()\n')


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_finds_what_it_shows(
    path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, example)  # where load_module finds a class of the example's own
    spec.loader.exec_module(example)
    epochs, faces = LONGER.get(path.stem, (2, FACES))
    example.main(root=root, epochs=epochs, faces=faces)
    CHECKS[path.stem](capsys.readouterr().out, root)
