"""Phase 3: four steps without guidance, by piecewise rectified flow (Yan et al., 2024, arXiv:2405.07510).

Time is cut into four windows. The guided teacher carries a sample from a window's start to its end
in small Euler steps; the student learns the straight velocity between the two. Some starting
points are noised pictures, most are where the student itself arrives from pure noise, so that it
learns on what it meets when sampling. The last part trains with quantised weights.

usage: torchrun --nproc-per-node N distill.py --pack pack --tokenizer TOKENIZER --vae runs/vae.pt --teacher runs/teacher.pt
       --out runs/student.pt --minutes 4
"""

import argparse
import random

import torch

from pocket.feed import ComposedPictures, Feed, LatentFeed, Ring
from pocket.flow import WINDOWS, Denoiser, mix, pseudo_huber, style_guided_velocity, window_start
from pocket.models.vae import load_vae
from pocket.rehearsal import size
from pocket.runtime import Devices, Optimiser, Schedule, load, load_weights, process_rank, save, wait_for
from pocket.sheets import preview

TEACHER_STEPS = 4  # Euler steps within a window
OWN_STARTS = 0.6  # share of batches that start where the student itself arrives
AT_WINDOW_START = 0.8  # share of samples trained exactly where four-step sampling calls the model


class PairMaker:
    """Makes (start, end, window, ids) from latents with the teacher, and from noise with teacher and student."""

    def __init__(self, teacher, student, empty, guidance, style_guidance, devices, batch, latent_shape):
        self.devices = devices
        self.x = torch.zeros((batch, *latent_shape), device=devices.device)
        self.t = torch.ones(batch, device=devices.device)
        self.ids, self.unstyled = torch.zeros((2, batch, len(empty)), dtype=torch.long, device=devices.device)

        @torch.no_grad()
        def advance(velocity, duration):
            self.x.sub_(velocity(), alpha=duration)
            self.t.sub_(duration)

        by_student = lambda: student(self.x, self.t, self.ids)
        by_teacher = lambda: style_guided_velocity(teacher, self.x, self.t, self.ids, self.unstyled, empty, guidance, style_guidance)
        self.student_step = devices.record(lambda: advance(by_student, 1 / WINDOWS))
        self.teacher_step = devices.record(lambda: advance(by_teacher, 1 / WINDOWS / TEACHER_STEPS))

    @torch.no_grad()
    def make(self, pictures, ids, unstyled, window, own):
        """`own` starts where the student arrives from noise; otherwise the start is a noised picture."""
        begin = window_start(window)
        noise = torch.randn_like(pictures)
        self.ids.copy_(ids)
        self.unstyled.copy_(unstyled)
        self.x.copy_(noise if own else mix(pictures, noise, torch.full((len(pictures),), begin, device=noise.device)))
        if own:
            self.t.fill_(1.0)
            for _ in range(window):
                self.student_step()
        self.t.fill_(begin)
        start = self.x.half()
        for _ in range(TEACHER_STEPS):
            self.teacher_step()
        windows = torch.full((len(start),), window, device=start.device, dtype=torch.int16)
        return start, self.x.half(), windows, ids.short()


def training_points(pairs, device):
    """(x, t, ids, target velocity) on the straight line of each pair."""
    start, finish, windows, ids = pairs
    start, finish = start.float(), finish.float()
    along = torch.rand(len(start), device=device) * (torch.rand(len(start), device=device) > AT_WINDOW_START)
    x = torch.lerp(start, finish, along.view(-1, 1, 1, 1))
    t = 1 - (windows.float() + along) / WINDOWS
    return x, t, ids.long(), (start - finish) * WINDOWS


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--vae", required=True)
    parser.add_argument("--teacher", required=True, help="waited for if it is not there yet")
    parser.add_argument("--student", help="student weights to go on from; the teacher's by default")
    parser.add_argument("--out", required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--batch", type=int, default=size(128, 2))
    parser.add_argument("--steps-per-pairs", type=int, default=3, help="training steps for each batch of new pairs")
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--ring", type=int, default=size(24000, 16), help="pairs kept: the oldest were made with an older student")
    parser.add_argument("--rate", type=float, default=4e-4)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--style-guidance", type=float, default=2.0, help="what is added for the words of a style, in units of their effect")
    parser.add_argument("--quantised-share", type=float, default=0.4, help="share of the time, at the end, with quantised weights")
    parser.add_argument("--seed", type=int, default=301)
    options = parser.parse_args()

    seed = options.seed + process_rank()
    dataset = ComposedPictures(options.pack, options.tokenizer, seed)
    feed = Feed(dataset, options.workers)
    devices = Devices()
    torch.manual_seed(seed)
    empty = torch.tensor(dataset.tokenizer.encode(""), device=devices.device)
    teacher = devices.place(load_weights(Denoiser(), load(wait_for(options.teacher)))).eval().requires_grad_(False)
    student = devices.place(load_weights(Denoiser(), load(options.student or options.teacher)))
    vae = load_vae(options.vae, devices)
    optimiser = Optimiser(student, devices)
    latents = LatentFeed(vae, devices, 8 * options.ring, vae.config["sample_size"], len(empty))
    latent = latents.ring.parts[0][0]
    maker = PairMaker(teacher, student, empty, options.guidance, options.style_guidance, devices, options.batch, latent.shape)
    ring = Ring(options.ring, [latent, latent, torch.zeros((), dtype=torch.int16), maker.ids[0].short()], devices.device)

    def forward_backward():
        x, t, ids, target = training_points(ring.sample(options.batch), devices.device)
        loss = pseudo_huber(student(x, t, ids) - target)
        optimiser.backward(loss)
        return loss.detach()

    def add_pairs():
        window = rng.randrange(WINDOWS)
        ring.add(maker.make(*latents.sample(options.batch), window, own=rng.random() < OWN_STARTS))

    forward_backward = devices.record(forward_backward)
    latents.start(feed.start(devices.device), options.batch * 8)
    rng = random.Random(0)  # the same windows on every process, so that none waits for another
    for _ in range(8):
        add_pairs()
    devices.log("ready")
    schedule, total = Schedule(devices, options.minutes), 0.0
    while schedule.advance():
        if not optimiser.quantised and schedule.fraction > 1 - options.quantised_share:
            optimiser.quantised = True
            devices.log(f"step {schedule.step}: weights quantised from here on")
        if schedule.step % options.steps_per_pairs == 0:
            latents.absorb(4000 + schedule.step / options.steps_per_pairs * options.batch)
            add_pairs()
        total += forward_backward()
        optimiser.step(schedule.trapezoid(options.rate, warmup_steps=100, decay_share=0.6))
        if schedule.step % 500 == 0:
            devices.log(f"step {schedule.step} {schedule.fraction:.2f} loss {total.item() / 500:.4f} pairs {ring.seen}")
            total = 0.0
    devices.log(f"{schedule.step} steps of {options.batch * devices.world}, {ring.seen * devices.world} pairs")
    if devices.rank == 0:
        save(optimiser.average_state(), options.out)
        optimiser.publish(optimiser.ema)
        preview(student, vae, dataset.tokenizer, options.out.replace(".pt", ".jpg"), steps=WINDOWS)
    devices.close()


if __name__ == "__main__":
    main()
