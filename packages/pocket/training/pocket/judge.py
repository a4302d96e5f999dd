"""The judge's network, its loss, and what it says about a picture."""

import torch
from torch import nn
from torch.nn import functional as F

from .compose import labels as L
from .fused import group_norm

HEADS = {
    "style": len(L.STYLES), "colour": len(L.COLOUR_NAMES), "scene": len(L.SCENES), "material": len(L.MATERIAL_NAMES),
    "filter": len(L.FILTER_NAMES), "count": len(L.COUNTS),
}
REGIONS = ["whole", "left", "right", "upper", "lower"]
PIXELS = 128


class _Block(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al., 2015, arXiv:1512.03385)."""

    def __init__(self, channels_in, channels_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.norm1 = nn.GroupNorm(16, channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.norm2 = nn.GroupNorm(16, channels_out)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False) if stride > 1 or channels_in != channels_out else None

    def forward(self, x):
        h = F.relu(group_norm(self.conv1(x), self.norm1, silu=False))
        h = group_norm(self.conv2(h), self.norm2, silu=False)
        return F.relu(h + (x if self.shortcut is None else self.shortcut(x)))


class Judge(nn.Module):
    def __init__(self, concepts, widths=(64, 128, 256, 512)):
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 5, 2, 2, bias=False)
        blocks, channels = [], widths[0]
        for i, width in enumerate(widths):
            blocks += [_Block(channels, width, 1 if i == 0 else 2), _Block(width, width, 1)]
            channels = width
        self.blocks = nn.Sequential(*blocks)
        self.concepts = nn.Linear(channels, concepts)
        self.heads = nn.ModuleDict({name: nn.Linear(channels, classes) for name, classes in HEADS.items()})

    def features(self, pictures):
        """Feature map of pictures in -1..1 at any size: 8 x 8 cells for 128 pixels."""
        x = F.interpolate(pictures, size=(PIXELS, PIXELS), mode="area") if pictures.shape[-1] != PIXELS else pictures
        return self.blocks(self.stem(x.to(self.stem.weight.dtype)))

    def forward(self, pictures):
        grid = self.features(pictures)
        half = grid.shape[-1] // 2
        areas = [grid, grid[..., :half], grid[..., half:], grid[..., :half, :], grid[..., half:, :]]
        pooled = torch.stack([area.mean((2, 3)) for area in areas], 1)
        out = {"concepts": self.concepts(pooled)}
        for name, head in self.heads.items():
            out[name] = head(pooled[:, 0])
        return out


def judge_loss(outputs, rows):
    """Cross-entropies of all heads; the concept head's target is shared between the things in the region."""
    column = {name: rows[:, i] for i, name in enumerate(L.COLUMNS)}
    log_probs = outputs["concepts"].float().log_softmax(-1)
    first, second, axis = column["first"], column["second"], column["axis"]
    both = second >= 0
    second_or_first = torch.where(both, second, first)

    def missed(region, concept):
        return -log_probs[:, region].gather(1, concept[:, None])[:, 0]

    loss = ((missed(0, first) + missed(0, second_or_first)) / 2).mean()
    for code, (one, other) in ((1, (1, 2)), (2, (3, 4))):
        there = (axis == code).float()
        loss = loss + ((missed(one, first) + missed(other, second_or_first)) * there).sum() / there.sum().clamp(min=1) * 0.25
    for name in HEADS:
        target = column[name]
        known = target >= 0
        losses = F.cross_entropy(outputs[name].float(), target.clamp(min=0), reduction="none")
        loss = loss + 0.3 * (losses * known).sum() / known.sum().clamp(min=1)
    single = (~both).float()
    hit = (log_probs[:, 0].argmax(-1) == first).float()
    return loss, (hit * single).sum() / single.sum().clamp(min=1)
