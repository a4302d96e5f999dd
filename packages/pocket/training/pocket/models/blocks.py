"""Blocks shared by the denoiser and the autoencoder, with diffusers' parameter names.

GroupNorm and SiLU in ResnetBlock2D, GEGLU feed-forwards and cross-attention follow Latent Diffusion
(Rombach et al., 2022, arXiv:2112.10752) and GLU variants (Shazeer, 2020, arXiv:2002.05202).
"""

import torch
from torch import nn
from torch.nn import functional as F

from ..fused import add_biased, geglu, group_norm, layer_norm, linear


def pointwise(x, conv):
    """A 1x1 convolution as one matrix product over the pixels: channels-last memory is already a list of pixels."""
    return linear(x.permute(0, 2, 3, 1), conv.weight.flatten(1), conv.bias).permute(0, 3, 1, 2)


class ResnetBlock2D(nn.Module):
    def __init__(self, in_channels, out_channels, groups, eps, time_channels=None):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels, eps)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time_emb_proj = nn.Linear(time_channels, out_channels) if time_channels else None
        self.norm2 = nn.GroupNorm(groups, out_channels, eps)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(self, x, time=None):
        # The biases ride along with the next pass over the pixels: conv1's in the norm, conv2's in the sum.
        h = F.conv2d(group_norm(x, self.norm1), self.conv1.weight, padding=1)
        shift = self.conv1.bias.expand(len(x), -1)
        if self.time_emb_proj is not None:
            shift = shift + self.time_emb_proj(F.silu(time))
        h = F.conv2d(group_norm(h, self.norm2, shift), self.conv2.weight, padding=1)
        return add_biased(x if self.conv_shortcut is None else pointwise(x, self.conv_shortcut), h, self.conv2.bias)


class Upsample2D(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Downsample2D(nn.Module):
    """Stride-2 convolution; the autoencoder pads right and bottom only, the denoiser all around."""

    def __init__(self, channels, one_sided_padding=False):
        super().__init__()
        self.one_sided_padding = one_sided_padding
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=0 if one_sided_padding else 1)

    def forward(self, x):
        return self.conv(F.pad(x, (0, 1, 0, 1)) if self.one_sided_padding else x)


def _joined(x, *layers):
    """The outputs of several linear layers on one input, by a single matrix product."""
    bias = None if layers[0].bias is None else torch.cat([layer.bias for layer in layers])
    return linear(x, torch.cat([layer.weight for layer in layers]), bias).chunk(len(layers), -1)


class Attention(nn.Module):
    """Multi-head attention; with group norm and biases it is the autoencoder's self-attention over pixels."""

    def __init__(self, channels, heads, context_channels=None, bias=False, groups=None, eps=1e-6):
        super().__init__()
        context_channels = context_channels or channels
        self.heads = heads
        self.group_norm = nn.GroupNorm(groups, channels, eps) if groups else None
        self.to_q = nn.Linear(channels, channels, bias=bias)
        self.to_k = nn.Linear(context_channels, channels, bias=bias)
        self.to_v = nn.Linear(context_channels, channels, bias=bias)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def attend(self, x, context):
        batch, length, channels = x.shape
        split = lambda y: y.view(batch, -1, self.heads, channels // self.heads).transpose(1, 2)
        if context is x:
            q, k, v = _joined(x, self.to_q, self.to_k, self.to_v)
        else:
            q, (k, v) = self.to_q(x), _joined(context, self.to_k, self.to_v)
        out = F.scaled_dot_product_attention(split(q), split(k), split(v))
        return linear(out.transpose(1, 2).reshape(batch, length, channels), self.to_out[0].weight, self.to_out[0].bias)

    def forward(self, x, context=None):
        if self.group_norm is None:
            return self.attend(x, x if context is None else context)
        batch, channels, height, width = x.shape
        tokens = group_norm(x, self.group_norm, silu=False).permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        return x + self.attend(tokens, tokens).view(batch, height, width, channels).permute(0, 3, 1, 2)


class GEGLU(nn.Module):
    def __init__(self, channels, inner):
        super().__init__()
        self.proj = nn.Linear(channels, inner * 2)

    def forward(self, x):
        return geglu(linear(x, self.proj.weight, self.proj.bias))


class FeedForward(nn.Module):
    def __init__(self, channels):
        super().__init__()
        # Index 1 is diffusers' dropout: it holds no parameters but keeps the names.
        self.net = nn.ModuleList([GEGLU(channels, channels * 4), nn.Identity(), nn.Linear(channels * 4, channels)])

    def forward(self, x):
        return linear(self.net[0](x), self.net[2].weight, self.net[2].bias)


class BasicTransformerBlock(nn.Module):
    def __init__(self, channels, heads, context_channels):
        super().__init__()
        self.norm1, self.attn1 = nn.LayerNorm(channels), Attention(channels, heads)
        self.norm2, self.attn2 = nn.LayerNorm(channels), Attention(channels, heads, context_channels)
        self.norm3, self.ff = nn.LayerNorm(channels), FeedForward(channels)

    def forward(self, x, context):
        x = x + self.attn1(layer_norm(x, self.norm1))
        x = x + self.attn2(layer_norm(x, self.norm2), context)
        return x + self.ff(layer_norm(x, self.norm3))


class Transformer2DModel(nn.Module):
    """Pixels as tokens: 1x1 convolutions in and out around transformer blocks."""

    def __init__(self, channels, heads, context_channels, groups):
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, 1e-6)
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([BasicTransformerBlock(channels, heads, context_channels)])
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x, context):
        batch, channels, height, width = x.shape
        tokens = pointwise(group_norm(x, self.norm, silu=False), self.proj_in).permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        for block in self.transformer_blocks:
            tokens = block(tokens, context)
        return x + pointwise(tokens.view(batch, height, width, channels).permute(0, 3, 1, 2), self.proj_out)


def zero_residual_outputs(model):
    """Starts every residual branch at zero, as in ADM (Dhariwal and Nichol, 2021, arXiv:2105.05233)."""
    for module in model.modules():
        if isinstance(module, ResnetBlock2D):
            nn.init.zeros_(module.conv2.weight)
        if isinstance(module, Transformer2DModel):
            nn.init.zeros_(module.proj_out.weight)
            nn.init.zeros_(module.proj_out.bias)
