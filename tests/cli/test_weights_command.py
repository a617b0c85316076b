import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from eac_lightning.cli import main
from eac_lightning.models.backbones import create_backbone
from eac_lightning.models.published import PUBLISHED
from eac_lightning.models.weights import save_weights


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def test_the_list_says_what_where_from_and_whether_it_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "list"]) == 0
    said = capsys.readouterr().out
    for row in PUBLISHED:
        assert f"{row.file}  {row.source}" in said
        [line] = [line for line in said.splitlines() if line.split()[:2] == [row.backbone, row.name]]
        assert ("downloads" if row.downloadable else "to fetch") in line
    assert str(Path("torch/checkpoints").absolute()) in said
    assert "PATH" in said

    PUBLISHED[0].path.parent.mkdir(parents=True)
    PUBLISHED[0].path.touch()
    main(["weights", "list"])
    here = [line for line in capsys.readouterr().out.splitlines() if " here " in line]
    assert [line.split()[:2] for line in here] == [[PUBLISHED[0].backbone, PUBLISHED[0].name]]


def test_the_list_does_not_wait_for_torch() -> None:
    code = "import sys; from eac_lightning.cli import main; main(['weights', 'list']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def write(kind: str, state: dict[str, torch.Tensor]) -> str:
    if kind == "pkl":
        with Path("in.pkl").open("wb") as file:
            pickle.dump({key: value.numpy() for key, value in state.items()}, file)
    else:
        torch.save({"checkpoint": {"state_dict": state, "epoch": 3}, "state": state}[kind], f"in.{kind}")
    return f"in.{kind}"


@pytest.mark.parametrize("kind", ["pkl", "checkpoint", "state"])
def test_any_file_becomes_safetensors(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    weight = torch.arange(6.0).view(2, 3)
    # Two names of one tensor, and one that does not lie as it is read.
    state = {"fc.weight": weight, "tied": weight, "turned": weight.t(), "count": torch.tensor(3)}
    assert main(["weights", "convert", write(kind, state), "sub/out.safetensors"]) == 0
    said = capsys.readouterr().out
    assert "sub/out.safetensors  4 tensors, 19 numbers" in said
    assert "fc.weight (2, 3)" in said
    found = load_file("sub/out.safetensors")
    assert set(found) == set(state)
    assert all(torch.equal(found[key], state[key]) for key in state)


def test_a_file_that_exists_is_kept_unless_told(capsys: pytest.CaptureFixture[str]) -> None:
    source = write("state", {"w": torch.ones(2)})
    Path("out.safetensors").write_text("precious")
    assert main(["weights", "convert", source, "out.safetensors"]) == 1
    assert "exists already" in capsys.readouterr().err
    assert Path("out.safetensors").read_text() == "precious"
    assert main(["weights", "convert", source, "out.safetensors", "--force"]) == 0
    assert load_file("out.safetensors")["w"].tolist() == [1, 1]


def test_only_safetensors_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "convert", write("state", {"w": torch.ones(2)}), "out.pt"]) == 1
    assert "ends in .safetensors, but got out.pt" in " ".join(capsys.readouterr().err.split())


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("executed"),))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": Malicious()}, "not a torch file that loads safely"),
        ({"epoch": 3}, "there is no tensor in it"),
        (None, "there is no such file"),
    ],
)
def test_what_is_no_file_of_weights_is_explained(
    content: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        torch.save(content, "in.pt")
    assert main(["weights", "convert", "in.pt", "out.safetensors"]) == 1
    assert message in " ".join(capsys.readouterr().err.split())
    assert not Path("out.safetensors").exists()
    assert not Path("executed").exists()


def test_a_malicious_pickle_of_arrays_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    array = np.empty(1, dtype=object)
    array[0] = Malicious()
    Path("in.pkl").write_bytes(pickle.dumps({"w": array}))
    assert main(["weights", "convert", "in.pkl", "out.safetensors"]) == 1
    assert "asks for pathlib" in " ".join(capsys.readouterr().err.split())
    assert not Path("executed").exists()


def test_what_a_file_says_of_its_backbone_is_kept() -> None:
    backbone = create_backbone("expnet", options={"width": 4, "num_features": 8})
    save_weights(backbone, "expnet", "student.safetensors")
    checkpoint = {
        "state_dict": {f"model.backbone.{key}": value for key, value in backbone.state_dict().items()},
        "eac_lightning": {"backbone": "expnet", "backbone_options": backbone.options, "class_names": ["a", "b"]},
    }
    torch.save(checkpoint, "last.ckpt")
    for source in ("student.safetensors", "last.ckpt"):
        assert main(["weights", "convert", source, "out.safetensors", "--force"]) == 0
        with safe_open("out.safetensors", framework="pt") as file:
            assert set(json.loads(file.metadata()["eac_lightning"])) == {"backbone", "backbone_options"}
        loaded = create_backbone("expnet", weights="out.safetensors")
        assert torch.equal(next(loaded.parameters()), next(backbone.parameters()))
