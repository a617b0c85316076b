import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from eac_lightning import ClassificationModule, create_backbone, load_module
from eac_lightning._lightning import L
from eac_lightning.errors import CheckpointError, ConfigurationError
from eac_lightning.models.expnet import ExpNet
from eac_lightning.models.weights import save_weights, stored_options


@pytest.mark.parametrize(("depth", "stride"), [(2, 1), (2, 2), (3, 4), (5, 8), (5, 16)])
def test_map_and_stride(depth: int, stride: int) -> None:
    network = ExpNet(width=4, depth=depth, num_features=24, stride=stride)
    assert network.output_stride == stride
    assert network.forward_features(torch.rand(2, 3, 64, 48)).shape == (2, 24, 64 // stride, 48 // stride)


def test_the_width_doubles_up_to_the_last() -> None:
    convolutions = [layer for layer in ExpNet(8, 5, 40).modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [8, 16, 32, 40, 40]


def test_only_a_signed_student_answers_below_zero() -> None:
    torch.manual_seed(0)
    image = torch.randn(4, 3, 32, 32)
    assert ExpNet(4, 3, 8, 4).forward_features(image).min() == 0
    assert ExpNet(4, 3, 8, 4, signed=True).forward_features(image).min() < 0


def test_an_impossible_network_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 2 blocks.*depth=1"):
        ExpNet(depth=1)
    for stride in (6, 32):
        with pytest.raises(ConfigurationError, match=f"power of 2 of at most 16.*got {stride}"):
            ExpNet(stride=stride)


def test_a_file_of_weights_says_how_to_build_its_network(tmp_path: Path) -> None:
    network = ExpNet(4, 3, 12, 4, signed=True).eval()
    save_weights(network, "expnet", tmp_path / "deep" / "student.safetensors")
    again = create_backbone("expnet", str(tmp_path / "deep" / "student.safetensors")).eval()
    image = torch.rand(2, 3, 32, 32)
    assert again.options == {"width": 4, "depth": 3, "num_features": 12, "stride": 4, "signed": True}
    assert torch.equal(network.forward_features(image), again.forward_features(image))
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["student.safetensors"]
    (tmp_path / "plain").touch()
    assert (tmp_path / "deep" / "student.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_options_are_only_those_of_the_same_network(tmp_path: Path) -> None:
    save_weights(ExpNet(4), "expnet", tmp_path / "a.safetensors")
    assert stored_options(tmp_path / "a.safetensors", "expnet")["width"] == 4
    assert stored_options(tmp_path / "a.safetensors", "resnet8") == {}
    assert stored_options("vggface2", "facenet") == {}
    (tmp_path / "broken.safetensors").write_bytes(b"\x01")
    with pytest.raises(CheckpointError, match="truncated"):
        create_backbone("expnet", str(tmp_path / "broken.safetensors"))


def test_a_module_remembers_the_network_of_its_weights(tmp_path: Path) -> None:
    save_weights(ExpNet(4, 3, 12, 4), "expnet", tmp_path / "student.safetensors")
    module = ClassificationModule(3, backbone="expnet", weights=str(tmp_path / "student.safetensors"))
    trainer = L.Trainer(
        max_epochs=0, logger=False, enable_checkpointing=False, default_root_dir=tmp_path, accelerator="cpu"
    )
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    (tmp_path / "student.safetensors").unlink()
    image = torch.rand(2, 3, 32, 32)
    again = load_module(tmp_path / "a.ckpt")
    assert torch.equal(module.eval()(image), again(image))
    # A checkpoint is a file of weights like any other.
    assert create_backbone("expnet", str(tmp_path / "a.ckpt")).options["width"] == 4


def test_options_reach_the_networks_that_take_them() -> None:
    assert create_backbone("expnet", options={"width": 8}).options["width"] == 8
    vit = create_backbone("timm/vit_tiny_patch16_224", image_size=48, options={"patch_size": 8, "depth": 1})
    assert vit.forward_features(torch.rand(1, 3, 48, 48)).shape[-2:] == (6, 6)
    with pytest.raises(ConfigurationError, match="Unknown backbone option 'widht'. Did you mean 'width'"):
        create_backbone("expnet", options={"widht": 8})
    with pytest.raises(ConfigurationError, match="no backbone_options for torchvision's resnet18"):
        create_backbone("resnet18", options={"width": 8})


def test_a_file_cannot_have_timm_open_another(tmp_path: Path) -> None:
    """What a file says of its network is not passed on to a library that reads files."""
    target = tmp_path / "a.safetensors"
    built = {"backbone": "timm/resnet18", "backbone_options": {"checkpoint_path": "evil.pt"}}
    save_file(create_backbone("timm/resnet18").network.state_dict(), target, {"eac_lightning": json.dumps(built)})
    create_backbone("timm/resnet18", str(target))  # the options are not read
    with pytest.raises(ConfigurationError, match="'checkpoint_path' is one of timm.create_model itself"):
        create_backbone("timm/resnet18", options=built["backbone_options"])


@pytest.mark.parametrize("said", ["oops", '{"backbone": "expnet", "backbone_options": [1, 2]}', '["expnet"]'])
def test_a_file_that_says_nonsense_of_itself_is_read_as_saying_nothing(said: str, tmp_path: Path) -> None:
    target = tmp_path / "a.safetensors"
    save_file(ExpNet().state_dict(), target, {"eac_lightning": said})
    assert create_backbone("expnet", str(target)).options == ExpNet().options
