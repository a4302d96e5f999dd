"""More of a style where a caption names one, without a teacher: the shipped student learns from itself.

Where its own four steps take it from noise, its velocity v(c) becomes v(c) + s (v(c) - v(c without the style's words)) for captions
that name a style, and stays v(c) for as many others. The weights are rounded from the first step on.

usage: torchrun --nproc-per-node N distill_style.py --pack pack --tokenizer TOKENIZER --student shipped/student.pt --out runs/student.pt --minutes 3
"""

import argparse

import torch

from pocket.feed import ComposedPictures, Feed, Ring
from pocket.flow import LATENT_SIZE, WINDOWS, Denoiser, pseudo_huber
from pocket.models.unet import UNET_CONFIG
from pocket.rehearsal import size
from pocket.runtime import Devices, Optimiser, Schedule, load, load_weights, process_rank, save

LOG_EVERY = size(100, 1)


class Captions:
    """Token ids of captions that name a style, with those without its words, and of captions that name none."""

    def __init__(self, feed, like, capacity, device):
        self.feed = feed
        self.styled, self.others = Ring(capacity, [like, like], device), Ring(capacity, [like, like], device)

    def absorb(self, minimum=0):
        """Takes what has arrived, and waits until there are `minimum` of each kind."""
        while self.feed.waiting() or min(self.styled.filled, self.others.filled) < minimum:
            tokens = self.feed.next()[1]
            names_style = (tokens[:, 0] != tokens[:, 1]).any(1)
            for ring, some in ((self.styled, tokens[names_style]), (self.others, tokens[~names_style])):
                if len(some):
                    ring.add(some.unbind(1))

    def sample(self, count):
        """(ids, ids without a style's words): the first half of them name one."""
        parts = zip(self.styled.sample(count // 2), self.others.sample(count - count // 2))
        return [torch.cat(pair).long() for pair in parts]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--student", required=True, help="the weights to learn from and to go on from")
    parser.add_argument("--out", required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--strength", type=float, default=0.6, help="s: 0.5 spoils no drawing, 1 hardens them")
    parser.add_argument("--batch", type=int, default=size(128, 2))
    parser.add_argument("--captions", type=int, default=size(20000, 64), help="kept of each kind")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--warmup", type=int, default=50, help="steps in which the rate rises")
    parser.add_argument("--ema", type=float, default=0.99)
    parser.add_argument("--seed", type=int, default=501)
    options = parser.parse_args()

    seed = options.seed + process_rank()
    dataset = ComposedPictures(options.pack, options.tokenizer, seed)
    feed = Feed(dataset, options.workers)
    devices = Devices()
    torch.manual_seed(seed)
    start = load(options.student)
    frozen = devices.place(load_weights(Denoiser(), start)).eval().requires_grad_(False)
    student = devices.place(load_weights(Denoiser(), start))
    optimiser = Optimiser(student, devices, max_decay=options.ema)
    optimiser.quantised = True
    optimiser.publish()

    styled = options.batch // 2
    x = torch.zeros((options.batch, UNET_CONFIG["in_channels"], LATENT_SIZE, LATENT_SIZE), device=devices.device)
    t = torch.ones(options.batch, device=devices.device)
    ids, unstyled = torch.zeros((2, options.batch, len(dataset.tokenizer.encode(""))), dtype=torch.long, device=devices.device)

    def forward_backward():
        """The gradient at a window's start, and the step to the next."""
        with torch.no_grad():
            target = frozen(x, t, ids)
            target[:styled] += options.strength * (target[:styled] - frozen(x[:styled], t[:styled], unstyled[:styled]))
        velocity = student(x, t, ids)
        losses = [pseudo_huber(velocity[part] - target[part]) for part in (slice(styled), slice(styled, None))]
        optimiser.backward(sum(losses) / 2)
        x.sub_(velocity.detach(), alpha=1 / WINDOWS)
        t.sub_(1 / WINDOWS)
        return torch.stack(losses).detach()

    forward_backward = devices.record(forward_backward)
    captions = Captions(feed.start(devices.device), ids[0].short(), options.captions, devices.device)
    captions.absorb(minimum=options.batch)
    devices.log("ready")
    schedule, total = Schedule(devices, options.minutes), 0.0
    while schedule.advance():
        if schedule.step % WINDOWS == 1:
            captions.absorb()
            for store, fresh in zip((ids, unstyled), captions.sample(options.batch)):
                store.copy_(fresh)
            x.normal_()
            t.fill_(1.0)
        total = total + forward_backward()
        optimiser.step(schedule.trapezoid(options.rate, warmup_steps=options.warmup, decay_share=0.6))
        if schedule.step % LOG_EVERY == 0:
            named, others = (total / LOG_EVERY).tolist()
            devices.log(f"step {schedule.step} {schedule.fraction:.2f} loss {named:.4f} of captions with a style, {others:.4f} of others")
            total = 0.0
    devices.log(f"{schedule.step} steps of {options.batch * devices.world}")
    if devices.rank == 0:
        save(optimiser.average_state(), options.out)
    devices.close()


if __name__ == "__main__":
    main()
