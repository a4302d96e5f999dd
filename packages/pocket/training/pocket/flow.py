"""Rectified flow (Liu et al., 2022, arXiv:2209.03003): straight paths from pictures (t=0) to noise (t=1)."""

import torch
from torch import nn

from .models.clip_text import TEXT_CONFIG, CLIPTextModel
from .models.unet import UNET_CONFIG, UNet2DConditionModel

WINDOWS = 4
LATENT_SIZE = 32


class Denoiser(nn.Module):
    """Text encoder and UNet together: the velocity at time t for token ids."""

    def __init__(self, unet_config=UNET_CONFIG, text_config=TEXT_CONFIG):
        super().__init__()
        self.text_encoder, self.unet = CLIPTextModel(text_config), UNet2DConditionModel(unet_config)

    def forward(self, x, t, ids):
        """The velocity in float32; inside, everything is in the parameters' dtype, channels-last."""
        x = x.to(self.unet.conv_in.weight.dtype, memory_format=torch.channels_last)
        return self.unet(x, t * 1000, self.text_encoder(ids)).float()


def mix(pictures, noise, t):
    """The point at time t of the straight path."""
    t = t.view(-1, 1, 1, 1)
    return (1 - t) * pictures + t * noise


def training_times(count, device, uniform_share=0.15, centre=0.3):
    """Logit-normal times (Esser et al., 2024, arXiv:2403.03206) with a share of uniform ones for the ends.

    A `centre` above 0 dwells on noisy times, where it is decided what is drawn and where.
    """
    times = torch.sigmoid(centre + torch.randn(count, device=device))
    return torch.where(torch.rand(count, device=device) < uniform_share, torch.rand(count, device=device), times)


def fixed_noise(seeds, channels):
    """One start latent per seed, the same on every machine."""
    make = lambda seed: torch.randn((channels, LATENT_SIZE, LATENT_SIZE), generator=torch.Generator().manual_seed(seed))
    return torch.stack([make(seed) for seed in seeds])


def guided_velocity(model, x, t, ids, empty, guidance):
    """Classifier-free guidance (Ho and Salimans, 2022, arXiv:2207.12598) in one doubled batch."""
    both = model(torch.cat([x, x]), torch.cat([t, t]), torch.cat([empty.expand_as(ids), ids]))
    without, with_text = both.chunk(2)
    return without + guidance * (with_text - without)


def style_guided_velocity(model, x, t, ids, unstyled, empty, guidance, style_guidance):
    """Guidance with a term of its own for the style, as concepts are composed (Liu et al., 2022, arXiv:2206.01714).

    `unstyled` are the captions without their style's words. At most half of a batch gets the term, which makes the batch
    two and a half times as large: captions that have such words come first.
    """
    styled = (ids != unstyled).any(1)
    some = styled.float().topk((len(ids) + 1) // 2).indices
    captions = torch.cat([empty.expand_as(ids), ids, unstyled[some]])
    without, with_text, without_style = model(torch.cat([x, x, x[some]]), torch.cat([t, t, t[some]]), captions).split([len(x), len(x), len(some)])
    velocity = without + guidance * (with_text - without)
    return velocity.index_add(0, some, styled[some].view(-1, 1, 1, 1) * (with_text[some] - without_style), alpha=style_guidance)


def integrate(velocity, x, start, end, steps):
    """Euler steps of equal length from time `start` to `end`; `velocity(x, t)` takes a batch of times."""
    for i in range(steps):
        t = start + (end - start) * i / steps
        x = x + (end - start) / steps * velocity(x, torch.full((len(x),), t, device=x.device))
    return x


@torch.no_grad()
def sample(model, noise, ids, steps, empty=None, guidance=1.0):
    """Latents from noise: guided if a guidance other than 1 is given, otherwise one model call a step."""
    if guidance == 1.0:
        return integrate(lambda x, t: model(x, t, ids), noise, 1.0, 0.0, steps)
    return integrate(lambda x, t: guided_velocity(model, x, t, ids, empty, guidance), noise, 1.0, 0.0, steps)


def window_start(index):
    return 1 - index / WINDOWS


def pseudo_huber(error, width=0.02):
    """Per-sample root-mean-square error, rounded off near zero."""
    return (error.square().flatten(1).mean(1) + width ** 2).sqrt().mean() - width
