"""What a module knows of its own answers: stored with it, restored with it, and gone with the next training step."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from eac_lightning._lightning import L
from eac_lightning.answering import Answering
from eac_lightning.errors import CheckpointError
from eac_lightning.modules import ClassificationModule, load_module
from eac_lightning.ood import Energy, KNearestNeighbours, Mahalanobis, RelativeMahalanobis
from tests.conftest import CLASSES, TinyBackbone, batch


def module() -> ClassificationModule:
    torch.manual_seed(0)
    return ClassificationModule(class_names=list(CLASSES), backbone="tiny", image_size=16)


def features(samples: int = 40, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, 8, generator=generator), torch.arange(samples) % 3


def known() -> Answering:
    x, label = features()
    scores = {
        "relative_mahalanobis": RelativeMahalanobis(0.1).fit(x, label),
        "mahalanobis": Mahalanobis(0.2, normalize=True).fit(x, label),
        "knn": KNearestNeighbours(3, keep=20).fit(x),
        "energy": Energy(2.0),
    }
    return Answering(1.7, 0.6, 0.9, scores, "knn", 0.35)  # type: ignore[arg-type]


def faces(*batches: dict[str, Tensor]) -> DataLoader[Any]:
    return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


def trainer(folder: Path, **options: Any) -> L.Trainer:
    defaults = {"max_epochs": 1, "logger": False, "enable_checkpointing": False, "accelerator": "cpu",
                "enable_progress_bar": False, "enable_model_summary": False, "default_root_dir": folder}  # fmt: skip
    return L.Trainer(**(defaults | options))  # type: ignore[arg-type]


def save(net: ClassificationModule, path: Path) -> Path:
    run = trainer(path.parent)
    run.strategy.connect(net)
    run.save_checkpoint(path)
    return path


def assert_is_known(answers: Answering | None) -> None:
    assert answers is not None
    expected, (x, _) = known(), features(7, seed=1)
    for name in ("temperature", "min_confidence", "wanted_accuracy", "ood_score", "ood_threshold"):
        assert getattr(answers, name) == getattr(expected, name)
    assert list(answers.ood) == list(expected.ood)
    for name, score in expected.ood.items():
        assert torch.equal(answers.ood[name].score(x), score.score(x))
    assert answers.deciding is answers.ood["knn"]


def test_plain_things_lead_back(tmp_path: Path) -> None:
    torch.save(known().to_dict(), tmp_path / "answers.pt")
    assert_is_known(Answering.from_dict(torch.load(tmp_path / "answers.pt", weights_only=True)))


def test_nothing_known_changes_nothing() -> None:
    nothing, logits = Answering(), torch.randn(5, 3)
    assert torch.equal(nothing.probabilities(logits), logits.softmax(1))
    assert nothing.deciding is None
    assert Answering.from_dict(nothing.to_dict()) == nothing


def test_probabilities_are_those_of_the_temperature() -> None:
    logits = torch.randn(5, 3, dtype=torch.float64)
    expected = torch.exp(logits / 1.7) / torch.exp(logits / 1.7).sum(1, keepdim=True)
    torch.testing.assert_close(known().probabilities(logits), expected)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"temperature": "warm"}, "TypeError"),
        ({"min_confidence": float("inf")}, "min_confidence is inf"),
        ({"ood_threshold": None}, "the threshold of knn is None"),
        ({"ood_score": None}, "the threshold of None is 0.35"),
        ({"ood_score": "energie"}, "KeyError: 'energie'"),
        ({"ood": {"vim": {}}}, "KeyError: 'vim'"),
        ({"ood": {"knn": {"k": 3}}}, "Expected the state of KNearestNeighbours"),
        ({"ood": [1, 2]}, "AttributeError"),
    ],
)
def test_what_was_changed_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(CheckpointError, match=f"temperature and out-of-distribution scores cannot be read .*{said}"):
        Answering.from_dict({**known().to_dict(), **change})


@pytest.mark.parametrize("foreign", [{}, "1.7", 3, [], {"temperature": 1.0}])
def test_what_is_something_else_is_refused(foreign: object) -> None:
    with pytest.raises(CheckpointError, match="Was it written by another version, or changed"):
        Answering.from_dict(foreign)


# ---- in a module and its checkpoint ----------------------------------------------------------------------------


def test_a_checkpoint_brings_it_along_and_weights_stay_as_they_were(tmp_path: Path) -> None:
    net = module()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.answers = known()
    assert net.state_dict().keys() == before.keys()
    path = save(net, tmp_path / "one.ckpt")
    stored = torch.load(path, weights_only=True)
    assert stored["state_dict"].keys() == before.keys()
    again = load_module(path)
    assert_is_known(again.answers)
    assert all(torch.equal(value, before[name]) for name, value in again.state_dict().items())


@pytest.mark.parametrize("entry", ["missing", None])
def test_a_checkpoint_without_loads_as_before(entry: str | None, tmp_path: Path) -> None:
    path = save(module(), tmp_path / "one.ckpt")
    content = torch.load(path, weights_only=True)
    assert content["eac_lightning"].pop("answering") is None
    if entry is None:
        content["eac_lightning"]["answering"] = None
    torch.save(content, path)
    assert load_module(path).answers is None


def test_a_damaged_entry_is_refused(tmp_path: Path) -> None:
    path = save(module(), tmp_path / "one.ckpt")
    content = torch.load(path, weights_only=True)
    content["eac_lightning"]["answering"] = {"temperature": 1.0}
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="temperature and out-of-distribution scores cannot be read"):
        load_module(path)


def test_a_training_step_makes_it_void(tmp_path: Path) -> None:
    seen: list[bool] = []

    class Look(L.Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, *args: Any) -> None:
            seen.append(pl_module.answers is None)

    net = module()
    net.answers = known()
    run = trainer(tmp_path, callbacks=[Look()])
    run.fit(net, faces(batch(), batch()))
    assert seen == [False, True]
    assert net.answers is None
    run.save_checkpoint(tmp_path / "trained.ckpt")
    assert load_module(tmp_path / "trained.ckpt").answers is None


def test_a_fit_without_a_step_keeps_it(tmp_path: Path) -> None:
    net = module()
    net.answers = known()
    trainer(tmp_path, max_epochs=0).fit(net, faces(batch()))
    assert_is_known(net.answers)


def test_predict_and_test_tell_calibrated_probabilities(tmp_path: Path) -> None:
    net, twelve = module().eval(), batch(12)
    with torch.no_grad():
        logits = net(twelve["image"])
    run = trainer(tmp_path)
    [plain] = run.test(net, faces(twelve), verbose=False)
    net.answers = Answering(temperature=0.05)
    torch.testing.assert_close(net.predict_step(twelve, 0)["probabilities"], (logits / 0.05).softmax(1))
    [calibrated] = run.test(net, faces(twelve), verbose=False)
    sure, predicted = (logits / 0.05).softmax(1).max(1)
    if_all_in_one_bin = abs(float(sure.mean() - (predicted == twelve["label"]).float().mean()))
    assert calibrated["test/ece"] >= if_all_in_one_bin - 1e-6
    assert calibrated["test/ece"] != plain["test/ece"]
    for name in ("test/accuracy", "test/loss", "test/macro_f1"):
        assert calibrated[name] == plain[name]


# ---- logits, maps and features in one pass ----------------------------------------------------------------------


def test_one_pass_gives_what_three_give(monkeypatch: pytest.MonkeyPatch) -> None:
    net, image = module().eval(), batch()["image"]
    separate = (*net.logits_and_maps(image), net.features(image))
    passes = []
    forward = TinyBackbone.forward_features
    monkeypatch.setattr(TinyBackbone, "forward_features", lambda *given: passes.append(1) or forward(*given))
    torch.testing.assert_close(net.logits_maps_and_features(image), separate)
    assert len(passes) == 1


def test_what_a_subclass_overrides_is_heeded() -> None:
    class Doubled(ClassificationModule):
        def logits_and_maps(self, image: Tensor) -> tuple[Tensor, Tensor]:
            logits, maps = super().logits_and_maps(image)
            return 2 * logits, 2 * maps

    class Narrow(ClassificationModule):
        def features(self, image: Tensor) -> Tensor:
            return super().features(image)[:, :2]

    image = batch()["image"]
    for kind in (Doubled, Narrow):
        net = kind(class_names=list(CLASSES), backbone="tiny").eval()
        torch.testing.assert_close(
            net.logits_maps_and_features(image), (*net.logits_and_maps(image), net.features(image))
        )
