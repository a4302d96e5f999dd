"""Phase 1: the autoencoder, on whole composed pictures.

Loss: L1, squared error and an L1 Laplacian pyramid, plus a KL term strong enough to keep the latent
smooth (about 0.03 of its own spread in noise). Latents at half size must decode to the picture at half size,
which keeps noise that means nothing out of them and makes them easier to denoise (Skorokhodov et al., 2025,
arXiv:2502.14831). No adversarial term.

usage: torchrun --nproc-per-node N train_vae.py --pack pack --tokenizer ../model/tokenizer/tokenizer.json --out runs/vae.pt --minutes 5
"""

import argparse

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from pocket.feed import ComposedPictures, Feed, Ring, to_model_range
from pocket.models.vae import VAE_CONFIG, AutoencoderKL
from pocket.quantise import rounded_state
from pocket.rehearsal import size
from pocket.runtime import Devices, Optimiser, Schedule, load, load_weights, process_rank, save

KL_WEIGHT = 2e-3
HALF_SIZE_WEIGHT = 0.25


def laplacian_loss(out, target, levels=3):
    """Mean absolute difference of the band-pass layers, finest first."""
    loss = 0.0
    error = out - target
    for _ in range(levels):
        smaller = F.avg_pool2d(error, 2)
        loss = loss + (error - F.interpolate(smaller, scale_factor=2.0, mode="nearest")).abs().mean()
        error = smaller
    return loss


def distance(out, target):
    error = out - target
    return error.abs().mean() + 2 * error.square().mean() + laplacian_loss(out, target)


class VaeLoss(nn.Module):
    def __init__(self, vae):
        super().__init__()
        self.vae = vae

    def forward(self, pictures):
        inputs = pictures.to(self.vae.quant_conv.weight.dtype)
        mean, log_variance = (part.float() for part in self.vae.moments(inputs))
        latents = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        out = self.vae.decode_raw(latents.to(inputs.dtype)).float()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        some = len(pictures) // 2
        half_size = self.vae.decode_raw(F.avg_pool2d(latents[:some], 2).to(inputs.dtype)).float()
        loss = distance(out, pictures) + HALF_SIZE_WEIGHT * distance(half_size, F.avg_pool2d(pictures[:some], 2)) + KL_WEIGHT * kl
        return loss, (out - pictures).square().mean(), kl


def psnr(errors):
    """Peak signal-to-noise ratio in dB for mean squared errors of pictures in -1..1."""
    return 10 * torch.log10(4 / errors)


@torch.no_grad()
def measure_latents(vae, ring, devices, batches=16):
    """Shift and scale that bring the latents to zero mean and unit variance."""
    moments = torch.zeros(2, device=devices.device, dtype=torch.float64)
    for _ in range(batches):
        mean = vae.moments(to_model_range(ring.sample(size(32, 2))[0]).to(devices.dtype))[0].double()
        moments += torch.stack([mean.mean(), mean.square().mean()]) / batches
    mean, square = devices.average(moments).tolist()
    return mean, (square - mean * mean) ** -0.5


@torch.no_grad()
def reconstruction_report(state, config, pictures, sheet_path):
    """PSNR of full-precision and quantised weights on pictures the training did not see, and a sheet to look at."""
    lines = []
    for label, weights in (("float16", {k: v.float() for k, v in state.items()}), ("int8", rounded_state(state))):
        vae = AutoencoderKL(config).to(pictures.device).eval()
        vae.load_state_dict(weights)
        outs = torch.cat([vae.decode(vae.encode(to_model_range(p))).clamp(-1, 1) for p in pictures.split(16)])
        errors = (outs - to_model_range(pictures)).square().flatten(1).mean(1)
        lines.append(f"PSNR {label}: mean over pictures {psnr(errors).mean():.2f} dB, of the mean error {psnr(errors.mean()):.2f} dB")
        if label == "int8":
            made = ((outs[:24] + 1) * 127.5).round().byte().permute(0, 2, 3, 1)
            rows = [torch.cat([pictures[i: i + 6].cpu(), made[i: i + 6].cpu()], 1) for i in range(0, 24, 6)]
            grid = np.concatenate([np.concatenate(list(row.numpy()), 1) for row in rows])
            Image.fromarray(grid).save(sheet_path, quality=90)
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--batch", type=int, default=size(32, 2))
    parser.add_argument("--workers", type=int, default=13)
    parser.add_argument("--ring", type=int, default=size(60000, 64))
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", help="weights to start from")
    parser.add_argument("--decoder-only", action="store_true", help="with --resume: the encoder, and with it the latents, stay as they are")
    options = parser.parse_args()

    seed = options.seed + process_rank()
    feed = Feed(ComposedPictures(options.pack, options.tokenizer, seed), options.workers)
    devices = Devices()
    torch.manual_seed(seed)
    saved = load(options.resume) if options.resume else None
    vae = AutoencoderKL(saved["config"] if saved else VAE_CONFIG)
    if saved:
        load_weights(vae, saved["weights"])
    if options.decoder_only:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    vae = devices.place(vae)
    optimiser, loss_of = Optimiser(vae, devices), VaeLoss(vae)
    pixels = VAE_CONFIG["sample_size"]
    ring = Ring(options.ring, [torch.zeros((pixels, pixels, 3), dtype=torch.uint8)], devices.device)

    def forward_backward():
        losses = loss_of(to_model_range(ring.sample(options.batch)[0]))
        optimiser.backward(losses[0])
        return [loss.detach() for loss in losses]

    forward_backward = devices.record(forward_backward)
    feed.start(devices.device)
    held_out = feed.next()[0]
    while ring.filled < options.batch * 8:
        ring.add(feed.next()[:1])
    devices.log("ready")
    schedule = Schedule(devices, options.minutes)
    while schedule.advance():
        for batch in feed.ready():
            ring.add(batch[:1])
        loss, error, kl = forward_backward()
        optimiser.step(schedule.cosine(options.rate))
        if schedule.step % 200 == 1:
            devices.log(f"step {schedule.step} {schedule.fraction:.2f} loss {loss.item():.4f} psnr {psnr(error).item():.2f} kl {kl.item():.2f} composed {ring.seen}")
    optimiser.publish(optimiser.ema)
    config = vae.config
    if not options.decoder_only:
        shift, scale = measure_latents(vae, ring, devices)
        config = {**config, "shift_factor": round(shift, 5), "scaling_factor": round(scale, 5)}
    devices.log(f"{schedule.step} steps of {options.batch * devices.world}, shift {config['shift_factor']}, scale {config['scaling_factor']}")
    if devices.rank == 0:
        state = {**saved["weights"], **optimiser.average_state()} if options.decoder_only else optimiser.average_state()
        save({"config": config, "weights": state}, options.out)
        more = [held_out] + [feed.next()[0] for _ in range(size(7, 11))]
        for line in reconstruction_report(state, config, torch.cat(more), options.out.replace(".pt", ".jpg")):
            devices.log(line)
    devices.close()


if __name__ == "__main__":
    main()
