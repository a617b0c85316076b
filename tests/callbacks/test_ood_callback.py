"""OODCallback against scores that are fitted by hand on what `load_module` gives back."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eac_lightning import OODCallback
from eac_lightning._lightning import L
from eac_lightning.errors import ConfigurationError
from eac_lightning.models.classifier import CAMClassifier
from eac_lightning.modules import ClassificationModule, load_module
from eac_lightning.ood import Energy, KNearestNeighbours, Mahalanobis, OODScore, RelativeMahalanobis
from tests.callbacks.conftest import CLASSES as OTHERS
from tests.callbacks.conftest import Faces, TinyModule, loader
from tests.callbacks.test_after_training import data, fit, network, stored
from tests.conftest import make_faces
from tests.runs.fitting import same, weights

MakeTrainer = Callable[..., L.Trainer]


def by_hand(folder: Path, name: str, faces: Path, split: str) -> tuple[ClassificationModule, dict[str, Tensor]]:
    """Return a checkpoint's module, and features, logits and given labels of a split, one face at a time."""
    module, dataset = load_module(folder / name), data(faces).dataset(split)
    features, logits = [], []
    with torch.no_grad():
        for position in range(len(dataset)):
            image = dataset[position]["image"][None].float() / 255
            features.append(module.features(image)[0])
            logits.append(module(image)[0])
    found = {
        "features": torch.stack(features),
        "logits": torch.stack(logits),
        "label": torch.from_numpy(dataset.labels),
    }
    return module, found  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_each_checkpoint_has_the_statistics_of_its_own_weights(name: str, faces: Path, tmp_path: Path) -> None:
    """Of un-augmented faces with the labels that training was given, a fifth of them wrong."""
    fit(faces, tmp_path, OODCallback(shrinkage=0.05, neighbours=4, keep=20, true_positive_rate=0.75))
    assert not same(weights(tmp_path), weights(tmp_path, "best.ckpt"))
    module, training = by_hand(tmp_path, name, faces, "train")
    _, validation = by_hand(tmp_path, name, faces, "val")
    clean = data(faces).annotations.table.query("split == 'train'")["clean_label"].tolist()
    assert training["label"].tolist() != clean
    answers = module.answers
    assert answers is not None
    expected: dict[str, OODScore] = {
        "relative_mahalanobis": RelativeMahalanobis(0.05), "mahalanobis": Mahalanobis(0.05),
        "knn": KNearestNeighbours(4, keep=20),
    }  # fmt: skip
    assert list(answers.ood) == list(expected)
    for key, score in expected.items():
        score.fit(training["features"], training["label"])
        torch.testing.assert_close(
            answers.ood[key].score(validation["features"]), score.score(validation["features"]), rtol=1e-4, atol=1e-5
        )
    scores = expected["relative_mahalanobis"].score(validation["features"])
    assert answers.ood_score == "relative_mahalanobis"
    assert answers.ood_threshold == pytest.approx(float(scores.sort().values[8]), rel=1e-4)  # 9 of 12 are below
    assert len(answers.ood["knn"].statistics["neighbours"]) == 20


def test_a_score_of_logits_may_decide(faces: Path, tmp_path: Path) -> None:
    fit(faces, tmp_path, OODCallback("energy", neighbours=3), max_epochs=1)
    module, validation = by_hand(tmp_path, "last.ckpt", faces, "val")
    answers = module.answers
    assert answers is not None
    assert list(answers.ood) == ["relative_mahalanobis", "mahalanobis", "knn", "energy"]
    expected = Energy().score(validation["logits"]).sort().values[11]
    assert (answers.ood_score, answers.ood_threshold) == ("energy", pytest.approx(float(expected), rel=1e-5))


def test_it_says_where_the_line_is(faces: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "eac_lightning")
    net = fit(faces, tmp_path, OODCallback(neighbours=3), max_epochs=2)
    assert net.answers is not None
    [said] = [line for line in caplog.messages if "not like the training data" in line]
    assert said.startswith("relative_mahalanobis: 95 % of 12 validation faces score at most")
    assert f"{net.answers.ood_threshold:.4g}" in said


# ---- too few faces ---------------------------------------------------------------------------------------------------


def steps(net: ClassificationModule) -> int:
    return net.trainer.global_step


@pytest.mark.parametrize(
    ("per_class", "options", "message"),
    [
        (
            2,
            {},
            "at least 8 training faces for relative_mahalanobis of 8 features with shrinkage=0.01, but there are 6",
        ),
        (3, {"shrinkage": 0.0, "score": "mahalanobis"}, "at least 11 training faces for mahalanobis .*there are 9"),
    ],
)
def test_fewer_faces_than_features_are_refused_before_the_first_step(
    per_class: int, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    net = network()
    with pytest.raises(ConfigurationError, match=message):
        fit(make_faces(tmp_path / "few", (per_class, 2, 2)), tmp_path, OODCallback(**options), net=net)
    assert steps(net) == 0


def test_a_class_with_one_face_is_refused_before_the_first_step(faces: Path, tmp_path: Path) -> None:
    net = network()
    for number in range(1, 8):
        (faces / "train" / "neutral" / f"{number}.png").unlink()
    with pytest.raises(ConfigurationError, match="two training faces of each class .* but neutral has one"):
        fit(faces, tmp_path, OODCallback(), net=net, data={"noise": None})
    assert steps(net) == 0
    answers = fit(faces, tmp_path, OODCallback("knn", neighbours=2), data={"noise": None}, max_epochs=1).answers
    assert answers is not None
    assert (list(answers.ood), answers.ood_score) == (["knn"], "knn")


def test_what_only_shows_at_the_end_costs_that_score_alone(
    faces: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(faces, tmp_path, OODCallback(neighbours=100))
    for checkpoint in ("the trained weights", "best.ckpt"):
        assert f"knn is not stored with {checkpoint}. Expected at least k=100 training samples" in caplog.text
    for name in ("last.ckpt", "best.ckpt"):
        assert list(stored(tmp_path, name)["ood"]) == ["relative_mahalanobis", "mahalanobis"]
        assert stored(tmp_path, name)["ood_score"] == "relative_mahalanobis"


def test_without_the_score_that_was_to_decide_none_does(
    faces: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(faces, tmp_path, OODCallback("knn", neighbours=100), max_epochs=1)
    assert "knn is not stored with the trained weights" in caplog.text
    answers = load_module(tmp_path / "last.ckpt").answers
    assert answers is not None
    assert (answers.ood_score, answers.ood_threshold, answers.deciding) == (None, None, None)
    assert list(answers.ood) == ["relative_mahalanobis", "mahalanobis"]


def test_folds_are_refused(faces: Path, tmp_path: Path) -> None:
    net = network()
    with pytest.raises(ConfigurationError, match="with folds .* gives those that are held out"):
        fit(faces, tmp_path, OODCallback(), net=net, data={"folds": 2})
    assert steps(net) == 0


# ---- modules ----------------------------------------------------------------------------------------------------------


def test_a_module_without_features_is_refused_before_the_first_step(make_trainer: MakeTrainer) -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 3))

        def forward(self, image: Tensor) -> Tensor:
            return self.layers(image)

    class Foreign(ClassificationModule):
        def __init__(self) -> None:
            super().__init__(class_names=OTHERS)

        def configure_models(self) -> None:
            self.model = Plain()  # type: ignore[assignment]

        def forward(self, image: Tensor) -> Tensor:
            return self.model(image)

    trainer = make_trainer(OODCallback())
    with pytest.raises(ConfigurationError, match=r"fits the module's features.* but Foreign has none .*no attribute"):
        trainer.fit(Foreign(), loader(), loader())
    assert trainer.global_step == 0


def test_features_of_a_plain_data_set_are_counted_too(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(OODCallback())
    with pytest.raises(ConfigurationError, match="at least 6 training faces .* of 6 features .* there are 5"):
        trainer.fit(TinyModule(), loader(5), loader())
    assert trainer.global_step == 0


def test_the_check_draws_nothing_and_leaves_the_modes(make_trainer: MakeTrainer) -> None:
    """Dropout would draw, batch norm would count."""

    def trained(*more: L.Callback) -> dict[str, Tensor]:
        torch.manual_seed(1)
        net = TinyModule()
        make_trainer(*more).fit(net, loader(), loader())
        assert isinstance(net.model, CAMClassifier)
        return {**net.state_dict(), "next": torch.rand(2)}

    assert same(trained(), trained(OODCallback(neighbours=3)))


def test_a_training_set_without_length_is_taken(make_trainer: MakeTrainer) -> None:
    class Data(L.LightningDataModule):
        def train_dataloader(self) -> Any:
            return loader()

        def val_dataloader(self) -> Any:
            return loader()

        def audit_dataloader(self) -> Any:
            return list(loader())

    net = TinyModule()
    make_trainer(OODCallback(neighbours=3), max_epochs=1).fit(net, datamodule=Data())
    assert net.answers is not None
    assert len(net.answers.ood["knn"].statistics["neighbours"]) == len(Faces(12, "dict"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": "mahalanobi"}, "Unknown out-of-distribution score 'mahalanobi'. Did you mean 'mahalanobis'"),
        ({"true_positive_rate": 0.0}, "true_positive_rate to be above 0 and at most 1, but got 0.0"),
        ({"true_positive_rate": 95}, "but got 95"),
        ({"shrinkage": 2.0}, "shrinkage to be from 0 to 1, but got 2.0"),
        ({"neighbours": 0}, "k of at least 1"),
        ({"keep": 3}, "keep of at least k, but got k=10, keep=3"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        OODCallback(**options)
