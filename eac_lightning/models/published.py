"""Weights that others have published for the face backbones: by which name, from where, under which terms.

Nothing here imports torch before a file is to be downloaded, so that ``eac weights list`` answers at once.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from eac_lightning.errors import CheckpointError, unknown_name

_FACENET = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9"
_MOBILEFACENET = "https://github.com/foamliu/MobileFaceNet/releases/download/v1.0"
_BGR = "224 px, BGR 0–255 − mean"


@dataclass(frozen=True)
class PublishedWeights:
    """One file of weights that somebody else gives out.

    Attributes:
        backbone: The backbone that takes it.
        name: What ``weights`` is to be set to.
        file: Its name in the cache folder.
        source: Where it is: the file's own URL, or the page that leads to it.
        licence: Its publisher's terms, as far as they state any.
        input: Size and normalisation that it was trained with; the backbone normalises by itself.
        sha256: Of the file, where that is known.
    """

    backbone: str
    name: str
    file: str
    source: str
    licence: str
    input: str
    sha256: str | None = None

    @property
    def path(self) -> Path:
        """Where the file is looked for, and put after a download."""
        return cache_folder() / self.file

    @property
    def downloadable(self) -> bool:
        """Whether ``source`` is the file itself, and not a page that a person has to read."""
        return self.source.endswith(self.file)


PUBLISHED = (
    PublishedWeights(
        "facenet", "vggface2", "20180402-114759-vggface2.pt", f"{_FACENET}/20180402-114759-vggface2.pt",
        "MIT; trained on VGGFace2", "160 px, (x − 127.5)/128",
    ),
    PublishedWeights(
        "facenet", "casia-webface", "20180408-102900-casia-webface.pt", f"{_FACENET}/20180408-102900-casia-webface.pt",
        "MIT; trained on CASIA-WebFace", "160 px, (x − 127.5)/128",
    ),
    PublishedWeights(
        "resnet50_vggface2", "resnet50_ft", "resnet50_ft_weight.pkl", "https://github.com/cydonia999/VGGFace2-pytorch",
        "none stated; trained on MS-Celeb-1M, then VGGFace2", _BGR,
    ),
    PublishedWeights(
        "resnet50_vggface2", "resnet50_scratch", "resnet50_scratch_weight.pkl",
        "https://github.com/cydonia999/VGGFace2-pytorch", "none stated; trained on VGGFace2", _BGR,
    ),
    PublishedWeights(
        "resnet18_msceleb", "msceleb", "resnet18_msceleb.pth", "https://github.com/amirhfarzaneh/dacl",
        "none stated; trained on MS-Celeb-1M", "224 px, ImageNet's mean and std",
    ),
    PublishedWeights(
        "mobilefacenet", "ms1m", "mobilefacenet.pt", f"{_MOBILEFACENET}/mobilefacenet.pt",
        "Apache-2.0; trained on MS-Celeb-1M", "112 px, ImageNet's mean and std",
        "90a00ba1d8b0b688af3deb731ed53dca582e6106805d1bc3cfdef55f570493f4",
    ),
)  # fmt: skip


def cache_folder() -> Path:
    """Return the folder that facenet-pytorch too keeps its files in: ``$TORCH_HOME/checkpoints``."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"))
    return Path(os.environ.get("TORCH_HOME", cache / "torch")).expanduser() / "checkpoints"


def find_weights(backbone: str, weights: str) -> str:
    """Return the file that ``weights`` means for ``backbone``; what is no published name here is returned as it is.

    Args:
        backbone: A name that ``create_backbone`` knows.
        weights: A name of :data:`PUBLISHED`, or anything else that the backbone takes, such as a file.

    Raises:
        ConfigurationError: If the backbone has published weights, and ``weights`` is neither one of them nor a file.
        CheckpointError: If the file is not in the cache folder and cannot be downloaded.
    """
    known = {published.name: published for published in PUBLISHED if published.backbone == backbone}
    if not known or Path(weights).suffix or Path(weights).is_file():
        return weights
    if weights not in known:
        raise unknown_name(f"weights of {backbone} (a file ends in .pt, .pth, .pkl or .safetensors)", weights, known)
    published = known[weights]
    if not published.path.is_file():
        _download(published)
    return str(published.path)


def _download(published: PublishedWeights) -> None:
    what = f"{published.backbone} with weights {published.name!r} needs the file {published.file}"
    todo = f"Put it into {published.path.parent}, or give its path as weights."
    if not published.downloadable:
        raise CheckpointError(f"{what}, which {published.source} leads to. {todo}")
    from torch.hub import download_url_to_file

    try:
        published.path.parent.mkdir(parents=True, exist_ok=True)
        download_url_to_file(published.source, str(published.path), published.sha256)
    except (OSError, RuntimeError) as error:  # no network; not the file that was published
        raise CheckpointError(f"{what}, and its download from {published.source} failed: {error}. {todo}") from error
