"""From photographs to expressions, with a detector that knows where the faces are."""

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eac_lightning import Predictor, inference
from eac_lightning._lightning import L
from eac_lightning.answering import Answering
from eac_lightning.data.decoding import resize_square
from eac_lightning.errors import CheckpointError, ConfigurationError, DataError
from eac_lightning.faces import detection
from eac_lightning.faces.alignment import TEMPLATE, Alignment
from eac_lightning.faces.detection import Face
from eac_lightning.faces.synthetic import contact_sheet
from eac_lightning.inference import FacePrediction
from eac_lightning.modules import ClassificationModule
from eac_lightning.ood import KNearestNeighbours, MaximumSoftmax
from tests.conftest import CLASSES, TinyBackbone

PHOTO = Path(__file__).parents[2] / "shared" / "data" / "photos" / "multi_face.jpg"
ALIGNMENT = Alignment("five_point", size=40)


def face(x: float, y: float, size: float, turn: float = 0.2) -> Face:
    """Return a face around (x, y) whose landmarks are the template's, turned by ``turn`` (radians)."""
    rotation = np.array([(np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn))])
    points = (TEMPLATE / 112 - 0.5) @ rotation.T * size + (x, y)
    return Face((x - size / 2, y - size / 2, x + size / 2, y + size / 2), 0.99, points.astype(np.float32))


FOUND = {(90, 60): [face(30, 30, 40), face(70, 32, 24, turn=-0.4)], (50, 50): [face(24, 26, 30)]}
"""By the size of the photograph."""


class Detector:
    """Finds what is there to find, and notes how many pictures it is shown at a time."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, images: Sequence[Image.Image]) -> list[list[Face]]:
        assert all(image.mode == "RGB" for image in images)
        self.batches.append(len(images))
        return [FOUND.get(image.size, []) for image in images]


def photo(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(width)
    small = Image.fromarray(rng.integers(0, 256, (height // 6, width // 6, 3)).astype(np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def make_module(**options: object) -> ClassificationModule:
    torch.manual_seed(0)
    settings = {"class_names": list(CLASSES), "backbone": "tiny", "image_size": 32, **options}
    module = ClassificationModule(**settings)  # type: ignore[arg-type]
    for parameter in module.model.classifier.parameters():
        torch.nn.init.normal_(parameter, std=4.0)  # so that faces differ in what is said of them
    return module.eval()


def save_checkpoint(
    folder: Path, alignment: Alignment | None = None, answers: Answering | None = None, **options: object
) -> Path:
    trainer = L.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", default_root_dir=folder)
    module = make_module(**options)
    module.answers = answers
    trainer.strategy.connect(module)
    path = folder / "last.ckpt"
    trainer.save_checkpoint(path)
    if alignment is not None:
        checkpoint = torch.load(path, weights_only=True)
        checkpoint["eac_lightning"]["alignment"] = alignment.to_dict()
        torch.save(checkpoint, path)
    return path


def make_predictor(alignment: Alignment | None = ALIGNMENT, **options: object) -> Predictor:
    return Predictor(make_module(), alignment, **{"detector": Detector(), **options})  # type: ignore[arg-type]


def assert_same(one: FacePrediction, other: FacePrediction) -> None:
    assert one.box == other.box
    assert list(one.probabilities) == list(other.probabilities)
    np.testing.assert_allclose(list(one.probabilities.values()), list(other.probabilities.values()), atol=1e-5)
    np.testing.assert_allclose(one.map, other.map, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(one.crop), np.asarray(other.crop))


def assert_is_by_hand(said: FacePrediction, image: Image.Image, found: Face, predictor: Predictor) -> None:
    """Check a prediction against aligning, resizing and calling the module one after the other."""
    assert predictor.alignment is not None
    module = predictor.module
    assert module.image_size is not None
    crop = resize_square(np.asarray(predictor.alignment(image, found)), module.image_size)
    np.testing.assert_array_equal(np.asarray(said.crop), crop)
    with torch.no_grad():
        logits, maps = module.logits_and_maps(torch.from_numpy(crop.copy()).permute(2, 0, 1)[None])
    expected = logits.softmax(1)[0]
    np.testing.assert_allclose(list(said.probabilities.values()), expected.numpy(), atol=1e-5)
    assert list(said.probabilities) == list(module.class_names)
    top = int(expected.argmax())
    assert said.expression == said.top == module.class_names[top]
    assert said.confidence == pytest.approx(float(expected[top]), abs=1e-5)
    np.testing.assert_allclose(said.map, maps[0, top].numpy(), atol=1e-4)
    assert said.box == found.box
    assert said.detection_confidence == found.confidence
    assert said.landmarks is not None
    np.testing.assert_array_equal(said.landmarks, found.landmarks)


@pytest.mark.parametrize("alignment", [ALIGNMENT, Alignment("box", size=64, margin=0.1)])
def test_a_prediction_is_alignment_and_module_by_hand(alignment: Alignment) -> None:
    predictor = make_predictor(alignment)
    image = photo(90, 60)
    said = predictor(image).faces
    assert len(said) == 2
    for one, found in zip(said, FOUND[90, 60], strict=True):
        assert_is_by_hand(one, image, found, predictor)
    assert said[0].probabilities != said[1].probabilities


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_each_picture_gets_its_own_result_in_order(batch_size: int, tmp_path: Path) -> None:
    photo(50, 50).save(tmp_path / "one.png")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    predictor = make_predictor(batch_size=batch_size)
    pictures = [photo(90, 60), tmp_path / "broken.jpg", photo(20, 20), tmp_path / "one.png", str(tmp_path / "x.png")]
    said = predictor(pictures)
    assert [len(prediction.faces) for prediction in said] == [2, 0, 0, 1, 0]
    assert [prediction.source for prediction in said] == ["", *map(str, pictures[1:2]), "", *map(str, pictures[3:])]
    assert [prediction.reason for prediction in said] == [
        "", "unreadable: not a picture in a known format", "no face", "", "unreadable: no such file",
    ]  # fmt: skip
    assert [bool(prediction.error) for prediction in said] == [False, True, False, False, True]
    for one, alone in zip(said[0].faces, predictor(photo(90, 60)).faces, strict=True):
        assert_same(one, alone)
    assert_same(said[3].faces[0], predictor(tmp_path / "one.png").faces[0])


def test_one_picture_gives_one_result_in_whatever_form_it_comes(tmp_path: Path) -> None:
    predictor = make_predictor()
    image = photo(50, 50)
    image.save(tmp_path / "one.png")
    pixels = np.asarray(image)
    [expected] = predictor(image).faces
    for form in (tmp_path / "one.png", pixels, torch.from_numpy(pixels.copy()).permute(2, 0, 1)):
        [found] = predictor(form).faces
        assert_same(found, expected)
    assert predictor([]) == []


def test_a_face_below_the_confidence_is_unsure_and_keeps_its_figures() -> None:
    sure = make_predictor()(photo(90, 60)).faces
    limit = (sure[0].confidence + sure[1].confidence) / 2
    asked = make_predictor(min_confidence=limit)(photo(90, 60)).faces
    for before, after in zip(sure, asked, strict=True):
        assert after.expression == ("unsure" if before.confidence < limit else before.expression)
        assert after.top == before.expression
        assert_same(before, after)
    assert "unsure" in {one.expression for one in asked} != {"unsure"}


def test_the_largest_face_alone() -> None:
    [said] = make_predictor(faces="largest")(photo(90, 60)).faces
    assert said.box == FOUND[90, 60][0].box
    assert make_predictor(faces="largest")(photo(20, 20)).faces == []


def test_crops_are_taken_whole() -> None:
    detector = Detector()
    predictor = make_predictor(None, detector=detector)
    said = predictor([photo(90, 60), photo(20, 20)])
    assert detector.batches == []
    [[one], [other]] = [prediction.faces for prediction in said]
    assert one.box == (0, 0, 90, 60)
    assert one.detection_confidence is one.landmarks is None
    assert one.crop.size == other.crop.size == (32, 32)
    np.testing.assert_array_equal(np.asarray(one.crop), resize_square(np.asarray(photo(90, 60)), 32))
    np.testing.assert_allclose(one.matrix @ (90, 60, 1), (32, 32))
    assert json.loads(json.dumps(one.to_dict()))["landmarks"] is None


def test_crops_stay_as_they_are_for_a_module_that_knows_no_size() -> None:
    predictor = Predictor(make_module(image_size=None), None)
    said = predictor([photo(48, 48), photo(24, 36)])
    assert [prediction.faces[0].crop.size for prediction in said] == [(48, 48), (24, 36)]
    assert [prediction.faces[0].map.shape for prediction in said] == [(12, 12), (9, 6)]
    aligned = Predictor(make_module(image_size=None), ALIGNMENT, detector=Detector())
    assert [one.crop.size for one in aligned(photo(90, 60)).faces] == [(40, 40)] * 2


def test_the_matrix_leads_from_the_photograph_to_the_crop() -> None:
    for one in make_predictor()(photo(90, 60)).faces:
        assert one.landmarks is not None
        there = np.column_stack([one.landmarks, np.ones(5)]) @ one.matrix.T
        np.testing.assert_allclose(there, TEMPLATE / 112 * 32, atol=1e-3)


def test_a_stream_holds_one_batch_in_memory() -> None:
    read = []

    def pictures() -> Iterator[Image.Image]:
        for number in range(7):
            read.append(number)
            yield photo(50, 50)

    detector = Detector()
    stream = make_predictor(batch_size=3, detector=detector).stream(pictures())
    assert len(next(stream).faces) == 1
    assert len(read) == 3
    assert len(list(stream)) == 6
    assert detector.batches == [3, 3, 1]


def test_large_photographs_come_in_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "_PIXELS", 5000)
    detector = Detector()
    assert len(make_predictor(detector=detector)([photo(50, 50), photo(50, 50), photo(90, 60), photo(20, 20)])) == 4
    assert detector.batches == [2, 1, 1]


def test_more_faces_than_a_batch_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [face(20 + number, 30, 24) for number in range(7)]
    monkeypatch.setitem(FOUND, (90, 60), many)
    predictor = make_predictor(batch_size=3)
    sizes = []
    compute = predictor.module.logits_and_maps

    def counted(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sizes.append(len(image))
        return compute(image)

    monkeypatch.setattr(predictor.module, "logits_and_maps", counted)
    said = predictor(photo(90, 60)).faces
    assert [one.box for one in said] == [one.box for one in many]
    assert sizes == [3, 3, 1]


def test_the_module_is_left_as_it_was() -> None:
    module = make_module().train()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    state = torch.get_rng_state()
    Predictor(module, ALIGNMENT, detector=Detector())(photo(90, 60))
    assert all(part.training for part in module.modules())
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_face_that_cannot_be_cut_out_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = Face((0, 0, 9, 9), 0.99, np.full((5, 2), 4, np.float32))
    monkeypatch.setitem(FOUND, (90, 60), [FOUND[90, 60][0], bad, FOUND[90, 60][1]])
    monkeypatch.setitem(FOUND, (20, 20), [bad])
    some, none, one = make_predictor()([photo(90, 60), photo(20, 20), photo(50, 50)])
    assert [face.box for face in some.faces] == [FOUND[90, 60][0].box, FOUND[90, 60][2].box]
    assert [len(prediction.faces) for prediction in (none, one)] == [0, 1]
    for prediction in (some, none):
        assert prediction.error.startswith("a face cannot be cut out: Expected landmarks that lie apart")
        assert prediction.reason == prediction.to_dict()["reason"] == f"unreadable: {prediction.error}"
    assert one.error == ""


def test_broken_weights_are_said() -> None:
    predictor = make_predictor()
    torch.nn.init.constant_(next(predictor.module.parameters()), torch.nan)
    assert predictor(photo(20, 20)).faces == []
    with pytest.raises(DataError, match="network answers NaN for a face: its weights are broken"):
        predictor(photo(90, 60))


def test_what_is_no_module_alignment_or_picture_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="Expected a FERModule and an Alignment or None, but got int and None"):
        Predictor(3, None)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"but got ClassificationModule and str. Predictor.from_checkpoint"):
        Predictor(make_module(), "box")  # type: ignore[arg-type]
    for wrong in (3, [3]):
        with pytest.raises(ConfigurationError, match="Expected a picture as path, .* but got int"):
            make_predictor()(wrong)  # type: ignore[call-overload]


def test_crops_need_no_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "MTCNN", None)
    assert len(Predictor(make_module(), None)(photo(50, 50)).faces) == 1


def test_predictions_are_plain_types_for_json() -> None:
    said = make_predictor(min_confidence=0.3)(photo(90, 60))
    entry = json.loads(json.dumps(said.to_dict()))
    assert set(entry) == {"source", "faces", "reason"}
    for one, plain in zip(said.faces, entry["faces"], strict=True):
        assert plain["box"] == pytest.approx(one.box, abs=0.01)
        assert plain["expression"] == one.expression
        assert plain["confidence"] == pytest.approx(max(plain["probabilities"].values()))
        assert sum(plain["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(plain["landmarks"], one.landmarks, atol=0.01)


# ---- what the checkpoint knows of its own answers ----------------------------------------------------------------


def knowing(**answers: object) -> Predictor:
    module = make_module()
    module.answers = Answering(**answers)  # type: ignore[arg-type]
    return Predictor(module, ALIGNMENT, detector=Detector())


def far_from(predictor: Predictor, number: int, **answers: object) -> ClassificationModule:
    """Return a module to which one of the two faces of the first photograph is far, the other its training data."""
    crops = [said.crop for said in predictor(photo(90, 60)).faces]
    near = torch.from_numpy(np.asarray(crops[1 - number]).copy()).permute(2, 0, 1)[None]
    module = make_module()
    with torch.no_grad():
        features = module.features(near)
    score = KNearestNeighbours(k=1, normalize=False).fit(features)
    module.answers = Answering(ood={"knn": score}, ood_score="knn", ood_threshold=1e-3, **answers)  # type: ignore[arg-type]
    return module


def test_probabilities_are_those_of_the_temperature() -> None:
    plain, calibrated = make_predictor()(photo(90, 60)).faces, knowing(temperature=3.0)(photo(90, 60)).faces
    for one, other in zip(plain, calibrated, strict=True):
        expected = torch.tensor(list(one.probabilities.values())).log().div(3.0).softmax(0)
        np.testing.assert_allclose(list(other.probabilities.values()), expected.numpy(), atol=1e-5)
        assert other.expression == one.expression
        assert other.confidence == max(other.probabilities.values()) < one.confidence
        np.testing.assert_allclose(other.map, one.map, atol=1e-6)
        assert (other.ood_score, other.unlike) == (None, None)


def test_the_checkpoint_says_when_a_face_is_unsure_unless_asked_otherwise() -> None:
    one, other = sorted(face.confidence for face in make_predictor()(photo(90, 60)).faces)
    predictor = knowing(min_confidence=(one + other) / 2)
    assert [face.expression == "unsure" for face in predictor(photo(90, 60)).faces].count(True) == 1
    for asked, unsure in ((0.0, 0), (0.3, 0), (1.0, 2)):
        explicit = Predictor(predictor.module, ALIGNMENT, detector=Detector(), min_confidence=asked)
        assert [face.expression for face in explicit(photo(90, 60)).faces].count("unsure") == unsure
    assert make_predictor().min_confidence == 0


@pytest.mark.parametrize("number", [0, 1])
def test_a_face_far_from_the_training_data_says_so(number: int) -> None:
    usual = make_predictor()
    module = far_from(usual, number, min_confidence=1.0)
    said = Predictor(module, ALIGNMENT, detector=Detector())(photo(90, 60)).faces
    for place, (one, before) in enumerate(zip(said, usual(photo(90, 60)).faces, strict=True)):
        assert one.unlike is (place == number)
        assert one.ood_score is not None
        assert (one.ood_score > 1e-3) == one.unlike
        assert one.expression == ("not like the training data" if one.unlike else "unsure")
        assert_same(one, before)  # probabilities and maps are told all the same
        assert one.top == before.top
        assert one.confidence == pytest.approx(before.confidence)
        plain = json.loads(json.dumps(one.to_dict()))
        assert (plain["unlike"], plain["ood_score"]) == (one.unlike, pytest.approx(one.ood_score, abs=1e-6))


def test_a_face_far_from_the_training_data_may_be_told_like_others() -> None:
    usual = make_predictor()
    predictor = Predictor(far_from(usual, 0), ALIGNMENT, detector=Detector(), keep_unlike=True)
    said = predictor(photo(90, 60)).faces
    assert [one.expression for one in said] == [one.expression for one in usual(photo(90, 60)).faces]
    assert [one.unlike for one in said] == [True, False]


def test_features_and_logits_come_from_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = Predictor(far_from(make_predictor(), 0), ALIGNMENT, detector=Detector())
    passes = []
    forward = TinyBackbone.forward_features
    monkeypatch.setattr(TinyBackbone, "forward_features", lambda *given: passes.append(1) or forward(*given))
    predictor(photo(90, 60))
    assert len(passes) == 1


def test_a_score_of_logits_decides_as_well() -> None:
    usual = make_predictor()
    limit = float(np.mean([1 - face.confidence for face in usual(photo(90, 60)).faces]))
    predictor = knowing(
        temperature=5.0, ood={"max_softmax": MaximumSoftmax()}, ood_score="max_softmax", ood_threshold=limit
    )
    said = predictor(photo(90, 60)).faces
    assert {one.unlike for one in said} == {True, False}
    for one, before in zip(said, usual(photo(90, 60)).faces, strict=True):
        assert one.ood_score == pytest.approx(1 - before.confidence, abs=1e-5)  # of logits as they are


def test_a_module_without_features_goes_without() -> None:
    class Own(ClassificationModule):
        def features(self, image: torch.Tensor) -> torch.Tensor:
            raise NotImplementedError

    module = Own(class_names=list(CLASSES), backbone="tiny", image_size=32)
    module.answers = Answering(temperature=2.0)
    [one] = Predictor(module, ALIGNMENT, detector=Detector())(photo(50, 50)).faces
    assert one.ood_score is one.unlike is None


def test_broken_weights_are_said_before_any_score() -> None:
    predictor = Predictor(far_from(make_predictor(), 0), ALIGNMENT, detector=Detector())
    torch.nn.init.constant_(next(predictor.module.parameters()), torch.nan)
    with pytest.raises(DataError, match="network answers NaN for a face"):
        predictor(photo(90, 60))


def test_a_checkpoint_carries_it_into_the_predictor(tmp_path: Path) -> None:
    module = far_from(make_predictor(), 1, temperature=2.0, min_confidence=0.4, wanted_accuracy=0.9)
    path = save_checkpoint(tmp_path, ALIGNMENT, answers=module.answers)
    predictor = Predictor.from_checkpoint(path, detector=Detector())
    assert predictor.min_confidence == 0.4
    assert [one.unlike for one in predictor(photo(90, 60)).faces] == [False, True]
    kept = Predictor.from_checkpoint(path, detector=Detector(), min_confidence=0.0, keep_unlike=True)
    assert {one.expression for one in kept(photo(90, 60)).faces} <= set(CLASSES)


# ---- from a checkpoint ------------------------------------------------------------------------------------------


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_faces_are_aligned_as_the_checkpoint_says(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stated = Alignment("box", size=48, margin=0.35)
    save_checkpoint(tmp_path, stated)
    for path in (tmp_path, tmp_path / "last.ckpt", str(tmp_path)):  # a run's folder stands for its last checkpoint
        predictor = Predictor.from_checkpoint(path, detector=Detector())
        assert predictor.alignment == stated
    assert not warned(caplog)
    image = photo(50, 50)
    assert_is_by_hand(predictor(image).faces[0], image, FOUND[50, 50][0], predictor)


def test_an_unknown_alignment_is_guessed_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save_checkpoint(tmp_path)
    predictor = Predictor.from_checkpoint(path, detector=Detector())
    predictor([photo(50, 50), photo(90, 60)])
    assert predictor.alignment == Alignment("box", size=32)
    [message] = warned(caplog)
    assert message.startswith(f"{path} does not say how the faces")
    assert "margin of 20 %" in message
    assert "--align" in message


def test_an_alignment_that_is_asked_for_wins(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save_checkpoint(tmp_path, Alignment("box", size=48))
    for asked, expected in (("five_point", Alignment("five_point", size=32)), (ALIGNMENT, ALIGNMENT)):
        assert Predictor.from_checkpoint(path, alignment=asked, detector=Detector()).alignment == expected
    save_checkpoint(tmp_path, image_size=None)
    assert Predictor.from_checkpoint(path, alignment="box", detector=Detector()).alignment == Alignment("box", size=112)
    assert Predictor.from_checkpoint(path, crops=True).alignment is None
    assert not warned(caplog)
    with pytest.raises(ConfigurationError, match="Unknown alignment 'five_points'. Did you mean 'five_point'"):
        Predictor.from_checkpoint(path, alignment="five_points")


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="is no checkpoint of an eac_lightning module"):
        Predictor.from_checkpoint(tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match=r"last\.ckpt, but there is no such file"):
        Predictor.from_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_confidence": 50}, "min_confidence to be from 0 to 1, but got 50"),
        ({"faces": "larges"}, "Unknown choice of faces 'larges'.*Did you mean 'largest'"),
        ({"batch_size": 0}, "batch_size to be at least 1, but got 0"),
        ({"device": "gpu"}, "a device that is there, but got 'gpu'"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make_predictor(**options)  # type: ignore[arg-type]


def test_a_module_of_normalised_images_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"normalize=False.*trainer\.predict"):
        Predictor(make_module(normalize=False), ALIGNMENT)


# ---- with the real detector --------------------------------------------------------------------------------------


def test_synthetic_faces_are_found() -> None:
    sheet = contact_sheet(rows=2, columns=("happiness", "surprise", "neutral"), size=96)
    said = Predictor(make_module(), Alignment("five_point"))(sheet).faces
    middles = {(int((f.box[0] + f.box[2]) / 2 // 96), int((f.box[1] + f.box[3]) / 2 // 96)) for f in said}
    assert middles == {(column, row) for column in range(3) for row in range(2)}


@pytest.mark.skipif(not PHOTO.is_file(), reason=f"needs the photograph {PHOTO.name}")
def test_a_real_photograph() -> None:
    predictor = Predictor(make_module(), Alignment("five_point"))
    image = Image.open(PHOTO)
    [found] = predictor.detector([image])
    said = predictor(PHOTO).faces
    assert len(said) == len(found) == 5
    for one, detected in zip(said, found, strict=True):
        assert_is_by_hand(one, image, detected, predictor)
