"""How well a style can be told at all from a drawing of something never seen, and how often drawings from prompts have theirs. Needs no GPU.

A small network learns the styles of the sprites of four fifths of the concepts, and names those of the others: no model can be
expected to do better on a thing it never saw in a style. The concepts of the style prompts are among the others. Then it names the
styles of pictures drawn from those prompts, with `v(caption) + s (v(caption) - v(caption without style))` for each s. Networks of
other seeds name some of 48 pictures otherwise, so there are several, and what is printed are their means.

usage: style_check.py --pack pack --tokenizer TOKENIZER --prompts prompts.json --denoiser shipped/student.pt --vae shipped/vae.pt --out runs
       [--strengths 0 0.5 1] [--steps 2100] [--networks 5]; several weights after --denoiser are compared under the same networks
"""

import argparse
import json
import os
import random

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from pocket.compose.drawing import fit, paste, white_canvas
from pocket.compose.grammar import STYLE_WORDS
from pocket.compose.pack import Pack
from pocket.compose.scenes import SIZE
from pocket.feed import to_model_range
from pocket.flow import fixed_noise, integrate
from pocket.generate import Generator

STYLES = list(STYLE_WORDS)
PIXELS, CROP = 56, 48
OTHERS = 0.2  # share of the concepts that the network never sees, besides those of the prompts


class StyleNet(nn.Module):
    def __init__(self, widths=(32, 64, 128)):
        super().__init__()
        layers, channels = [], 3
        for width in widths:
            for stride in (2, 1):
                layers += [nn.Conv2d(channels, width, 5 if channels == 3 else 3, stride, 2 if channels == 3 else 1), nn.GroupNorm(8, width), nn.ReLU()]
                channels = width
        self.features, self.out = nn.Sequential(*layers), nn.Linear(2 * channels, len(STYLES))

    def forward(self, x):
        x = self.features(x)
        return self.out(F.dropout(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1), 0.3, self.training))


def shrink(pictures):
    return F.interpolate(to_model_range(pictures), size=(PIXELS, PIXELS), mode="area")


def drawings(pack):
    """(pictures as the network sees them, style numbers, concepts) of all sprites of the common skin tone."""
    pictures, styles, concepts = [], [], []
    for index, sprite in enumerate(pack.sprites):
        if "tone" not in sprite:
            canvas = white_canvas()
            paste(canvas, fit(pack.image(index), 216), SIZE / 2, SIZE / 2)
            pictures.append(shrink(torch.from_numpy(np.array(canvas))[None]))
            styles.append(STYLES.index(sprite["style"]))
            concepts.append(sprite["concept"])
    return torch.cat(pictures), torch.tensor(styles), concepts


def varied(x):
    """Cropped, mirrored, and softened as an autoencoder softens."""
    top, left = np.random.randint(0, PIXELS - CROP + 1, 2)
    x = x[:, :, top: top + CROP, left: left + CROP]
    if random.random() < 0.5:
        x = x.flip(3)
    return torch.lerp(x, F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1), 0.6) if random.random() < 0.5 else x


def train(pictures, styles, steps, per_style=16):
    net = StyleNet()
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, steps)
    of_style = [(styles == i).nonzero()[:, 0] for i in range(len(STYLES))]
    for _ in range(steps):
        index = torch.cat([members[torch.randint(len(members), (per_style,))] for members in of_style])
        loss = F.cross_entropy(net(varied(pictures[index])), styles[index], label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return net.eval()


@torch.no_grad()
def named(nets, pictures):
    """Style numbers [networks, pictures]."""
    margin = (PIXELS - CROP) // 2
    middle = pictures[:, :, margin: margin + CROP, margin: margin + CROP]
    return torch.stack([torch.cat([net(part) for part in middle.split(256)]).argmax(1) for net in nets])


def report(title, names, truth):
    for i, style in enumerate(STYLES):
        seen = names[:, truth == i]
        if seen.numel():
            counts = ", ".join(f"{STYLES[j]} {(seen == j).sum() / len(seen):.1f}" for j in range(len(STYLES)))
            print(f"{title}: {style} is named {(seen == i).float().mean() * 100:.0f} % of {seen.shape[1]} ({counts})", flush=True)


@torch.no_grad()
def draw(generator, captions, unstyled, strength, batch=16):
    """Four steps with the words of the style weighed more by `strength`."""
    encode = lambda texts: torch.tensor(generator.tokenizer.encode_all(texts)).long()
    ids, plain_ids, pictures = encode(captions), encode(unstyled), []
    for start in range(0, len(ids), batch):
        some, plain = ids[start: start + batch], plain_ids[start: start + batch]

        def velocity(x, t):
            with_style, without = generator.model(torch.cat([x, x]), torch.cat([t, t]), torch.cat([some, plain])).chunk(2)
            return with_style + strength * (with_style - without)

        latents = integrate(velocity, fixed_noise(range(start, start + len(some)), generator.channels), 1.0, 0.0, 4)
        pictures.append(((generator.vae.decode(latents).clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1))
    return torch.cat(pictures)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", default="pack")
    parser.add_argument("--tokenizer", default="../model/tokenizer/tokenizer.json")
    parser.add_argument("--prompts", default="prompts.json")
    parser.add_argument("--denoiser", required=True, nargs="+")
    parser.add_argument("--vae", required=True)
    parser.add_argument("--out", default="runs")
    parser.add_argument("--strengths", type=float, nargs="*", default=[0.0, 0.5, 1.0])
    parser.add_argument("--steps", type=int, default=2100)
    parser.add_argument("--networks", type=int, default=5)
    options = parser.parse_args()
    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(0)
    os.makedirs(options.out, exist_ok=True)
    with open(options.prompts) as file:
        items = [item for item in json.load(file) if item["family"] == "style"]
    pack = Pack(options.pack)
    asked = {concept for item in items for concept in item["accepted"][0]}
    kept_apart = asked | {concept for concept in pack.ids if random.random() < OTHERS}
    pictures, styles, concepts = drawings(pack)
    apart = torch.tensor([concept in kept_apart for concept in concepts])
    nets = [train(pictures[~apart], styles[~apart], options.steps) for _ in range(options.networks)]
    report("drawings never seen", named(nets, pictures[apart]), styles[apart])

    # what the prompts ask for, as drawn by the artists
    truth = torch.tensor([STYLES.index(item["style"]) for item in items])
    originals = [next(i for i, c in enumerate(concepts) if c in item["accepted"][0] and styles[i] == style) for item, style in zip(items, truth)]
    report("drawings that the prompts ask for", named(nets, pictures[originals]), truth)
    captions = [item["prompt"] for item in items]
    unstyled = [item["prompt"].removesuffix(f", {STYLE_WORDS[item['style']][0]} style") for item in items]
    columns = []
    for path in options.denoiser:
        generator = Generator(path, options.vae, options.tokenizer, torch.device("cpu"))
        for strength in options.strengths:
            columns.append(draw(generator, captions, unstyled, strength))
            report(f"drawn by {path}, strength {strength:g}", named(nets, shrink(columns[-1])), truth)
    if columns:
        rows = torch.cat(columns, 2).flatten(0, 1)
        Image.fromarray(rows.numpy()).resize((rows.shape[1] // 2, rows.shape[0] // 2)).save(os.path.join(options.out, "style-check.webp"), quality=85)


if __name__ == "__main__":
    main()
