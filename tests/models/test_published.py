import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import pytest
import torch

from eac_lightning.errors import CheckpointError, ConfigurationError
from eac_lightning.models import published
from eac_lightning.models.backbones import create_backbone, list_backbones
from eac_lightning.models.mobilefacenet import MobileFaceNet
from eac_lightning.models.published import PUBLISHED, PublishedWeights, cache_folder, find_weights

REAL = Path(__file__).parents[2].parent / "shared" / "weights" / "mobilefacenet_ms1m.pt"
BY_NAME = {(row.backbone, row.name): row for row in PUBLISHED}
MS1M = BY_NAME["mobilefacenet", "ms1m"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "checkpoints"


def publish(row: PublishedWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "PUBLISHED", (row,))


def test_every_row_is_of_a_backbone_and_its_name_is_no_file() -> None:
    assert {row.backbone for row in PUBLISHED} <= set(list_backbones())
    assert len(BY_NAME) == len(PUBLISHED)
    for row in PUBLISHED:
        assert not Path(row.name).suffix
        assert Path(row.file).suffix in (".pt", ".pth", ".pkl")
        assert row.source.startswith("https://")
        assert row.licence
        assert row.input


def test_the_cache_is_that_of_facenet_pytorch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "torch" / "checkpoints"
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "torch" / "checkpoints"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "torch" / "checkpoints"


@pytest.mark.parametrize("row", [row for row in PUBLISHED if row.downloadable], ids=lambda row: row.file)
def test_without_a_network_the_error_says_what_to_put_where(
    row: PublishedWeights, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(CheckpointError) as caught:
        create_backbone(row.backbone, weights=row.name)
    for part in (row.backbone, row.name, row.file, row.source, "no route to host", f"Put it into {cache}"):
        assert part in str(caught.value)


@pytest.mark.parametrize("row", [row for row in PUBLISHED if not row.downloadable], ids=lambda row: row.file)
def test_what_a_person_has_to_fetch_is_said(row: PublishedWeights, cache: Path) -> None:
    with pytest.raises(CheckpointError, match=f"needs the file {row.file}, which {row.source} leads to. Put it into "):
        create_backbone(row.backbone, weights=row.name)
    assert not cache.exists()


def test_a_file_is_downloaded_once_and_checked(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(1)
    network = MobileFaceNet()
    source = tmp_path / "site" / MS1M.file
    source.parent.mkdir()
    torch.save(network.state_dict(), source)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()

    publish(dataclasses.replace(MS1M, source=source.as_uri(), sha256="0" * 64), monkeypatch)
    with pytest.raises(CheckpointError, match="invalid hash value"):
        create_backbone("mobilefacenet", weights="ms1m")
    assert list(cache.iterdir()) == []

    publish(dataclasses.replace(MS1M, source=source.as_uri(), sha256=digest), monkeypatch)
    loaded = create_backbone("mobilefacenet", weights="ms1m")
    assert torch.equal(next(loaded.parameters()), next(network.parameters()))
    source.unlink()
    create_backbone("mobilefacenet", weights="ms1m")


def test_a_name_nobody_published_lists_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"Unknown weights of facenet .*'vggface'.*Did you mean 'vggface2'"):
        create_backbone("facenet", weights="vggface")


def test_files_and_what_other_backbones_take_are_left_alone(tmp_path: Path) -> None:
    plain = tmp_path / "weights"
    plain.touch()
    for backbone, weights in (("facenet", "own.pt"), ("facenet", str(plain)), ("resnet18", "DEFAULT")):
        assert find_weights(backbone, weights) == weights


@pytest.mark.skipif(not REAL.is_file(), reason=f"needs the published MobileFaceNet weights, {REAL.name}")
def test_the_hash_is_that_of_the_published_file() -> None:
    assert hashlib.sha256(REAL.read_bytes()).hexdigest() == MS1M.sha256


def test_the_table_does_not_import_torch() -> None:
    code = "import eac_lightning.models.published, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
