import csv

import numpy as np
import pytest
from PIL import Image

from eac_lightning.errors import ConfigurationError, DataError
from eac_lightning.faces import synthetic
from eac_lightning.faces.synthetic import EXPRESSIONS, contact_sheet, sample_face, write_synthetic_faces
from eac_lightning.faces.synthetic.rendering import render_face

TWO = ("happiness", "sadness")


def rows(table):
    with table.open() as file:
        return list(csv.DictReader(file))


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_drawn_face_shows_its_expression(expression):
    for seed in range(20):
        face = sample_face(expression, np.random.default_rng(seed), intensity=0.8)
        assert face.expression == expression
        assert set(face.action_units) - {25} == set(EXPRESSIONS[expression])
        assert all(0.6 < face.action_units[unit] <= 1 for unit in EXPRESSIONS[expression])
        assert (face.side == "both") == (expression != "contempt")
        assert face.intensity == (0.8 if expression != "neutral" else 0.0)


def test_drawn_faces_stay_in_the_ranges_and_vary():
    faces = [sample_face("fear", np.random.default_rng(seed)) for seed in range(400)]
    for name, limit in (("yaw", 25), ("pitch", 15), ("roll", 15)):
        angles = np.array([getattr(face, name) for face in faces])
        assert limit / 4 < angles.std() < np.abs(angles).max() <= limit
    assert 0.35 <= min(face.intensity for face in faces) < 0.4
    assert 0.95 < max(face.intensity for face in faces) <= 1.0
    hidden = [face.occlusion for face in faces if face.occlusion != "none"]
    assert 0.09 < len(hidden) / len(faces) < 0.21
    assert set(hidden) == {"glasses", "hand", "mask", "hair"}
    assert all(face.identity.hair_style != "bald" for face in faces if face.occlusion == "hair")


def test_contempt_is_on_either_side():
    sides = {sample_face("contempt", np.random.default_rng(seed)).side for seed in range(20)}
    assert sides == {"left", "right"}


def test_what_is_given_replaces_what_is_drawn_and_nothing_else():
    drawn = sample_face("anger", np.random.default_rng(5))
    other = sample_face("fear", np.random.default_rng(6)).identity
    given = sample_face("anger", np.random.default_rng(5), identity=other, occlusion="mask")
    assert given.identity == other
    assert given.occlusion == "mask"
    assert (given.yaw, given.intensity, given.seed) == (drawn.yaw, drawn.intensity, drawn.seed)


def test_an_unknown_expression_names_the_nearest():
    with pytest.raises(ConfigurationError, match=r"Unknown expression 'happyness'\. Did you mean 'happiness'"):
        sample_face("happyness", np.random.default_rng(0))


@pytest.mark.parametrize("intensity", [-0.1, 1.5])
def test_an_intensity_out_of_range_is_refused(intensity):
    with pytest.raises(ConfigurationError, match=f"between 0 .* and 1; found {intensity}"):
        sample_face("anger", np.random.default_rng(0), intensity=intensity)


def test_a_contact_sheet_has_a_person_a_row_and_an_expression_a_column():
    sheet = contact_sheet(2, ("anger", "neutral", "fear"), size=48)
    assert sheet.shape == (96, 144, 3)
    assert sheet.std() > 20
    np.testing.assert_array_equal(sheet, contact_sheet(2, ("anger", "neutral", "fear"), size=48))


def test_a_data_set_has_every_class_in_every_split_and_a_row_a_face(tmp_path):
    table = write_synthetic_faces(tmp_path / "deep" / "faces", count=80, size=48)
    written = rows(table)
    assert table == tmp_path / "deep" / "faces" / "synthetic.csv"
    assert sorted(row["path"] for row in written) == sorted(
        str(path.relative_to(table.parent)) for path in table.parent.rglob("*.png")
    )
    found = {(row["split"], row["label"]): 0 for row in written}
    for row in written:
        found[row["split"], row["label"]] += 1
        assert row["path"].startswith(f"{row['split']}/{row['label']}/")
    assert found == {(s, c): n for s, n in (("train", 6), ("val", 2), ("test", 2)) for c in EXPRESSIONS}
    assert list(tmp_path.iterdir()) == [tmp_path / "deep"]
    assert list((tmp_path / "deep").iterdir()) == [tmp_path / "deep" / "faces"]


def test_the_table_records_what_was_drawn(tmp_path):
    table = write_synthetic_faces(tmp_path / "faces", count=12, size=48, seed=7, classes=("contempt", "fear"))
    for i, row in enumerate(rows(table)):
        params = sample_face(("contempt", "fear")[i % 2], np.random.default_rng((7, i)))
        face = render_face(params, 48)
        np.testing.assert_array_equal(np.asarray(Image.open(table.parent / row["path"])), face.image)
        assert float(row["yaw"]) == pytest.approx(params.yaw, abs=1e-4)
        assert float(row["jaw_width"]) == pytest.approx(params.identity.shape["jaw_width"], abs=1e-4)
        assert float(row["x30"]) == pytest.approx(face.landmarks[30, 0], abs=1e-4)
        assert float(row["y66"]) == pytest.approx(face.landmarks[66, 1], abs=1e-4)
        assert float(row["right_au12"]) == pytest.approx(params.right_units.get(12, 0.0), abs=1e-4)
        assert float(row["left_au12"]) == pytest.approx(params.left_units.get(12, 0.0), abs=1e-4)
        assert row["hair_style"] == params.identity.hair_style
        assert (row["occlusion"], row["side"]) == (params.occlusion, params.side)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    for name, seed in (("one", 1), ("again", 1), ("two", 2)):
        write_synthetic_faces(tmp_path / name, count=12, size=48, seed=seed, classes=TWO)
    assert contents(tmp_path / "one") == contents(tmp_path / "again") != contents(tmp_path / "two")


def test_an_empty_folder_is_filled_and_progress_is_told(tmp_path):
    told = []
    write_synthetic_faces(tmp_path, count=12, size=48, classes=TWO, progress=lambda *at: told.append(at))
    assert told == [(i + 1, 12) for i in range(12)]
    assert {path.name for path in tmp_path.iterdir()} == {"train", "val", "test", "synthetic.csv"}


@pytest.mark.parametrize("taken", ["file", "full folder"])
def test_nothing_is_overwritten(tmp_path, taken):
    out = tmp_path / "faces"
    if taken == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / "mine.txt").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(DataError, match="new or empty folder"):
        write_synthetic_faces(out, count=12, classes=TWO)
    assert contents(tmp_path) == before


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    def fail(done, count):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_synthetic_faces(tmp_path / "faces", count=12, size=48, classes=TWO, progress=fail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 10, "classes": TWO, "val_fraction": 0.05}, r"10 faces are too few.*Ask for 40 or more"),
        ({"count": 7}, r"7 faces are too few for 8 classes"),
        ({"classes": ("fear",)}, "two or more different classes"),
        ({"classes": ("fear", "anger", "fear")}, "two or more different classes"),
        ({"classes": ("fear", "angr")}, "Did you mean 'anger'"),
        ({"val_fraction": 0.0}, "val_fraction=0.0"),
        ({"val_fraction": 0.5, "test_fraction": 0.5}, "leave something to train on"),
        ({"size": 32}, "48 to 512"),
        ({"seed": -1}, "seed is 0 or more; found -1"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path, options, message):
    with pytest.raises(ConfigurationError, match=message):
        write_synthetic_faces(tmp_path / "faces", **options)
    assert list(tmp_path.iterdir()) == []


def test_the_number_of_faces_that_an_error_asks_for_is_enough(tmp_path):
    write_synthetic_faces(tmp_path / "faces", count=40, size=48, classes=TWO, val_fraction=0.05)
    assert synthetic.TABLE in {path.name for path in (tmp_path / "faces").iterdir()}
