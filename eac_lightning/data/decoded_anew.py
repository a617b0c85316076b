"""Pictures that are kept nowhere: each is decoded whenever it is asked for."""

import numpy as np
import torch
from torch import Tensor

from eac_lightning.data.sources import PictureSource, prepare
from eac_lightning.errors import DataError


class DecodedAnew:
    """What a store's pixels are asked for, decoded on the spot: slower, in no memory and in no file.

    Args:
        source: The pictures.
        size: Side that they are brought to, in pixels.
    """

    def __init__(self, source: PictureSource, size: int) -> None:
        self.source = source
        self.size = size

    def index_select(self, dim: int, positions: Tensor) -> Tensor:
        """Return (n, 1 or 3, S, S) uint8; grey pictures have three channels where they stand among others.

        Raises:
            DataError: If one of them cannot be read.
        """
        del dim
        pictures = []
        for position in positions.tolist():
            picture = prepare(self.source, position, self.size)
            if isinstance(picture, str):
                raise DataError(f"{self.source.names[position]} cannot be read: {picture}. Repair or remove it.")
            pictures.append(picture)
        if not pictures:
            return torch.empty((0, 1, self.size, self.size), dtype=torch.uint8)
        grey = all(picture.ndim == 2 for picture in pictures)
        if grey:
            return torch.from_numpy(np.stack(pictures)[:, None])
        colour = [np.stack([picture] * 3, -1) if picture.ndim == 2 else picture for picture in pictures]
        return torch.from_numpy(np.stack(colour).transpose(0, 3, 1, 2).copy())
