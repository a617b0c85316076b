import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eac_lightning.answering import Answering
from eac_lightning.maps.explain import check_method, explain
from eac_lightning.models.classifier import CAMClassifier
from eac_lightning.modules import FERModule


class Backbone(nn.Module):
    num_features = 5

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 5, 3, 4, 1), nn.BatchNorm2d(5), nn.ReLU(), nn.Dropout(0.5))

    def forward_features(self, image: Tensor) -> Tensor:
        return self.layers(image)


class Module(FERModule):
    def configure_models(self) -> None:
        self.model = CAMClassifier(Backbone(), self.num_classes, self.hparams["normalize"])


@pytest.fixture
def module() -> Module:
    torch.manual_seed(0)
    return Module(num_classes=3)


@pytest.fixture
def image() -> Tensor:
    return torch.rand(4, 3, 16, 24, generator=torch.Generator().manual_seed(1))


def test_samples_hold_the_prediction_and_the_maps_of_face_and_twin(module: Module, image: Tensor) -> None:
    given = torch.tensor([0, 1, 2, -1])
    samples = explain(module.train(), image, given, torch.tensor([1, -1, 2, -1]))
    module.eval()
    with torch.no_grad():
        probabilities = module(image).softmax(1)
        maps, twin = module.attention_maps(image), module.attention_maps(image.flip(-1)).flip(-1)
    for index, sample in enumerate(samples):
        predicted = int(probabilities[index].argmax())
        assert sample.predicted == predicted
        assert sample.confidence == pytest.approx(float(probabilities[index].max()), abs=1e-6)
        np.testing.assert_allclose(sample.predicted_map, maps[index, predicted], atol=1e-6)
        np.testing.assert_allclose(sample.twin_map, twin[index, predicted], atol=1e-6)
        np.testing.assert_allclose(sample.image, image[index].permute(1, 2, 0))
        if given[index] >= 0:
            np.testing.assert_allclose(sample.given_map, maps[index, given[index]], atol=1e-6)
    assert samples[3].given_map is None
    assert [sample.clean for sample in samples] == [1, -1, 2, -1]


def test_the_confidence_is_calibrated_where_the_module_is(module: Module, image: Tensor) -> None:
    plain = explain(module, image)
    module.answers = Answering(temperature=0.1)
    with torch.no_grad():
        expected = (module.eval()(image) / 0.1).softmax(1).amax(1)
    for before, after, confidence in zip(plain, explain(module, image), expected, strict=True):
        assert after.confidence == pytest.approx(float(confidence), abs=1e-6) != before.confidence
        assert after.predicted == before.predicted


def test_without_labels_nothing_is_given(module: Module, image: Tensor) -> None:
    assert all(sample.given == sample.clean == -1 and sample.given_map is None for sample in explain(module, image))


@pytest.mark.parametrize("method", ["cam", "grad_cam", "layer_cam"])
def test_the_views_of_a_symmetric_network_agree(module: Module, image: Tensor, method: str) -> None:
    convolution = module.model.backbone.layers[0]
    convolution.stride = (1, 1)
    assert all(sample.disagreement > 0.01 for sample in explain(module, image, method=method))
    with torch.no_grad():
        convolution.weight.copy_((convolution.weight + convolution.weight.flip(-1)) / 2)
    assert all(sample.disagreement < 1e-4 for sample in explain(module, image, method=method))


def test_gradient_maps_are_those_of_predicted_and_given_class(module: Module, image: Tensor) -> None:
    module.eval()
    with torch.no_grad():
        predicted = module(image).argmax(1)
    other = (predicted + 1) % 3
    grad = explain(module, image, other, method="grad_cam")
    # With pooling and one linear layer Grad-CAM is the positive part of CAM over the number of cells.
    with torch.no_grad():
        maps = module.attention_maps(image).clamp(min=0) / 24
    for index, sample in enumerate(grad):
        np.testing.assert_allclose(sample.predicted_map, maps[index, predicted[index]], atol=1e-5)
        np.testing.assert_allclose(sample.given_map, maps[index, other[index]], atol=1e-5)


def test_normalised_images_are_stretched_back_into_a_picture(image: Tensor) -> None:
    module = Module(num_classes=3, normalize=False)
    for sample in explain(module, 4 * image - 2):
        assert (sample.image.min(), sample.image.max()) == (0, 1)


def test_half_precision_modules_are_drawn_as_well(module: Module, image: Tensor) -> None:
    (sample,) = explain(module.to(torch.bfloat16), image[:1])
    assert sample.predicted_map.dtype == np.float32


def test_a_module_that_draws_its_own_maps_needs_no_network_that_does(image: Tensor) -> None:
    class Own(Module):
        def logits_and_maps(self, image: Tensor) -> tuple[Tensor, Tensor]:
            maps = image[:, :, ::8, ::8]
            return maps.mean((2, 3)), maps

    module = Own(num_classes=3)
    module.model = nn.Identity()
    check_method(module, "cam")
    (sample,) = explain(module, image[:1])
    np.testing.assert_array_equal(sample.predicted_map, image[0, sample.predicted, ::8, ::8])


def test_a_module_that_does_not_know_its_classes_yet_is_let_pass() -> None:
    check_method(Module(), "cam")
