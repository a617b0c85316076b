"""What holds for every data set that has a layout of its own."""

import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pytorch_lightning import Trainer

from eac_lightning import ClassificationModule, FERDataModule
from eac_lightning.cli import main
from eac_lightning.data.annotations import read_annotations
from eac_lightning.data.emotions import canonical_classes
from eac_lightning.data.layouts import LAYOUTS, affectnet, ckplus, ckplus48, expw, ferg, jaffe, kdef, sfew
from eac_lightning.data.layouts.base import Options
from tests.data.layouts.data_sets import DATA_SETS, make_expw, make_jaffe

MAKERS = pytest.mark.parametrize(("layout", "make"), DATA_SETS.values(), ids=list(DATA_SETS))
PAGES = Path(__file__).parents[3] / "docs" / "datasets"
Make = Callable[[Path], Path]

# As the data sets' own papers, pages or notes say it; the readers say it a second time, in their own spelling.
CODES = {
    affectnet: {0: "neutral", 1: "happiness", 2: "sadness", 3: "surprise", 4: "fear", 5: "disgust", 6: "anger",
                7: "contempt"},
    ckplus: {0: "neutral", 1: "anger", 2: "contempt", 3: "disgust", 4: "fear", 5: "happiness", 6: "sadness",
             7: "surprise"},
    ckplus48: {0: "anger", 1: "disgust", 2: "fear", 3: "happiness", 4: "sadness", 5: "surprise", 6: "neutral",
               7: "contempt"},
    expw: {0: "anger", 1: "disgust", 2: "fear", 3: "happiness", 4: "sadness", 5: "surprise", 6: "neutral"},
    sfew: {0: "anger", 1: "disgust", 2: "fear", 3: "happiness", 4: "neutral", 5: "sadness", 6: "surprise"},
    ferg: {0: "anger", 1: "disgust", 2: "fear", 3: "happiness", 4: "neutral", 5: "sadness", 6: "surprise"},
}  # fmt: skip
LETTERS = {"AN": "anger", "AF": "fear", "DI": "disgust", "FE": "fear", "HA": "happiness", "NE": "neutral",
           "SA": "sadness", "SU": "surprise"}  # fmt: skip


@pytest.mark.parametrize("reader", CODES, ids=lambda reader: reader.__name__)
def test_codes_mean_what_the_data_set_says(reader: object) -> None:
    assert dict(enumerate(canonical_classes(reader.CLASSES))) == CODES[reader]


@pytest.mark.parametrize("reader", [jaffe, kdef], ids=lambda reader: reader.__name__)
def test_letters_mean_what_the_data_set_says(reader: object) -> None:
    assert canonical_classes(reader.CLASSES) == tuple(LETTERS[code] for code in reader.CODES)


@MAKERS
def test_auto_recognises_it(layout: str, make: Make, tmp_path: Path) -> None:
    data = read_annotations(make(tmp_path), val_fraction=0.2, test_fraction=0.2)
    assert data.layout == layout
    assert data.notes[0].startswith(f"Layout {layout}: recognised, because ")
    assert data.table["path"].is_unique
    splits = set(data.table["split"])
    assert {"train", "val"} <= splits
    subjects = data.table[data.table["subject"] != ""].groupby("subject")["split"].nunique()
    groups = data.table[data.table["group"] != ""].groupby("group")["split"].nunique()
    assert (subjects == 1).all()
    assert (groups == 1).all()


@MAKERS
def test_only_general_layouts_recognise_it_too(layout: str, make: Make, tmp_path: Path) -> None:
    root = make(tmp_path)
    others = {name for name, entry in LAYOUTS.items() if entry.recognise(root, Options())} - {layout}
    assert others <= {"folder"}


@MAKERS
def test_every_picture_can_be_looked_at(layout: str, make: Make, tmp_path: Path) -> None:
    data = read_annotations(make(tmp_path), layout, val_fraction=0.2, test_fraction=0.2)
    sizes = {data.picture(row).shape[:2] for row in range(len(data.table))}
    assert sizes == {"affectnet": {(9, 10)}, "expw": {(16, 14)}, "ckplus48": {(48, 48)}}.get(layout, {(10, 12)})


@MAKERS
def test_eac_data_shows_it(layout: str, make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make(tmp_path)
    assert main(["data", str(root), "--val-fraction", "0.2", "--test-fraction", "0.2"]) == 0
    text = capsys.readouterr().out
    assert f"({layout})" in text
    assert "happiness" in text
    assert re.search(r"broken pictures +0\s", text)


@pytest.mark.parametrize("reader", [*CODES, jaffe, kdef], ids=lambda reader: reader.__name__)
def test_the_page_says_the_classes_in_order(reader: object) -> None:
    name = reader.__name__.rpartition(".")[2]
    lines = (PAGES / "README.md").read_text().splitlines()
    row = next(line for line in lines if line.startswith(f"| [`{name}`]"))
    assert f"| {', '.join(canonical_classes(reader.CLASSES))} |" in row
    page = row.partition("](")[2].partition(")")[0]
    assert f"-c data/{name} " in (PAGES / page).read_text()


@MAKERS
def test_it_can_be_learned_from(layout: str, make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    data = FERDataModule(make(tmp_path), layout, image_size=16, val_fraction=0.2, test_fraction=0.2, seed=0)
    module = ClassificationModule(data.num_classes, backbone="tiny")
    trainer = Trainer(
        max_epochs=1, limit_train_batches=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu", default_root_dir=tmp_path / "run",
    )  # fmt: skip
    trainer.fit(module, data)
    assert 0 <= trainer.callback_metrics["val/accuracy"] <= 1


@MAKERS
def test_nothing_else_is_recognised_by_a_layout(layout: str, make: Make, tmp_path: Path) -> None:
    assert not LAYOUTS[layout].recognise(tmp_path, Options())
    (tmp_path / "train" / "happy").mkdir(parents=True)
    for number in range(4):
        (tmp_path / "train" / "happy" / f"{number}.png").touch()
    assert not LAYOUTS[layout].recognise(tmp_path, Options())
    (tmp_path / "labels.csv").write_text("path,label\ntrain/happy/0.png,happy\n")
    assert not LAYOUTS[layout].recognise(tmp_path / "labels.csv", Options())
    del make


def test_a_table_of_ones_own_wins_over_names(tmp_path: Path) -> None:
    names = sorted(path.name for path in make_jaffe(tmp_path).glob("*.tiff"))
    lines = [f"{name},{('calm', 'tense')[number % 2]}" for number, name in enumerate(names)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *lines]))
    data = read_annotations(tmp_path)
    assert (data.layout, data.class_names) == ("table", ("calm", "tense"))
    assert "which comes before jaffe (pictures are called as KA.AN1.1.tiff)" in data.notes[0]


def test_corrections_and_noise_name_faces_of_one_photograph(tmp_path: Path) -> None:
    data = FERDataModule(make_expw(tmp_path / "expw"), label_overrides=str(tmp_path / "corrections.csv"), image_size=16)
    face = "image/origin/happy_expression_0.jpg#1"
    (tmp_path / "corrections.csv").write_text(f"path,label\n{face},fear\n")
    table = data.annotations.table.set_index("path")
    assert data.class_names[table["label"][face]] == "fear"
