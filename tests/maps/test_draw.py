from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eac_lightning._lightning import L
from eac_lightning.errors import CheckpointError, ConfigurationError, DataError
from eac_lightning.maps import draw
from eac_lightning.maps.draw import draw_cams, draw_cams_beside
from eac_lightning.modules import ClassificationModule

CLASSES = ["anger", "happiness"]


def save_checkpoint(folder: Path, class_names: list[str] = CLASSES, **options: object) -> Path:
    torch.manual_seed(0)
    module = ClassificationModule(class_names=class_names, **{"backbone": "mobilefacenet", **options})  # type: ignore[arg-type]
    trainer = L.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", default_root_dir=folder)
    trainer.strategy.connect(module)
    path = folder / "last.ckpt"
    trainer.save_checkpoint(path)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("run"), image_size=48)


def save_face(path: Path, mode: str = "RGB", size: tuple[int, int] = (40, 60)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[list[draw.CAMSample]]:
    panels: list[list[draw.CAMSample]] = []

    def note(samples: list[draw.CAMSample], names: object) -> np.ndarray:
        panels.append(list(samples))
        return np.zeros((4, 4, 3), dtype=np.uint8)

    monkeypatch.setattr(draw, "cam_panel", note)
    return panels


def test_one_picture_becomes_one_panel(checkpoint: Path, tmp_path: Path) -> None:
    face = save_face(tmp_path / "me.jpg")
    (path,) = draw_cams(checkpoint, [face], tmp_path / "out")
    assert path == tmp_path / "out" / "me_cam.png"
    with Image.open(path) as panel:
        assert panel.width > 1000


def test_folders_are_searched_and_a_sheet_holds_all(
    checkpoint: Path, tmp_path: Path, drawn: list[list[draw.CAMSample]]
) -> None:
    for name, mode in (("b/2.png", "L"), ("a/1.png", "RGB"), ("a/2.png", "RGB"), ("a/notes.txt", "")):
        if mode:
            save_face(tmp_path / "faces" / name, mode)
        else:
            (tmp_path / "faces" / name).write_text("no picture")
    single = save_face(tmp_path / "x.png")
    written = draw_cams(checkpoint, [single, tmp_path / "faces"], tmp_path / "out")
    names = ["x_cam.png", "1_cam.png", "2_cam.png", "2_2_cam.png", "cam_sheet.png"]
    assert [path.name for path in written] == names
    assert [sample.name for sample in drawn[-1]] == ["x.png", "1.png", "2.png", "2.png"]
    assert all(sample.image.shape == (48, 48, 3) for sample in drawn[-1])


def test_many_pictures_make_several_sheets(
    checkpoint: Path, tmp_path: Path, drawn: list[list[draw.CAMSample]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draw, "ROWS", 2)
    faces = [save_face(tmp_path / f"{number}.png") for number in range(3)]
    written = draw_cams(checkpoint, faces, tmp_path / "out")
    assert [path.name for path in written[3:]] == ["cam_sheet_01.png", "cam_sheet_02.png"]
    assert [len(panel) for panel in drawn] == [1, 1, 1, 2, 1]
    drawn.clear()
    assert len(draw_cams(checkpoint, faces, tmp_path / "out", limit=2)) == 3
    assert [sample.name for sample in drawn[-1]] == ["0.png", "1.png"]
    with pytest.raises(ConfigurationError, match="limit to be at least 1, but got 0"):
        draw_cams(checkpoint, faces, tmp_path / "out", limit=0)


def test_a_class_folder_is_the_given_label(checkpoint: Path, tmp_path: Path, drawn: list[list[draw.CAMSample]]) -> None:
    for folder in ("happy", "Anger", "holiday"):
        save_face(tmp_path / folder / "1.png")
    draw_cams(checkpoint, [tmp_path], tmp_path / "out")
    assert {sample.given for sample in drawn[-1]} == {1, 0, -1}
    assert [sample.given for sample in drawn[-1]] == [0, 1, -1]


def test_a_module_that_knows_no_size_takes_pictures_as_they_are(
    tmp_path: Path, drawn: list[list[draw.CAMSample]]
) -> None:
    face = save_face(tmp_path / "me.png", size=(32, 64))
    draw_cams(save_checkpoint(tmp_path), [face], tmp_path / "out")
    assert drawn[0][0].image.shape == (64, 32, 3)
    np.testing.assert_allclose(drawn[0][0].image, np.asarray(Image.open(face)) / 255, atol=1e-6)


def test_unreadable_pictures_are_named_and_the_others_drawn(
    checkpoint: Path, tmp_path: Path, drawn: list[list[draw.CAMSample]]
) -> None:
    good = save_face(tmp_path / "good.png")
    bad = tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:100])
    with pytest.warns(UserWarning, match=r"1 of 2 pictures could not be read:\n.*bad\.png"):
        (path,) = draw_cams(checkpoint, [bad, good], tmp_path / "out")
    assert path.name == "good_cam.png"


def test_only_unreadable_pictures_are_an_error(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("nothing")
    with pytest.raises(DataError, match=r"1 of 1 pictures could not be read:\n.*bad\.png: not a picture"):
        draw_cams(checkpoint, [tmp_path / "bad.png"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_picture_at_all_is_an_error(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Expected pictures .* there is none"):
        draw_cams(checkpoint, [tmp_path], tmp_path / "out")
    with pytest.raises(DataError, match="none was named"):
        draw_cams(checkpoint, [], tmp_path / "out")


def test_a_picture_that_is_not_there_is_an_error(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Expected a picture or a folder.*gone\.png, but there is nothing"):
        draw_cams(checkpoint, [tmp_path / "gone.png"], tmp_path / "out")


def test_a_file_that_is_no_checkpoint_is_an_error(tmp_path: Path) -> None:
    face = save_face(tmp_path / "me.png")
    with pytest.raises(CheckpointError, match=r"me\.png"):
        draw_cams(face, [face], tmp_path / "out")


def test_a_module_of_normalised_images_is_refused(tmp_path: Path) -> None:
    face = save_face(tmp_path / "me.png")
    with pytest.raises(ConfigurationError, match=r"normalize=False.*CAMCallback and trainer\.predict"):
        draw_cams(save_checkpoint(tmp_path, normalize=False), [face], tmp_path / "out")


def test_an_unknown_method_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Unknown CAM method 'cams'.*Did you mean 'cam'"):
        draw_cams(checkpoint, [tmp_path], tmp_path / "out", method="cams")


def test_gradient_cams_of_pictures(checkpoint: Path, tmp_path: Path, drawn: list[list[draw.CAMSample]]) -> None:
    draw_cams(checkpoint, [save_face(tmp_path / "me.png")], tmp_path / "out", method="layer_cam")
    assert drawn[0][0].predicted_map.min() >= 0


# ---- several checkpoints side by side ----------------------------------------------------------------------------


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, list[draw.CAMSample]]]:
    pictures: list[dict[str, list[draw.CAMSample]]] = []

    def note(columns: dict[str, list[draw.CAMSample]], names: object) -> np.ndarray:
        pictures.append({title: list(samples) for title, samples in columns.items()})
        return np.zeros((4, 4, 3), dtype=np.uint8)

    monkeypatch.setattr(draw, "side_by_side", note)
    return pictures


def test_several_checkpoints_see_the_same_faces(
    checkpoint: Path, tmp_path: Path, beside: list[dict[str, list[draw.CAMSample]]]
) -> None:
    faces = [save_face(tmp_path / "happy" / f"{number}.png") for number in range(2)]
    vit = {"backbone": "timm/vit_tiny_patch16_224", "backbone_options": {"patch_size": 8, "depth": 1}, "image_size": 32}
    (tmp_path / "vit").mkdir()
    other = save_checkpoint(tmp_path / "vit", **vit)
    (path,) = draw_cams_beside({"plain": checkpoint, "vit": other}, faces, tmp_path / "out")
    assert path == tmp_path / "out" / "cam_beside.png"
    (columns,) = beside
    assert list(columns) == ["plain", "vit"]
    for samples in columns.values():
        assert [sample.name for sample in samples] == ["0.png", "1.png"]
        assert [sample.given for sample in samples] == [1, 1]
    assert columns["plain"][0].image.shape == (48, 48, 3)
    assert columns["vit"][0].image.shape == (32, 32, 3)
    assert columns["vit"][0].predicted_map.shape == (4, 4)


def test_many_faces_make_several_pictures_side_by_side(
    checkpoint: Path, tmp_path: Path, beside: list[dict[str, list[draw.CAMSample]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draw, "ROWS", 2)
    faces = [save_face(tmp_path / f"{number}.png") for number in range(3)]
    written = draw_cams_beside({"a": checkpoint, "b": checkpoint}, faces, tmp_path / "out", "layer_cam")
    assert [path.name for path in written] == ["cam_beside_01.png", "cam_beside_02.png"]
    assert [[len(samples) for samples in columns.values()] for columns in beside] == [[2, 2], [1, 1]]


def test_the_picture_of_several_checkpoints_is_drawn(checkpoint: Path, tmp_path: Path) -> None:
    (path,) = draw_cams_beside({"a": checkpoint, "b": checkpoint}, [save_face(tmp_path / "me.png")], tmp_path / "out")
    with Image.open(path) as picture:
        assert picture.width > 600


def test_checkpoints_of_other_classes_are_not_drawn_beside(checkpoint: Path, tmp_path: Path) -> None:
    other = save_checkpoint(tmp_path, class_names=CLASSES[::-1], image_size=48)
    with pytest.raises(
        ConfigurationError, match=r"a has anger, happiness, and b has happiness, anger\. Draw them apart"
    ):
        draw_cams_beside({"a": checkpoint, "b": other}, [save_face(tmp_path / "me.png")], tmp_path / "out")
