"""Phase 2: the teacher, a rectified-flow denoiser with its text encoder, trained from scratch together.

usage: torchrun --nproc-per-node N train_teacher.py --pack pack --tokenizer TOKENIZER --vae runs/vae.pt --out runs/teacher.pt --minutes 9
"""

import argparse

import torch

from pocket.feed import ComposedPictures, Feed, LatentFeed
from pocket.flow import Denoiser, mix, training_times
from pocket.models.vae import AutoencoderKL
from pocket.runtime import Devices, Optimiser, Schedule, load, load_weights, process_rank, save

CAPTION_DROPOUT = 0.1


def load_vae(path, devices):
    saved = load(path)
    vae = load_weights(AutoencoderKL(saved["config"]), saved["weights"])
    return vae.to(devices.device, memory_format=torch.channels_last).eval().requires_grad_(False)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--vae", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--ring", type=int, default=300000)
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--seed", type=int, default=101)
    parser.add_argument("--resume", help="weights to start from")
    parser.add_argument("--compile", action="store_true", help="worth its minutes in long runs only")
    options = parser.parse_args()

    seed = options.seed + process_rank()
    dataset = ComposedPictures(options.pack, options.tokenizer, seed)
    feed = Feed(dataset, options.workers)
    devices = Devices(options.compile)
    feed.start(devices.device)
    torch.manual_seed(seed)
    empty = torch.tensor(dataset.tokenizer.encode(""), device=devices.device)
    vae = load_vae(options.vae, devices)
    model = Denoiser()
    if options.resume:
        load_weights(model, load(options.resume))
    model = model.to(devices.device, memory_format=torch.channels_last)
    optimiser = Optimiser(model, devices)
    predict = devices.compile(model)
    latents = LatentFeed(feed, vae, devices, options.ring, options.batch * 4)
    devices.log(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {latents.ring.filled} latents to start with")

    def forward_backward():
        pictures, ids = latents.sample(options.batch)
        ids = torch.where((torch.rand(options.batch, device=devices.device) < CAPTION_DROPOUT)[:, None], empty, ids)
        noise, t = torch.randn_like(pictures), training_times(options.batch, devices.device)
        x = mix(pictures, noise, t).contiguous(memory_format=torch.channels_last)
        optimiser.zero()
        with devices.autocast():
            velocity = predict(x, t, ids)
        loss = (velocity.float() - (noise - pictures)).square().mean()
        loss.backward()
        return loss.detach()

    devices.first_alone(forward_backward)
    devices.log("ready")
    schedule, total = Schedule(devices, options.minutes), 0.0
    while schedule.advance():
        latents.absorb()
        loss = forward_backward()
        norm = optimiser.step(schedule.cosine(options.rate, warmup_steps=300))
        total += loss
        if schedule.step % 200 == 0:
            devices.log(f"step {schedule.step} {schedule.fraction:.2f} loss {total.item() / 200:.4f} norm {norm.item():.3f} composed {latents.ring.seen}")
            total = 0.0
    devices.log(f"{schedule.step} steps of {options.batch * devices.world}")
    if devices.rank == 0:
        save(optimiser.average_state(), options.out)
    devices.close()


if __name__ == "__main__":
    main()
