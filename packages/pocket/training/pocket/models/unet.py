"""UNet2DConditionModel: Stable Diffusion's topology, with transformer blocks on all levels but the largest."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from ..fused import group_norm
from .blocks import Downsample2D, ResnetBlock2D, Transformer2DModel, Upsample2D, zero_residual_outputs

UNET_CONFIG = {
    "_class_name": "UNet2DConditionModel",
    "sample_size": 32,
    "in_channels": 8,
    "out_channels": 8,
    "center_input_sample": False,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [128, 192, 256],
    "layers_per_block": 1,
    "downsample_padding": 1,
    "mid_block_scale_factor": 1,
    "act_fn": "silu",
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "cross_attention_dim": 256,
    "attention_head_dim": [4, 6, 8],
    "use_linear_projection": False,
    "transformer_layers_per_block": 1,
}


def timestep_embedding(timesteps, channels):
    """Sinusoids of the timestep, cosines first (diffusers' flip_sin_to_cos)."""
    half = channels // 2
    frequencies = torch.exp(-math.log(10000) / half * torch.arange(half, device=timesteps.device, dtype=torch.float32))
    angles = timesteps.float()[:, None] * frequencies[None]
    return torch.cat([angles.cos(), angles.sin()], -1)


def level_heads(config):
    """Attention heads of each level, from the widest latent down; 0 where a level has no transformers."""
    return [heads if "CrossAttn" in kind else 0 for heads, kind in zip(config["attention_head_dim"], config["down_block_types"])]


class TimestepEmbedding(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.linear_1 = nn.Linear(in_channels, out_channels)
        self.linear_2 = nn.Linear(out_channels, out_channels)

    def forward(self, x):
        return self.linear_2(F.silu(self.linear_1(x)))


class _Level(nn.Module):
    """ResNet blocks of one resolution, each with a transformer where there are heads, and an optional resampler at the end."""

    def __init__(self, widths, out_channels, heads, config, resampler):
        super().__init__()
        groups, time_channels = config["norm_num_groups"], config["block_out_channels"][0] * 4
        self.resnets = nn.ModuleList([ResnetBlock2D(w, out_channels, groups, config["norm_eps"], time_channels) for w in widths])
        if heads:
            self.attentions = nn.ModuleList([Transformer2DModel(out_channels, heads, config["cross_attention_dim"], groups) for _ in widths])
        if resampler is Downsample2D:
            self.downsamplers = nn.ModuleList([Downsample2D(out_channels)])
        if resampler is Upsample2D:
            self.upsamplers = nn.ModuleList([Upsample2D(out_channels)])

    def layer(self, i, x, time, context):
        x = self.resnets[i](x, time)
        return self.attentions[i](x, context) if hasattr(self, "attentions") else x


class DownLevel(_Level):
    """DownBlock2D or CrossAttnDownBlock2D."""

    def forward(self, x, time, context):
        skips = []
        for i in range(len(self.resnets)):
            x = self.layer(i, x, time, context)
            skips.append(x)
        if hasattr(self, "downsamplers"):
            x = self.downsamplers[0](x)
            skips.append(x)
        return x, skips


class UpLevel(_Level):
    """UpBlock2D or CrossAttnUpBlock2D."""

    def forward(self, x, skips, time, context):
        for i in range(len(self.resnets)):
            x = self.layer(i, torch.cat([x, skips.pop()], 1), time, context)
        return self.upsamplers[0](x) if hasattr(self, "upsamplers") else x


class UNetMidBlock2DCrossAttn(nn.Module):
    def __init__(self, channels, heads, config):
        super().__init__()
        groups, time_channels = config["norm_num_groups"], config["block_out_channels"][0] * 4
        self.resnets = nn.ModuleList([ResnetBlock2D(channels, channels, groups, config["norm_eps"], time_channels) for _ in range(2)])
        self.attentions = nn.ModuleList([Transformer2DModel(channels, heads, config["cross_attention_dim"], groups)])

    def forward(self, x, time, context):
        x = self.attentions[0](self.resnets[0](x, time), context)
        return self.resnets[1](x, time)


class UNet2DConditionModel(nn.Module):
    """Predicts the flow's velocity from latents, timesteps (0..1000) and text states."""

    def __init__(self, config=UNET_CONFIG):
        super().__init__()
        self.config = config
        widths, layers = config["block_out_channels"], config["layers_per_block"]
        heads = level_heads(config)
        time_channels, last = widths[0] * 4, len(widths) - 1
        self.conv_in = nn.Conv2d(config["in_channels"], widths[0], 3, padding=1)
        self.time_embedding = TimestepEmbedding(widths[0], time_channels)
        skips, width = [widths[0]], widths[0]
        self.down_blocks = nn.ModuleList()
        for i, out in enumerate(widths):
            self.down_blocks.append(DownLevel([width] + [out] * (layers - 1), out, heads[i], config, Downsample2D if i < last else None))
            skips += [out] * (layers + (i < last))
            width = out
        self.mid_block = UNetMidBlock2DCrossAttn(width, heads[-1], config)
        self.up_blocks = nn.ModuleList()
        for i, out in enumerate(reversed(widths)):
            inputs = []
            for _ in range(layers + 1):
                inputs.append(width + skips.pop())
                width = out
            self.up_blocks.append(UpLevel(inputs, out, heads[last - i], config, Upsample2D if i < last else None))
        self.conv_norm_out = nn.GroupNorm(config["norm_num_groups"], widths[0], config["norm_eps"])
        self.conv_out = nn.Conv2d(widths[0], config["out_channels"], 3, padding=1)
        zero_residual_outputs(self)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)

    def forward(self, sample, timestep, context):
        waves = timestep_embedding(timestep, self.config["block_out_channels"][0])
        time = self.time_embedding(waves.to(self.conv_in.weight.dtype))
        x = self.conv_in(sample)
        skips = [x]
        for block in self.down_blocks:
            x, outputs = block(x, time, context)
            skips += outputs
        x = self.mid_block(x, time, context)
        for block in self.up_blocks:
            x = block(x, skips, time, context)
        return self.conv_out(group_norm(x, self.conv_norm_out))
