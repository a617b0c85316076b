"""What a network is asked equals asking it by hand, and leaves no trace in it."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from eac_lightning.audit.observe import observe
from eac_lightning.batch import sample_index
from eac_lightning.errors import ConfigurationError
from eac_lightning.labels.scores import flip_consistency, view_agreement
from eac_lightning.modules import ClassificationModule
from tests.conftest import CLASSES, batch


@pytest.fixture
def module() -> ClassificationModule:
    torch.manual_seed(0)
    return ClassificationModule(class_names=list(CLASSES), backbone="tiny")


def batches() -> list[dict[str, Tensor]]:
    return [
        {**batch(6, seed=1), "index": torch.tensor([5, 0, 3, 2, 1, 4])},
        {**batch(2, seed=2), "index": torch.tensor([7, 6])},
    ]


def test_one_view_is_a_single_forward_pass(module: ClassificationModule) -> None:
    seen = observe(module, batches())
    module.eval()
    for part in batches():
        torch.testing.assert_close(seen.columns["logits"][part["index"]], module(part["image"]).detach())
        assert seen.columns["given"][part["index"]].tolist() == part["label"].tolist()
    assert seen.columns["consistency"].isnan().all()
    assert seen.columns["agreement"].isnan().all()


def test_the_mirrored_view_adds_consistency_and_agreement(module: ClassificationModule) -> None:
    seen = observe(module, batches(), mirror=True)
    module.eval()
    for part in batches():
        index = part["index"]
        with torch.no_grad():
            logits, maps = module.logits_and_maps(part["image"])
            other, other_maps = module.logits_and_maps(part["image"].flip(-1))
        torch.testing.assert_close(seen.columns["logits"][index], (logits + other) / 2)
        torch.testing.assert_close(seen.columns["agreement"][index], view_agreement(logits, other))
        expected = flip_consistency(maps, other_maps, part["label"])
        torch.testing.assert_close(seen.columns["consistency"][index], expected)


def test_both_views_of_a_symmetric_face_agree(module: ClassificationModule) -> None:
    image = batch(2)["image"]
    face = {"image": (image + image.flip(-1)) / 2, "label": torch.tensor([0, 1]), "index": torch.arange(2)}
    seen, single = observe(module, [face], mirror=True), observe(module, [face])
    torch.testing.assert_close(seen.columns["agreement"], torch.ones(2))
    torch.testing.assert_close(seen.columns["logits"], single.columns["logits"])


@pytest.mark.parametrize("training", [True, False])
def test_modes_statistics_and_random_state_are_as_they_were(module: ClassificationModule, training: bool) -> None:
    module.train(training)
    frozen = module.model.backbone.layers[1].eval()  # a part that was frozen by hand
    before = {name: value.clone() for name, value in module.state_dict().items()}
    modes = [part.training for part in module.modules()]
    random = torch.get_rng_state()
    observe(module, batches(), mirror=True)
    assert [part.training for part in module.modules()] == modes
    assert not frozen.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_the_mode_comes_back_after_an_error(module: ClassificationModule) -> None:
    def broken() -> Iterator[Any]:
        assert not module.training
        yield batches()[0]
        raise RuntimeError("the disk is gone")

    module.train()
    with pytest.raises(RuntimeError, match="the disk is gone"):
        observe(module, broken())
    assert all(part.training for part in module.modules())


@pytest.mark.parametrize("form", ["dict", "tuple"])
def test_batches_must_say_which_samples_they_hold(module: ClassificationModule, form: str) -> None:
    part = batch()
    with pytest.raises(
        ConfigurationError, match="An audit keeps .* by its index, but the batch has none. Let the dataset return"
    ):
        observe(module, [part if form == "dict" else (part["image"], part["label"])])


def test_a_tuple_brings_its_index_third(module: ClassificationModule) -> None:
    part = batches()[0]
    seen = observe(module, [(part["image"], part["label"], part["index"])])
    torch.testing.assert_close(seen.columns["logits"], observe(module, [part]).columns["logits"])
    assert sample_index(part, "An audit").tolist() == part["index"].tolist()
