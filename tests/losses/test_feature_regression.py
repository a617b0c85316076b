"""The regression of FaceNet2ExpNet against loops over every element."""

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from eac_lightning.errors import ConfigurationError
from eac_lightning.losses.feature_regression import FeatureRegressionLoss, feature_regression, resample


def naive(student: Tensor, teacher: Tensor, norm: int, reduction: str) -> Tensor:
    """−log p(g) of p(g) ∝ exp(−‖g − G‖_p^p), up to a constant, averaged over the faces."""
    samples, channels, height, width = student.shape
    total = torch.zeros((), dtype=student.dtype)
    for n in range(samples):
        for c in range(channels):
            for y in range(height):
                for x in range(width):
                    total = total + abs(student[n, c, y, x] - teacher[n, c, y, x]) ** norm
    return total / samples / (channels * height * width if reduction == "mean" else 1)


def area_average(feature_map: Tensor) -> Tensor:
    """Triangle weights over twice the cell, as antialiased bilinear halving has them, by loops."""
    samples, channels, height, width = feature_map.shape
    out = torch.zeros(samples, channels, height // 2, width // 2, dtype=feature_map.dtype)

    def weights(cell: int, length: int) -> list[float]:
        centre = 2 * cell + 1.0
        raw = [max(0.0, 1 - abs(position + 0.5 - centre) / 2) for position in range(length)]
        return [value / sum(raw) for value in raw]

    for i in range(height // 2):
        for j in range(width // 2):
            for y, wy in enumerate(weights(i, height)):
                for x, wx in enumerate(weights(j, width)):
                    out[..., i, j] += wy * wx * feature_map[..., y, x]
    return out


@pytest.fixture
def maps() -> tuple[Tensor, Tensor]:
    return torch.randn(3, 4, 2, 5, dtype=torch.float64), torch.randn(3, 4, 2, 5, dtype=torch.float64)


@pytest.mark.parametrize("norm", [1, 2])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_it_equals_a_loop(maps: tuple[Tensor, Tensor], norm: int, reduction: str) -> None:
    expected = naive(*maps, norm, reduction)
    torch.testing.assert_close(feature_regression(*maps, norm, reduction), expected)
    torch.testing.assert_close(FeatureRegressionLoss(norm, reduction)(*maps), expected)


def test_the_sum_is_the_mean_times_the_size_of_a_map(maps: tuple[Tensor, Tensor]) -> None:
    torch.testing.assert_close(feature_regression(*maps, reduction="sum"), 40 * feature_regression(*maps))


def test_the_gradient_flows_to_the_student_alone(maps: tuple[Tensor, Tensor]) -> None:
    student, teacher = (each.requires_grad_() for each in maps)
    feature_regression(student, teacher).backward()
    assert teacher.grad is None
    torch.testing.assert_close(student.grad, 2 * (student - teacher).detach() / student.numel())
    assert gradcheck(lambda s: feature_regression(s, teacher.detach(), reduction="sum"), (student,))


def test_the_same_map_costs_nothing(maps: tuple[Tensor, Tensor]) -> None:
    assert feature_regression(maps[0], maps[0]) == 0


def test_the_order_of_the_batch_does_not_matter(maps: tuple[Tensor, Tensor]) -> None:
    student, teacher = maps
    torch.testing.assert_close(
        feature_regression(student, teacher), feature_regression(student.flip(0), teacher.flip(0))
    )


def test_a_map_of_that_size_is_the_same_object(maps: tuple[Tensor, Tensor]) -> None:
    assert resample(maps[0], (2, 5)) is maps[0]


def test_a_larger_map_is_averaged(maps: tuple[Tensor, Tensor]) -> None:
    large = torch.randn(2, 3, 4, 8, dtype=torch.float64)
    torch.testing.assert_close(resample(large, (2, 4)), area_average(large))
    teacher = torch.randn(2, 3, 2, 4, dtype=torch.float64)
    torch.testing.assert_close(feature_regression(large, teacher), naive(area_average(large), teacher, 2, "mean"))


def test_a_smaller_map_is_interpolated_between_the_centres() -> None:
    small = torch.tensor([[[[0.0, 1.0]]]])
    torch.testing.assert_close(resample(small, (1, 4)), torch.tensor([[[[0.0, 0.25, 0.75, 1.0]]]]))


def test_half_precision_is_summed_in_float32() -> None:
    student, teacher = torch.ones(2, 64, 8, 8, dtype=torch.bfloat16), torch.zeros(2, 64, 8, 8)
    loss = feature_regression(student, teacher, reduction="sum")
    assert loss.dtype == torch.float32
    assert loss == 4096


def test_bad_arguments_are_named(maps: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(ConfigurationError, match=r"as many faces and channels.*\(3, 4, 2, 5\).*\(3, 3, 2, 5\)"):
        feature_regression(maps[0], maps[1][:, :3])
    with pytest.raises(ConfigurationError, match="norm to be 1 or 2, but got 3"):
        feature_regression(*maps, norm=3)
    with pytest.raises(ConfigurationError, match="one of mean, sum, but got 'none'"):
        feature_regression(*maps, reduction="none")
