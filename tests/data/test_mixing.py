"""Cutout, MixUp, CutMix and FMix: pixels and labels agree, and nothing else changes."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from eac_lightning.data.mixing import MIXINGS, Cutout, Mixing, create_mixing
from eac_lightning.errors import ConfigurationError
from eac_lightning.types import Batch

PAIRS = ("mixup", "cutmix", "fmix")
SAMPLES = 6


def flat_faces(dtype: torch.dtype = torch.float32, height: int = 24, width: int = 24) -> Batch:
    """Faces of one value each and a class each, so that a pixel tells whose it is."""
    value = torch.arange(SAMPLES, dtype=dtype) / 8
    return {
        "image": value[:, None, None, None].expand(SAMPLES, 3, height, width).clone(),
        "label": torch.arange(SAMPLES),
        "index": torch.arange(SAMPLES) + 100,
        "name": [f"{i}.png" for i in range(SAMPLES)],  # type: ignore[typeddict-unknown-key]
    }


def mixed(name: str, batch: Batch, seed: int = 0, **options: float) -> Batch:
    torch.manual_seed(seed)
    made: Batch = create_mixing(name, SAMPLES, options)(batch)
    return made


def partners(soft: Tensor) -> list[int]:
    """Return whom each face is mixed with; -1 where nothing is left of the other one."""
    other = soft - torch.diag(soft.diagonal())
    assert ((other > 0).sum(1) <= 1).all()
    return [int(row.argmax()) if row.any() else -1 for row in other]


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("size", [(24, 24), (10, 31)])
@pytest.mark.parametrize("seed", range(4))
def test_a_face_has_its_own_label_and_its_partners_by_their_shares(name: str, size: tuple[int, int], seed: int) -> None:
    batch = flat_faces(height=size[0], width=size[1])
    new = mixed(name, batch, seed)
    value, soft = torch.arange(SAMPLES) / 8, new["soft_label"]
    torch.testing.assert_close(soft.sum(1), torch.ones(SAMPLES))
    torch.testing.assert_close(new["image"].mean((1, 2, 3)), soft @ value)
    for row, partner in enumerate(partners(soft)):
        seen = new["image"][row].unique()
        if name == "mixup":
            torch.testing.assert_close(seen, (soft[row] @ value).expand(len(seen)))
        else:
            assert set(seen.tolist()) <= {float(value[row]), float(value[partner])}


@pytest.mark.parametrize("name", list(MIXINGS))
def test_what_goes_in_is_never_changed_and_the_rest_comes_out_as_it_was(name: str) -> None:
    batch = flat_faces()
    before = copy.deepcopy(batch)
    new = mixed(name, batch)
    assert set(new) == set(batch) | ({"soft_label"} if name in PAIRS else set())
    for key, value in before.items():
        now: Any = batch[key]  # type: ignore[literal-required]
        assert torch.equal(now, value) if isinstance(value, Tensor) else now == value
        if key != "image":
            assert new[key] is now  # type: ignore[literal-required]
    assert not torch.equal(new["image"], batch["image"])


@pytest.mark.parametrize("name", PAIRS)
def test_partners_do_not_follow_the_order_of_the_batch(name: str) -> None:
    met: dict[int, set[int]] = {row: set() for row in range(SAMPLES)}
    for seed in range(60):
        for row, partner in enumerate(partners(mixed(name, flat_faces(), seed)["soft_label"])):
            met[row].add(partner)
    for row, others in met.items():
        assert others - {-1} == set(range(SAMPLES)) - {row}


@pytest.mark.parametrize(("name", "shares"), [("mixup", 1), ("cutmix", 1), ("fmix", SAMPLES)])
def test_lambda_is_drawn_for_a_batch_or_with_fmix_for_each_face(name: str, shares: int) -> None:
    own = mixed(name, flat_faces(), 3)["soft_label"].diagonal()
    assert len(own.unique()) == shares


@pytest.mark.parametrize("name", PAIRS)
def test_alpha_says_how_evenly_faces_are_mixed(name: str) -> None:
    own = {
        alpha: torch.stack(
            [mixed(name, flat_faces(), seed, alpha=alpha)["soft_label"].diagonal() for seed in range(80)]
        )
        for alpha in (0.1, 1.0, 20.0)
    }
    assert own[0.1].std() > own[1.0].std() > own[20.0].std()
    if name != "cutmix":  # whose rectangles are cut off at the picture's edge
        assert float(own[1.0].mean()) == pytest.approx(0.5, abs=0.1)
        assert float(own[1.0].std()) == pytest.approx(12**-0.5, abs=0.04)


def test_cutmix_cuts_a_rectangle() -> None:
    image = mixed("cutmix", flat_faces(), 1)["image"]
    for row in range(SAMPLES):
        ys, xs = torch.nonzero(image[row, 0] != row / 8, as_tuple=True)
        assert 0 < len(ys) == (ys.max() - ys.min() + 1) * (xs.max() - xs.min() + 1)


def test_fmix_takes_the_decay() -> None:
    def edges(decay: float) -> float:
        image = mixed("fmix", flat_faces(height=48, width=48), 0, decay=decay, alpha=50)["image"]
        return float((image[..., 1:] != image[..., :-1]).float().mean())

    assert edges(0.5) > 3 * edges(3)


@pytest.mark.parametrize("name", PAIRS)
def test_soft_labels_are_mixed_as_hard_ones_are(name: str) -> None:
    soft = torch.rand(SAMPLES, 4, generator=torch.Generator().manual_seed(0)).softmax(1)
    shares = mixed(name, flat_faces())["soft_label"]
    torch.manual_seed(0)
    new = create_mixing(name, 4)({**flat_faces(), "label": torch.arange(SAMPLES) % 4, "soft_label": soft})
    torch.testing.assert_close(new["soft_label"], shares @ soft)


@pytest.mark.parametrize("name", list(MIXINGS))
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_images_keep_their_type_and_draws_do_not_depend_on_it(name: str, dtype: torch.dtype) -> None:
    new, single = mixed(name, flat_faces(dtype)), mixed(name, flat_faces())
    assert new["image"].dtype == dtype
    torch.testing.assert_close(new["image"].float(), single["image"], atol=0.01, rtol=0)
    if name in PAIRS:
        assert new["soft_label"].dtype == torch.float32
        torch.testing.assert_close(new["soft_label"], single["soft_label"])


@pytest.mark.parametrize("name", PAIRS)
def test_a_face_that_is_alone_stays_as_it_is(name: str) -> None:
    batch: Batch = {"image": torch.rand(1, 3, 8, 8), "label": torch.tensor([0])}
    new = mixed(name, batch)
    assert torch.equal(new["image"], batch["image"])
    assert new["soft_label"].tolist() == [[1, 0, 0, 0, 0, 0]]  # which a loss of one's own may rely on
    assert "soft_label" not in batch


@pytest.mark.parametrize("name", list(MIXINGS))
def test_a_batch_of_nobody_is_none_of_its_business(name: str) -> None:
    nobody: Batch = {"image": torch.zeros(0, 3, 8, 8), "label": torch.zeros(0, dtype=torch.int64)}
    new = mixed(name, nobody)
    assert new["image"].numel() == 0
    assert ("soft_label" in new) == (name in PAIRS)


# ---- cutout ------------------------------------------------------------------------------------------------------


def test_cutout_fills_a_square_with_the_mean_colour() -> None:
    torch.manual_seed(0)
    image = torch.rand(200, 3, 16, 16) * torch.tensor([1, 0.5, 0.1])[:, None, None]
    new = Cutout(side=0.25)({"image": image, "label": torch.zeros(200, dtype=torch.int64)})["image"]
    changed = (new != image).any(1)
    areas = changed.sum((1, 2))
    assert areas.max() == 16  # a quarter of the side
    assert areas.min() >= 4  # the centre lies inside
    for row in range(200):
        ys, xs = torch.nonzero(changed[row], as_tuple=True)
        assert len(ys) == (ys.max() - ys.min() + 1) * (xs.max() - xs.min() + 1)
        torch.testing.assert_close(new[row][:, changed[row]], image.mean((0, 2, 3))[:, None].expand(3, len(ys)))


def test_the_centre_of_a_square_may_be_any_pixel() -> None:
    torch.manual_seed(0)
    faces: Batch = {
        "image": torch.arange(20000).view(-1, 1, 1, 1).expand(-1, 1, 6, 8).double(),
        "label": torch.zeros(1),
    }
    covered = (Cutout(side=0.5)(faces)["image"] != faces["image"]).double().mean((0, 1))
    # A pixel is covered by a square of 3 px if the centre is one of its 3 neighbours, as far as they exist.
    tall, wide = (torch.tensor([2.0, *[3.0] * (size - 2), 2.0]) / size for size in (6, 8))
    torch.testing.assert_close(covered, (tall[:, None] * wide).double(), atol=0.015, rtol=0)


def test_cutout_of_a_whole_side_and_of_less_than_a_pixel() -> None:
    batch = flat_faces(height=4, width=9)
    assert (mixed("cutout", batch, side=0.01)["image"] != batch["image"]).sum() == 3 * (SAMPLES)
    assert (mixed("cutout", batch, side=1)["image"] != batch["image"]).any(1).flatten(1).sum(1).max() <= 16


# ---- names and options -------------------------------------------------------------------------------------------


def test_a_mixing_says_whether_it_mixes_labels() -> None:
    assert {name: create_mixing(name, 3).mixes_labels for name in MIXINGS} == {
        "cutout": False, "mixup": True, "cutmix": True, "fmix": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cutmixx", None, "Unknown mixing 'cutmixx'. Did you mean 'cutmix'"),
        ("mixup", {"alfa": 1}, "Unknown option of mixup 'alfa'. Did you mean 'alpha'"),
        ("mixup", {"decay": 3}, "Unknown option of mixup 'decay'"),
        ("fmix", {"decay": "3"}, "Expected decay of fmix to be a number, but got '3'"),
        ("fmix", {"decay": -1}, "Expected decay of fmix to be at least 0, but got -1"),
        ("mixup", {"alpha": 0}, "Expected alpha of mixup to be above 0 and finite, but got 0"),
        ("cutmix", {"alpha": float("nan")}, "Expected alpha of cutmix to be above 0"),
        ("fmix", {"alpha": float("inf")}, "Expected alpha of fmix to be above 0 and finite, but got inf"),
        ("cutout", {"side": 0}, "Expected side of cutout to be above 0 and at most 1, but got 0"),
        ("cutout", {"side": 1.5}, "but got 1.5"),
    ],
)
def test_names_and_options_that_cannot_be_are_refused(name: str, options: dict[str, Any] | None, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        create_mixing(name, 3, options)


def test_the_base_itself_mixes_nothing() -> None:
    with pytest.raises(NotImplementedError):
        Mixing()(flat_faces())
