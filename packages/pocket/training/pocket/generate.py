"""Pictures from prompts with PyTorch, as the shipped files or the teacher would draw them."""

import torch

from .flow import Denoiser, fixed_noise, sample
from .models.vae import AutoencoderKL
from .quantise import rounded_state
from .runtime import load, load_weights
from .tokenizer import Tokenizer


class Generator:
    """`quantised` draws with the weights as the shipped files store them. Computes in float32, or in bfloat16 with `fast`."""

    def __init__(self, denoiser_path, vae_path, tokenizer_path, device, quantised=False, fast=False):
        denoiser, vae = load(denoiser_path), load(vae_path)
        prepare = rounded_state if quantised else lambda state: state
        place = lambda model: model.to(device, torch.bfloat16 if fast else torch.float32, memory_format=torch.channels_last).eval()
        self.device, self.tokenizer = device, Tokenizer(tokenizer_path)
        self.model = place(load_weights(Denoiser(), prepare(denoiser)))
        self.vae = place(load_weights(AutoencoderKL(vae["config"]), prepare(vae["weights"])))
        self.channels = vae["config"]["latent_channels"]
        self.empty = torch.tensor(self.tokenizer.encode(""), device=device)

    @torch.no_grad()
    def __call__(self, prompts, seeds, steps=4, guidance=1.0, batch=64):
        """uint8 pictures [n, 256, 256, 3] on the CPU."""
        pictures = []
        for i in range(0, len(prompts), batch):
            ids = torch.tensor(self.tokenizer.encode_all(prompts[i: i + batch]), device=self.device).long()
            noise = fixed_noise(seeds[i: i + batch], self.channels).to(self.device)
            latents = sample(self.model, noise, ids, steps, self.empty, guidance)
            out = self.vae.decode(latents.to(self.vae.quant_conv.weight.dtype)).float().clamp(-1, 1)
            pictures.append(((out + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu())
        return torch.cat(pictures)
