"""The judge: a ResNet-18 at 128 pixels trained on composed pictures only, hold-outs included.

It names concepts (in the whole picture, or in its left, right, upper and lower half), style, colour,
scene, material, filter and count.

usage: train_judge.py --pack pack --tokenizer TOKENIZER --out runs/judge.pt --minutes 4
"""

import argparse
import os

import torch

from pocket.compose.labels import COLUMNS
from pocket.compose.scenes import SIZE
from pocket.feed import ComposedPictures, Feed, Ring, to_model_range
from pocket.judge import Judge, judge_loss
from pocket.rehearsal import size
from pocket.runtime import Devices, Optimiser, Schedule, load, load_weights, save


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--batch", type=int, default=size(256, 2))
    parser.add_argument("--workers", type=int, default=20)
    parser.add_argument("--ring", type=int, default=size(120000, 64))
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--decay-share", type=float, default=0.6, help="share of the time, at the end, in which the rate falls")
    parser.add_argument("--seed", type=int, default=701)
    parser.add_argument("--resume", help="weights to start from, if they are there")
    options = parser.parse_args()

    dataset = ComposedPictures(options.pack, options.tokenizer, options.seed, train=False)
    feed = Feed(dataset, options.workers)
    devices = Devices()
    torch.manual_seed(options.seed)
    judge = Judge(len(dataset.pack.concepts))
    if options.resume and os.path.exists(options.resume):
        load_weights(judge, load(options.resume)["weights"])
        devices.log("goes on from", options.resume)
    judge = devices.place(judge)
    optimiser = Optimiser(judge, devices, max_decay=0.998)
    ring = Ring(options.ring, [torch.zeros((SIZE, SIZE, 3), dtype=torch.uint8), torch.zeros(len(COLUMNS), dtype=torch.int16)], devices.device)

    def forward_backward():
        pictures, labels = ring.sample(options.batch)
        loss, accuracy = judge_loss(judge(to_model_range(pictures)), labels.long())
        optimiser.backward(loss)
        return loss.detach(), accuracy

    forward_backward = devices.record(forward_backward)
    feed.start(devices.device)
    while ring.filled < options.batch * 8:
        pictures, _, labels = feed.next()
        ring.add([pictures, labels])
    schedule = Schedule(devices, options.minutes)
    while schedule.advance():
        for pictures, _, labels in feed.ready():
            ring.add([pictures, labels])
        loss, accuracy = forward_backward()
        optimiser.step(schedule.trapezoid(options.rate, decay_share=options.decay_share))
        if schedule.step % 500 == 1:
            devices.log(f"step {schedule.step} {schedule.fraction:.2f} loss {loss.item():.3f} concept {accuracy.item():.3f} composed {ring.seen}")
    devices.log(f"{schedule.step} steps of {options.batch}")
    save({"concepts": len(dataset.pack.concepts), "weights": optimiser.average_state()}, options.out)


if __name__ == "__main__":
    main()
