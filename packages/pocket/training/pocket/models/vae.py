"""AutoencoderKL: eight-fold downsampling to a Gaussian latent, with diffusers' parameter names.

The decoder may be narrower than the encoder: `up_block_out_channels`, as AsymmetricAutoencoderKL calls it.
"""

import torch
from torch import nn

from ..fused import group_norm
from ..runtime import load, load_weights
from .blocks import Attention, Downsample2D, ResnetBlock2D, Upsample2D

VAE_CONFIG = {
    "_class_name": "AutoencoderKL",
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 8,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [32, 64, 128, 192],
    "up_block_out_channels": [32, 32, 96, 192],
    "layers_per_block": 1,
    "act_fn": "silu",
    "norm_num_groups": 8,
    "sample_size": 256,
    "scaling_factor": 1.0,
    "shift_factor": 0.0,
    "use_quant_conv": True,
    "use_post_quant_conv": True,
}
EPS = 1e-6


def decoder_config(config):
    """The configuration of the decoder alone, as AutoencoderKL knows it."""
    return {name: value for name, value in config.items() if name != "up_block_out_channels"} | {
        "block_out_channels": config.get("up_block_out_channels", config["block_out_channels"])}


def encoder_config(config):
    """The configuration of the encoder alone, as AutoencoderKL knows it."""
    return {name: value for name, value in config.items() if name != "up_block_out_channels"}


class _Stage(nn.Module):
    def __init__(self, in_channels, out_channels, layers, groups, resampler=None):
        super().__init__()
        widths = [in_channels] + [out_channels] * (layers - 1)
        self.resnets = nn.ModuleList([ResnetBlock2D(w, out_channels, groups, EPS) for w in widths])
        if resampler is Downsample2D:
            self.downsamplers = nn.ModuleList([Downsample2D(out_channels, one_sided_padding=True)])
        if resampler is Upsample2D:
            self.upsamplers = nn.ModuleList([Upsample2D(out_channels)])

    def forward(self, x):
        for resnet in self.resnets:
            x = resnet(x)
        for resample in [*getattr(self, "downsamplers", []), *getattr(self, "upsamplers", [])]:
            x = resample(x)
        return x


class _Middle(nn.Module):
    def __init__(self, channels, groups):
        super().__init__()
        self.attentions = nn.ModuleList([Attention(channels, 1, bias=True, groups=groups, eps=EPS)])
        self.resnets = nn.ModuleList([ResnetBlock2D(channels, channels, groups, EPS) for _ in range(2)])

    def forward(self, x):
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        widths, layers, groups = config["block_out_channels"], config["layers_per_block"], config["norm_num_groups"]
        self.conv_in = nn.Conv2d(config["in_channels"], widths[0], 3, padding=1)
        inputs = [widths[0], *widths[:-1]]
        self.down_blocks = nn.ModuleList([
            _Stage(w_in, w_out, layers, groups, Downsample2D if i < len(widths) - 1 else None) for i, (w_in, w_out) in enumerate(zip(inputs, widths))])
        self.mid_block = _Middle(widths[-1], groups)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], EPS)
        self.conv_out = nn.Conv2d(widths[-1], 2 * config["latent_channels"], 3, padding=1)

    def forward(self, x):
        x = self.conv_in(x)
        for block in self.down_blocks:
            x = block(x)
        return self.conv_out(group_norm(self.mid_block(x), self.conv_norm_out))


class Decoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        widths, layers, groups = config["block_out_channels"][::-1], config["layers_per_block"], config["norm_num_groups"]
        self.conv_in = nn.Conv2d(config["latent_channels"], widths[0], 3, padding=1)
        self.mid_block = _Middle(widths[0], groups)
        inputs = [widths[0], *widths[:-1]]
        self.up_blocks = nn.ModuleList([
            _Stage(w_in, w_out, layers + 1, groups, Upsample2D if i < len(widths) - 1 else None) for i, (w_in, w_out) in enumerate(zip(inputs, widths))])
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], EPS)
        self.conv_out = nn.Conv2d(widths[-1], config["out_channels"], 3, padding=1)

    def forward(self, z):
        x = self.mid_block(self.conv_in(z))
        for block in self.up_blocks:
            x = block(x)
        return self.conv_out(group_norm(x, self.conv_norm_out))


class AutoencoderKL(nn.Module):
    """Latents leave `encode` shifted and scaled to about unit variance and `decode` takes them so."""

    def __init__(self, config=VAE_CONFIG):
        super().__init__()
        self.config = config
        channels = config["latent_channels"]
        self.encoder, self.decoder = Encoder(config), Decoder(decoder_config(config))
        self.quant_conv = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.post_quant_conv = nn.Conv2d(channels, channels, 1)

    def moments(self, pictures):
        """Mean and log-variance of the raw latent for pictures in -1..1."""
        mean, log_variance = self.quant_conv(self.encoder(pictures)).chunk(2, 1)
        return mean, log_variance.clamp(-30, 20)

    def decode_raw(self, latents):
        return self.decoder(self.post_quant_conv(latents))

    def encode(self, pictures):
        return (self.moments(pictures)[0] - self.config["shift_factor"]) * self.config["scaling_factor"]

    def decode(self, latents):
        return self.decode_raw(latents / self.config["scaling_factor"] + self.config["shift_factor"])


def load_vae(path, devices):
    """A trained autoencoder, for use only."""
    saved = load(path)
    return devices.place(load_weights(AutoencoderKL(saved["config"]), saved["weights"])).eval().requires_grad_(False)
