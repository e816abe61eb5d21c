"""Augmentation of training batches: random crops of padded images, and mirror images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class CropFlip:
    """Each image is padded on all sides and cropped to its size at a random place, and half of them are mirrored.

    pad     pixels on each side (He et al., 2016a, section 4.2)
    flip    whether images are mirrored from left to right: not where that makes another thing of them (digits)
    fill    what is padded with, a channel: black, in the units of the batch
    """

    pad: int = 4
    flip: bool = True
    fill: tuple[float, ...] = ()

    def __call__(self, x: Tensor, stream: torch.Generator) -> Tensor:
        """x [n, C, H, W] -> [n, C, H, W]; a function of x and the stream, which is on the CPU whatever x is on."""
        n, _, height, width = x.shape
        corners = torch.randint(0, 2 * self.pad + 1, (2, n, 1), generator=stream)
        mirrored = torch.rand((n, 1), generator=stream) < 0.5
        rows, columns = corners[0] + torch.arange(height), corners[1] + torch.arange(width)
        if self.flip:
            columns = torch.where(mirrored, columns.flip(1), columns)
        rows, columns = rows.to(x.device), columns.to(x.device)
        images = torch.arange(n, device=x.device)[:, None, None]
        out = self._padded(x)[images, :, rows[:, :, None], columns[:, None, :]]
        return out.permute(0, 3, 1, 2).contiguous()

    def _padded(self, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        fill = torch.tensor(self.fill or (0.0,), dtype=x.dtype, device=x.device)[:, None, None]
        out = fill.expand(n, channels, height + 2 * self.pad, width + 2 * self.pad).clone()
        out[:, :, self.pad : self.pad + height, self.pad : self.pad + width] = x
        return out
