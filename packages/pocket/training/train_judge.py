"""The judge: a ResNet-18 at 128 pixels trained on composed pictures only, hold-outs included.

It names concepts (in the whole picture, or in its left, right, upper and lower half), style, colour,
scene, material, filter and count.

usage: train_judge.py --pack pack --tokenizer TOKENIZER --out runs/judge.pt --minutes 4
"""

import argparse

import torch

from pocket.feed import ComposedPictures, Feed, Ring, to_model_range
from pocket.judge import Judge, judge_loss
from pocket.runtime import Devices, Optimiser, Schedule, save


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--workers", type=int, default=20)
    parser.add_argument("--ring", type=int, default=120000)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=701)
    options = parser.parse_args()

    dataset = ComposedPictures(options.pack, options.tokenizer, options.seed, train=False)
    feed = Feed(dataset, options.workers)
    devices = Devices()
    feed.start(devices.device)
    torch.manual_seed(options.seed)
    judge = Judge(len(dataset.pack.concepts)).to(devices.device, memory_format=torch.channels_last)
    optimiser = Optimiser(judge, devices, max_decay=0.998)
    pictures, _, labels = feed.next()
    ring = Ring(options.ring, [pictures, labels], devices.device)
    while ring.filled < options.batch * 8:
        pictures, _, labels = feed.next()
        ring.add([pictures, labels])
    schedule = Schedule(devices, options.minutes)
    while schedule.advance():
        for pictures, _, labels in feed.ready():
            ring.add([pictures, labels])
        pictures, labels = ring.sample(options.batch)
        optimiser.zero()
        with devices.autocast():
            outputs = judge(to_model_range(pictures))
        loss, accuracy = judge_loss(outputs, labels.long())
        loss.backward()
        optimiser.step(schedule.cosine(options.rate))
        if schedule.step % 200 == 1:
            devices.log(f"step {schedule.step} {schedule.fraction:.2f} loss {loss.item():.3f} concept {accuracy.item():.3f} composed {ring.seen}")
    devices.log(f"{schedule.step} steps of {options.batch}")
    optimiser.publish(optimiser.ema)
    judge.eval()
    save({"concepts": len(dataset.pack.concepts), "weights": {k: v.half().cpu() if v.is_floating_point() else v.cpu() for k, v in judge.state_dict().items()}}, options.out)


if __name__ == "__main__":
    main()
