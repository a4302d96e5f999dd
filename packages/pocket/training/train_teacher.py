"""Phase 2: the teacher, a rectified-flow denoiser with its text encoder, trained from scratch together.

usage: torchrun --nproc-per-node N train_teacher.py --pack pack --tokenizer TOKENIZER --vae runs/vae.pt --out runs/teacher.pt --minutes 9
"""

import argparse

import torch

from pocket.feed import ComposedPictures, Feed, LatentFeed
from pocket.flow import Denoiser, mix, training_times
from pocket.models.vae import load_vae
from pocket.rehearsal import size
from pocket.runtime import Devices, Optimiser, Schedule, load, load_weights, process_rank, save, wait_for
from pocket.sheets import preview

CAPTION_DROPOUT = 0.1
HEAD_START = 8000  # pictures encoded as fast as they come before latents are reused


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--vae", required=True, help="waited for if it is not there yet")
    parser.add_argument("--out", required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--batch", type=int, default=size(128, 2))
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--ring", type=int, default=size(400000, 64))
    parser.add_argument("--uses", type=float, default=8, help="training steps that each picture takes part in, at least")
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--ema", type=float, default=0.999, help="decay of the average of weights, a step")
    parser.add_argument("--seed", type=int, default=101)
    parser.add_argument("--resume", help="weights to start from")
    options = parser.parse_args()

    seed = options.seed + process_rank()
    dataset = ComposedPictures(options.pack, options.tokenizer, seed)
    feed = Feed(dataset, options.workers)
    devices = Devices()
    torch.manual_seed(seed)
    empty = torch.tensor(dataset.tokenizer.encode(""), device=devices.device)
    vae = load_vae(wait_for(options.vae), devices)
    model = Denoiser()
    if options.resume:
        load_weights(model, load(options.resume))
    model = devices.place(model)
    optimiser = Optimiser(model, devices, max_decay=options.ema)
    latents = LatentFeed(vae, devices, options.ring, vae.config["sample_size"], len(empty))

    def forward_backward():
        pictures, ids, _ = latents.sample(options.batch)
        ids = torch.where((torch.rand(options.batch, device=devices.device) < CAPTION_DROPOUT)[:, None], empty, ids)
        noise, t = torch.randn_like(pictures), training_times(options.batch, devices.device)
        velocity = model(mix(pictures, noise, t), t, ids)
        loss = (velocity - (noise - pictures)).square().mean()
        optimiser.backward(loss)
        return loss.detach()

    def draw():
        optimiser.publish(optimiser.ema)
        preview(model, vae, dataset.tokenizer, options.out.replace(".pt", ".jpg"), steps=12, guidance=3.0)
        optimiser.publish()

    forward_backward = devices.record(forward_backward)
    latents.start(feed.start(devices.device), options.batch * 8)
    devices.log(f"ready: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters")
    schedule, total = Schedule(devices, options.minutes), 0.0
    while schedule.advance():
        latents.absorb(HEAD_START + schedule.step * options.batch / options.uses)
        total += forward_backward().nan_to_num()
        norm = optimiser.step(schedule.trapezoid(options.rate, warmup_steps=400, decay_share=0.5))
        if schedule.step % 250 == 0:
            dropped = optimiser.go_back_if_lost(250)
            devices.log(f"step {schedule.step} {schedule.fraction:.2f} loss {total.item() / 250:.4f} norm {norm.item():.3f} dropped {dropped} composed {latents.ring.seen}")
            total = 0.0
        if schedule.step % 8000 == 0 and devices.rank == 0:
            save(optimiser.average_state(), options.out + ".partial")
            draw()
    devices.log(f"{schedule.step} steps of {options.batch * devices.world}")
    if devices.rank == 0:
        save(optimiser.average_state(), options.out)
        draw()
    devices.close()


if __name__ == "__main__":
    main()
