"""Phase 3: four steps without guidance, by piecewise rectified flow (Yan et al., 2024, arXiv:2405.07510).

Time is cut into four windows. The guided teacher carries a sample from a window's start to its end
in small Euler steps; the student learns the straight velocity between the two. Half of the starting
points are noised pictures, half are where the student itself arrives from pure noise, so that it
learns on what it meets when sampling. The last part trains with quantised weights.

usage: torchrun --nproc-per-node N distill.py --pack pack --tokenizer TOKENIZER --vae runs/vae.pt --teacher runs/teacher.pt
       --out runs/student.pt --minutes 4
"""

import argparse
import random

import torch

from pocket.feed import ComposedPictures, Feed, LatentFeed, Ring
from pocket.flow import WINDOWS, Denoiser, guided_velocity, integrate, mix, pseudo_huber, window_start
from pocket.quantise import rounded_state
from pocket.runtime import Devices, Optimiser, Schedule, load, load_weights, process_rank, save
from train_teacher import load_vae

TEACHER_STEPS = 4  # Euler steps within a window
OWN_STARTS = 0.5  # share of batches that start where the student itself arrives
AT_WINDOW_START = 0.7  # share of samples trained exactly where four-step sampling calls the model


class PairMaker:
    """Makes (start, end, window, ids) from latents with the teacher, and from noise with teacher and student."""

    def __init__(self, teacher, student, empty, guidance, devices):
        self.teacher, self.student, self.empty, self.guidance, self.devices = teacher, student, empty, guidance, devices

    @torch.no_grad()
    def make(self, pictures, ids, window, own):
        """`own` starts where the student arrives from noise; otherwise the start is a noised picture."""
        begin, end = window_start(window), window_start(window + 1)
        start = torch.randn_like(pictures)
        with self.devices.autocast():
            if own:
                start = integrate(lambda x, t: self.student(x, t, ids).float(), start, 1.0, begin, window)
            else:
                start = mix(pictures, start, torch.full((len(pictures),), begin, device=start.device))
            finish = integrate(lambda x, t: guided_velocity(self.teacher, x, t, ids, self.empty, self.guidance), start, begin, end, TEACHER_STEPS)
        windows = torch.full((len(start),), window, device=start.device, dtype=torch.int16)
        return start.half(), finish.half(), windows, ids.short()


def training_points(pairs, device):
    """(x, t, ids, target velocity) on the straight line of each pair."""
    start, finish, windows, ids = pairs
    start, finish = start.float(), finish.float()
    along = torch.rand(len(start), device=device) * (torch.rand(len(start), device=device) > AT_WINDOW_START)
    x = torch.lerp(start, finish, along.view(-1, 1, 1, 1))
    t = 1 - (windows.float() + along) / WINDOWS
    return x.contiguous(memory_format=torch.channels_last), t, ids.long(), (start - finish) * WINDOWS


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--vae", required=True)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--student", help="student weights to go on from; the teacher's by default")
    parser.add_argument("--out", required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps-per-pairs", type=int, default=3, help="training steps for each batch of new pairs")
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--ring", type=int, default=100000)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--quantised-share", type=float, default=0.35, help="share of the time, at the end, with quantised weights")
    parser.add_argument("--seed", type=int, default=301)
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
    build = lambda path: load_weights(Denoiser(), load(path)).to(devices.device, memory_format=torch.channels_last)
    teacher, student = build(options.teacher).eval().requires_grad_(False), build(options.student or options.teacher)
    optimiser = Optimiser(student, devices)
    predict = devices.compile(student)
    maker = PairMaker(devices.compile(teacher), predict, empty, options.guidance, devices)
    latents = LatentFeed(feed, vae, devices, options.ring, options.batch * 4)
    ring = Ring(options.ring, maker.make(*latents.sample(options.batch), window=1, own=True), devices.device)

    def add_pairs():
        window = rng.randrange(WINDOWS)
        ring.add(maker.make(*latents.sample(options.batch), window, own=rng.random() < OWN_STARTS))

    def forward_backward():
        x, t, ids, target = training_points(ring.sample(options.batch), devices.device)
        optimiser.zero()
        with devices.autocast():
            velocity = predict(x, t, ids)
        loss = pseudo_huber(velocity.float() - target)
        loss.backward()
        return loss.detach()

    rng = random.Random(0)  # the same windows on every process, so that none waits for another
    add_pairs()
    devices.first_alone(forward_backward)
    devices.log("ready")
    schedule, total = Schedule(devices, options.minutes), 0.0
    while schedule.advance():
        if optimiser.transform is None and schedule.fraction > 1 - options.quantised_share:
            optimiser.transform = rounded_state
            devices.log(f"step {schedule.step}: weights quantised from here on")
        if schedule.step % options.steps_per_pairs == 0:
            latents.absorb()
            add_pairs()
        total += forward_backward()
        optimiser.step(schedule.cosine(options.rate, warmup_steps=100))
        if schedule.step % 200 == 0:
            devices.log(f"step {schedule.step} {schedule.fraction:.2f} loss {total.item() / 200:.4f} pairs {ring.seen}")
            total = 0.0
    devices.log(f"{schedule.step} steps of {options.batch * devices.world}, {ring.seen * devices.world} pairs")
    if devices.rank == 0:
        save(optimiser.average_state(), options.out)
    devices.close()


if __name__ == "__main__":
    main()
