"""Masks of FMix: the count of ones is exact, the spectrum isotropic in every shape, the selection that of a sort."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from eac_lightning.data import fmix
from eac_lightning.data.fmix import brightest_by_sorting, fmix_mask, fmix_masks, grey_images
from eac_lightning.errors import ConfigurationError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def power(images: Tensor) -> Tensor:
    """Return the (H, W) mean power of (N, H, W) images by cycles a picture."""
    centred = images.double() - images.double().mean((1, 2), keepdim=True)
    return torch.fft.fft2(centred).abs().square().mean(0)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2), (13, 29), (48, 48), (96, 40)])
@pytest.mark.parametrize("decay", [0.0, 1.5, 3.0, math.inf])
@pytest.mark.parametrize("lam", [0.0, 1e-9, 0.1, 0.4999, 0.77, 1 - 1e-9, 1.0])
def test_lambda_is_exact_to_one_pixel(size: tuple[int, int], decay: float, lam: float) -> None:
    mask = fmix_mask(*size, lam, decay, seeded())
    assert mask.shape == size
    assert mask.dtype == torch.float32
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    assert int(mask.sum()) == round(lam * size[0] * size[1])


def test_many_masks_have_each_its_own_lambda_and_shape() -> None:
    lam = torch.linspace(0, 1, 33, dtype=torch.float64)
    masks = fmix_masks(lam, 224, 224, generator=seeded())
    assert masks.sum((1, 2)).long().tolist() == [round(value * 224 * 224) for value in lam.tolist()]
    middle = fmix_masks(torch.full((6,), 0.5), 64, 64, generator=seeded())
    assert len({mask.numpy().tobytes() for mask in middle}) == 6
    assert fmix_masks(torch.zeros(0), 8, 8).shape == (0, 8, 8)


def test_one_mask_is_the_first_of_many() -> None:
    one = fmix_mask(20, 30, 0.3, 2.0, seeded(5))
    assert torch.equal(one, fmix_masks(torch.tensor([0.3], dtype=torch.float64), 20, 30, 2.0, seeded(5))[0])


@pytest.mark.parametrize("decay", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("size", [(224, 224), (37, 90), (8, 8)])
def test_the_ones_are_the_brightest_pixels(size: tuple[int, int], decay: float) -> None:
    lam = torch.rand(12, generator=seeded(1), dtype=torch.float64)
    grey = grey_images(12, *size, decay, seeded(2))
    counts = (lam * size[0] * size[1]).round().long()
    expected = brightest_by_sorting(grey, counts)
    assert expected.sum((1, 2)).long().tolist() == counts.tolist()
    assert torch.equal(fmix_masks(lam, *size, decay, seeded(2)), expected)


def test_of_equal_pixels_just_enough_are_taken() -> None:
    values = np.zeros(400, dtype=np.float32)
    values[[7, 50, 300]] = 1
    fmix._keep_brightest(values, 50)
    assert values.sum() == 50
    assert values[[7, 50, 300]].all()


@pytest.mark.parametrize("size", [(64, 64), (48, 96), (90, 45)])
def test_the_power_of_grey_images_falls_alike_in_all_directions(size: tuple[int, int]) -> None:
    """By cycles a pixel, on and between the axes, with the exponent −2·decay."""
    height, width = size
    for decay in (1.0, 3.0):
        found = power(grey_images(600, *size, decay, seeded(3)))
        step = math.gcd(height, width)  # so that (y, x) · (height, width) / step is one frequency on both axes
        tall, wide = height // step, width // step
        cycles = range(1, 6)
        directions = {
            "vertical": [(tall * k, 0) for k in cycles],
            "horizontal": [(0, wide * k) for k in cycles],
            "diagonal": [(tall * k, wide * k) for k in cycles],
            "other diagonal": [(-tall * k, wide * k) for k in cycles],
        }
        scaled = {}
        for name, places in directions.items():
            frequency = torch.tensor([math.hypot(y / height, x / width) for y, x in places])
            at = torch.stack([found[y, x] for y, x in places])
            there = at > 1e-9 * at.max()  # what is finer is not synthesised
            assert there[:3].all()
            slope = np.polyfit(frequency[there].log(), at[there].log(), 1)[0]
            assert slope == pytest.approx(-2 * decay, abs=0.35), name
            scaled[name] = float((at * frequency ** (2 * decay))[there].mean())
        # 600 draws leave 4 % of a coefficient's power to chance.
        assert max(scaled.values()) < 1.2 * min(scaled.values()), scaled


def test_the_power_of_masks_is_the_same_in_all_directions() -> None:
    found = power(fmix_masks(torch.full((800,), 0.5), 64, 64, generator=seeded(4)))
    for same in ([(0, 5), (5, 0), (3, 4), (4, 3), (-3, 4), (4, -3)], [(0, 10), (10, 0), (6, 8), (8, 6), (-8, 6)]):
        at = torch.stack([found[y, x] for y, x in same])
        assert at.max() < 1.4 * at.min(), at


def test_what_is_left_out_of_the_spectrum_holds_no_power() -> None:
    for decay in (3.0, 1.0):
        rows, amplitude, columns = fmix._spectrum(224, 224, decay)
        kept = amplitude.shape[0]
        assert rows.shape == (224, kept)
        assert columns.shape == (kept, 224)
        frequency = np.hypot(np.fft.fftfreq(224)[:, None], np.fft.fftfreq(224))
        frequency[0, 0] = np.inf
        whole = ((frequency * 224) ** -decay) ** 2
        assert (amplitude**2).sum() == pytest.approx(whole.sum(), rel=2 * fmix.NEGLECTED)
        assert amplitude.max() == 1
        assert amplitude[0, 0] == 0
        assert (kept < 30) == (decay == 3.0)
    np.testing.assert_allclose(fmix._fourier_basis(9)[0].T @ fmix._fourier_basis(9)[0], np.eye(9), atol=1e-12)


def test_a_higher_decay_gives_larger_shapes() -> None:
    edges = []
    for decay in (0.0, 1.0, 2.0, 3.0):
        masks = fmix_masks(torch.full((20,), 0.5), 64, 64, decay, seeded())
        edges.append(float((masks[:, 1:] != masks[:, :-1]).float().mean()))
    assert edges == sorted(edges, reverse=True)
    assert edges[0] > 0.4
    assert edges[-1] < 0.05


def test_the_generator_decides() -> None:
    assert torch.equal(fmix_mask(32, 32, 0.5, generator=seeded(1)), fmix_mask(32, 32, 0.5, generator=seeded(1)))
    assert not torch.equal(fmix_mask(32, 32, 0.5, generator=seeded(1)), fmix_mask(32, 32, 0.5, generator=seeded(2)))
    torch.manual_seed(0)
    first, state = fmix_mask(32, 32, 0.5), torch.get_rng_state()
    fmix_mask(32, 32, 0.5, generator=seeded())
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(fmix_mask(32, 32, 0.5), first)
    torch.manual_seed(0)
    assert torch.equal(fmix_mask(32, 32, 0.5), first)


def test_half_precision_around_it_changes_nothing() -> None:
    expected = fmix_mask(40, 40, 0.37, generator=seeded())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(fmix_mask(40, 40, 0.37, generator=seeded()), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_masks_are_made_where_lambda_is() -> None:  # pragma: no cover
    lam = torch.rand(64, dtype=torch.float64)
    masks = fmix_masks(lam.cuda(), 224, 224, generator=seeded())
    assert masks.device.type == "cuda"
    assert masks.sum((1, 2)).long().tolist() == [round(value * 224 * 224) for value in lam.tolist()]
    same = masks.cpu() == fmix_masks(lam, 224, 224, generator=seeded())
    assert same.float().mean() > 0.999
    drawn_there = fmix_mask(32, 32, 0.5, generator=torch.Generator("cuda").manual_seed(0))
    assert int(drawn_there.sum()) == 512


@pytest.mark.parametrize("lam", [-0.1, 1.1, math.nan])
def test_a_lambda_that_is_no_share_is_refused(lam: float) -> None:
    with pytest.raises(ConfigurationError, match="lam to be shares from 0 to 1"):
        fmix_mask(8, 8, lam)
    with pytest.raises(ConfigurationError, match="one a mask"):
        fmix_masks(torch.tensor(0.5), 8, 8)


def test_sizes_and_decays_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 1 pixel, but got 0 × 8"):
        fmix_mask(0, 8, 0.5)
    with pytest.raises(ConfigurationError, match="at least 1 pixel, but got 8 × -1"):
        fmix_mask(8, -1, 0.5)
    for decay in (-1.0, math.nan):
        with pytest.raises(ConfigurationError, match="decay to be at least 0, but got"):
            fmix_mask(8, 8, 0.5, decay)
