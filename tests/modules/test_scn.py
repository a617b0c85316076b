"""SCN against the paper's formulas in loops; whom it relabels, when, and where the new labels are."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from eac_lightning import FERDataModule, SCNModule, load_module
from eac_lightning._lightning import L
from eac_lightning.errors import ConfigurationError
from tests.conftest import batch


def scn(**options: Any) -> SCNModule:
    torch.manual_seed(0)
    return SCNModule(**{"num_classes": 3, "backbone": "tiny", **options}).double()


def double_batch() -> dict[str, Tensor]:
    plain = batch(samples=10)
    return {**plain, "image": plain["image"].double(), "index": torch.arange(10) * 2}


def naive(module: SCNModule, data: dict[str, Tensor], labels: list[int]) -> Tensor:
    """Equations 1 to 4, with every index written out."""
    features, logits = module.features(data["image"]), module(data["image"])
    layer, settings = module.importance_layer, module.hparams
    alpha = [1 / (1 + torch.exp(-(layer.weight[0] * features[n]).sum() - layer.bias[0])) for n in range(10)]
    cross_entropy = torch.zeros((), dtype=torch.float64)
    for n in range(10):
        powers = [torch.exp(alpha[n] * logits[n, k]) for k in range(3)]
        cross_entropy = cross_entropy - torch.log(powers[labels[n]] / sum(powers)) / 10
    ordered = sorted(alpha, key=Tensor.item, reverse=True)
    count = round(settings["importance_share"] * 10)
    gap = sum(ordered[:count]) / count - sum(ordered[count:]) / (10 - count)
    rank = settings["rank_margin"] - gap if gap < settings["rank_margin"] else 0 * gap
    return settings["rank_weight"] * rank + (1 - settings["rank_weight"]) * cross_entropy


@pytest.mark.parametrize("options", [{}, {"rank_weight": 0.2, "importance_share": 0.4, "rank_margin": 0.9}])
def test_loss_and_gradients_equal_the_naive_ones(options: dict[str, Any]) -> None:
    module, data = scn(**options), double_batch()
    labels = data["label"].tolist()
    module.memory.set(data["index"][3:5], torch.tensor([(labels[3] + 1) % 3, labels[4]]))
    labels[3] = (labels[3] + 1) % 3
    expected = naive(module, data, labels)
    wanted = torch.autograd.grad(expected, list(module.parameters()))
    output = module.compute_loss(data)
    found = torch.autograd.grad(output.loss, list(module.parameters()))
    torch.testing.assert_close(output.loss, expected, rtol=0, atol=1e-10)
    for gradient, right in zip(found, wanted, strict=True):
        torch.testing.assert_close(gradient, right, rtol=0, atol=1e-10)
    assert output.logs["relabelled"] == pytest.approx(0.2)
    torch.testing.assert_close(output.logits, module(data["image"]))


@pytest.mark.parametrize("seed", range(4))
def test_new_labels_equal_the_naive_ones(seed: int) -> None:
    torch.manual_seed(seed)
    module, data = scn(relabel_margin=0.05, importance_share=0.4), double_batch()
    with torch.no_grad():
        module.model.classifier.weight.mul_(8)  # for opinions that differ by more than the margin
    kept = torch.randint(-1, 3, (10,), generator=torch.Generator().manual_seed(seed))
    label = torch.randint(3, (10,), generator=torch.Generator().manual_seed(seed + 9))
    module.memory.set(data["index"], kept)
    found = module.compute_loss({**data, "label": label}).memory
    logits, alpha = (ask(data["image"]).detach().numpy() for ask in (module, module.importance))
    expected = kept.tolist()
    for n in sorted(range(10), key=lambda n: -alpha[n])[4:]:
        p = np.exp(logits[n]) / np.exp(logits[n]).sum()
        highest = max(range(3), key=lambda k: p[k])
        expected[n] = highest if p[highest] - p[label[n]] > 0.05 else -1
    assert found.tolist() == expected
    assert found.tolist() != kept.tolist()


def opinionated(**options: Any) -> tuple[SCNModule, dict[str, Tensor]]:
    """A network that says class 1 to 90 % of every face, and finds the first ones of a batch the most important."""
    module, data = scn(**options), {**double_batch(), "label": torch.tensor([0, 1] * 5)}
    probabilities = torch.tensor([0.06, 0.9, 0.04], dtype=torch.float64)
    answer = probabilities.log().expand(10, 3)
    module.model.logits_and_maps = lambda features: (answer, None)  # type: ignore[method-assign]
    module._importance = lambda features: torch.linspace(0.9, 0.1, 10).double()  # type: ignore[method-assign]
    return module, data


def test_faces_of_little_importance_are_relabelled_where_the_margin_is_passed() -> None:
    module, data = opinionated()
    output = module.compute_loss(data)
    assert output.memory.tolist() == [-1] * 8 + [1, -1]  # 7, 8 and 9 are the least important; 8 alone is labelled 0
    for margin, expected in ((0.83, 1), (0.85, -1)):
        module, data = opinionated(relabel_margin=margin)
        assert module.compute_loss(data).memory[8] == expected


def test_a_new_label_is_taken_back_and_others_stay() -> None:
    module, data = opinionated()
    module.memory.set(data["index"], torch.full((10,), 2))
    assert module.compute_loss(data).memory.tolist() == [2] * 7 + [-1, 1, -1]


def test_new_labels_replace_soft_ones_too() -> None:
    module, data = opinionated(rank_weight=0.0)
    module.memory.set(torch.tensor([0]), torch.tensor([2]))
    soft = torch.nn.functional.one_hot(data["label"], 3).double()
    torch.testing.assert_close(module.compute_loss({**data, "soft_label": soft}).loss, module.compute_loss(data).loss)


def test_relabelling_waits_for_its_epoch_and_a_plain_loop_for_nobody() -> None:
    module, data = opinionated(relabel_epoch=2)
    found = []
    for epoch in (0, 1, 2):
        module._trainer = SimpleNamespace(current_epoch=epoch, training=True)  # type: ignore[assignment]
        module.remember(data, module.compute_loss(data))  # type: ignore[arg-type]
        found.append((module.memory.values >= 0).sum().item())
    assert found == [0, 0, 1]
    module, data = opinionated(relabel_epoch=2)
    assert module.compute_loss(data).memory is not None
    assert not len(module.memory.values)
    module.remember(data, module.compute_loss(data))  # type: ignore[arg-type]
    assert (module.memory.values >= 0).sum() == 1


def test_importance_is_between_0_and_1_and_no_part_of_the_prediction() -> None:
    module, data = scn().eval(), double_batch()
    importance = module.importance(data["image"])
    assert importance.shape == (10,)
    assert ((importance > 0) & (importance < 1)).all()
    before = module(data["image"])
    with torch.no_grad():
        module.importance_layer.bias.fill_(-5)
    assert torch.equal(module(data["image"]), before)
    assert (module.importance(data["image"]) < importance).all()


def test_one_face_alone_is_no_problem() -> None:
    module = scn().eval()
    output = module.compute_loss({key: value[:1] for key, value in double_batch().items()})
    assert output.logs["rank"] == 0
    assert output.memory.tolist() == [-1]


def test_half_precision_is_left_behind() -> None:
    module, data = scn().float(), {**double_batch(), "image": double_batch()["image"].float()}
    with torch.autocast("cpu", torch.bfloat16):
        output = module.compute_loss(data)
    assert output.loss.dtype == output.logits.dtype == torch.float32
    output.loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in module.parameters())


def fit(root: Path, folder: Path, epochs: int, path: Path | None = None) -> tuple[SCNModule, dict[str, Any]]:
    torch.manual_seed(0)
    module = SCNModule(backbone="tiny", lr=1e-2, relabel_epoch=1, relabel_margin=0.0)
    trainer = L.Trainer(
        max_epochs=epochs, default_root_dir=folder, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    data = FERDataModule(root, image_size=16, batch_size=8)
    trainer.fit(module, datamodule=data, ckpt_path=path, weights_only=True)
    trainer.save_checkpoint(folder / f"{epochs}.ckpt")
    assert sorted(data.train_dataloader().dataset.labels) == [0] * 8 + [1] * 8 + [2] * 8
    return module, trainer.callback_metrics


def test_an_interrupted_run_ends_like_one_that_was_not(faces: Path, tmp_path: Path) -> None:
    whole, logged = fit(faces, tmp_path, 4)
    assert 0 < logged["train/relabelled"] < 1
    fit(faces, tmp_path, 2)
    resumed, again = fit(faces, tmp_path, 4, tmp_path / "2.ckpt")
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in resumed.state_dict().items())
    assert again["train/relabelled"] == logged["train/relabelled"]
    loaded = load_module(tmp_path / "4.ckpt")
    assert isinstance(loaded, SCNModule)
    assert torch.equal(loaded.memory.values, whole.memory.values)
    assert torch.equal(loaded.importance(batch()["image"]), whole.eval().importance(batch()["image"]))


@pytest.mark.parametrize("name", ["importance_share", "rank_margin", "relabel_margin", "rank_weight"])
def test_settings_out_of_range_are_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} to be from 0 to 1, but got 1.5"):
        scn(**{name: 1.5})
    with pytest.raises(ConfigurationError, match="relabel_epoch to be at least 0, but got -1"):
        scn(relabel_epoch=-1)
