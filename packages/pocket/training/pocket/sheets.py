"""Contact sheets: many prompts at fixed seeds, teacher beside student, generated beside nearest training picture."""

import json
import os

import torch
from PIL import Image, ImageDraw

from .feed import ComposedPictures, Feed, to_model_range
from .flow import fixed_noise, sample
from .rehearsal import size
from .runtime import wait_for
from .scoring import load_judge

SHOWCASE = [
    "a red panda wearing a crown", "a fox", "a blue cat and a red dog in the snow", "an astronaut riding a horse", "a cute penguin with a hat",
    "a robot riding a rocket", "a rocket in space", "a castle at sunset", "a cup of coffee on a wooden table", "a slice of pizza",
    "a golden dragon", "a pink elephant", "an octopus holding a birthday cake", "a unicorn under a rainbow", "a teddy bear on a yellow background",
    "pixel art of a dinosaur", "watercolor painting of a butterfly", "neon sign of a guitar", "a bear made of chocolate", "a ghost in the forest",
    "two cats on a table", "three green apples", "a purple car in the city", "a sailboat by the sea", "a cactus in the desert", "a wizard",
    "an alien wearing headphones", "a happy face wearing sunglasses", "a strawberry on the left and a banana on the right", "a frog on top of a turtle",
    "an owl at night", "a whale underwater", "a tiger, flat style", "a camera, cartoon style", "a donut, retro style", "a sticker of a koala",
    "a burger and fries", "a lion holding a trophy", "a green heart", "a snowman in the snow", "a blue rose", "a pirate ship", "a lighthouse",
    "a monkey riding a bicycle", "an ice sculpture of a swan", "a silver key on a purple background", "many stars at night", "a scientist",
]


@torch.no_grad()
def preview(model, vae, tokenizer, path, steps, guidance=1.0, count=size(32, 2)):
    """A small sheet of a model in training, eight pictures a row at half size, in SHOWCASE's order."""
    device = vae.quant_conv.weight.device
    ids = torch.tensor(tokenizer.encode_all(SHOWCASE[:count]), device=device).long()
    empty = torch.tensor(tokenizer.encode(""), device=device)
    latents = sample(model, fixed_noise(range(count), vae.config["latent_channels"]).to(device), ids, steps, empty, guidance)
    pictures = torch.cat([vae.decode(part.to(vae.quant_conv.weight.dtype)).float() for part in latents.split(16)])
    pictures = torch.nn.functional.avg_pool2d(pictures, 2).clamp(-1, 1)
    rows = [torch.cat(list(row), 2) for row in pictures.split(8)]
    grid = ((torch.cat(rows, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu()
    Image.fromarray(grid.numpy()).save(path, quality=88)


def _label(page, x, y, text, width):
    draw = ImageDraw.Draw(page)
    per_line = width // 6
    for i in range(2):
        draw.text((x + 2, y + 11 * i), text[i * per_line: (i + 1) * per_line], fill=(40, 40, 40))


def _grid(cells, captions, columns, size):
    """Cells are uint8 pictures [h, w, 3]; a caption goes under each."""
    rows, height = -(-len(cells) // columns), size + 26
    width = size * cells[0].shape[1] // cells[0].shape[0]
    page = Image.new("RGB", (columns * (width + 4), rows * height), "white")
    for i, (cell, caption) in enumerate(zip(cells, captions)):
        x, y = i % columns * (width + 4), i // columns * height
        page.paste(Image.fromarray(cell.numpy()).resize((width, size), Image.LANCZOS), (x, y))
        _label(page, x, y + size + 1, caption, width)
    return page


@torch.no_grad()
def _nearest(judge, generated, pool, device):
    """For each generated picture the closest of the pool, by the judge's pooled features."""
    pooled = lambda pictures: torch.cat([
        torch.nn.functional.normalize(judge.features(to_model_range(part.to(device))).mean((2, 3)).float(), dim=1) for part in pictures.split(256)])
    return (pooled(generated) @ pooled(pool).T).argmax(1).cpu()


def _training_pool(options):
    dataset = ComposedPictures(options.pack, options.tokenizer, seed=101)
    feed, parts = Feed(dataset, options.workers).start(torch.device("cpu")), []
    while sum(len(part) for part in parts) < options.pool:
        parts.append(feed.next()[0].clone())
    return torch.cat(parts)


def write_sheets(options, device, build):
    """`build` returns functions of (prompts, seeds) by variant's name; it is called once the training pictures are there."""
    pool = _training_pool(options)
    draw = build()
    with open(options.prompts) as file:
        items = json.load(file)
    held_out = [item["prompt"] for item in items if item["family"] != "plain"]
    spread = [held_out[int(i * len(held_out) / 96)] for i in range(96)]
    save = lambda page, name: page.save(os.path.join(options.out, name), quality=82, method=6)

    prompts = (SHOWCASE + spread)[:: options.every]
    save(_grid(list(draw["shipped"](prompts, [1000 + i for i in range(len(prompts))])), prompts, 12, 144), "contact-sheet.webp")

    prompts = (SHOWCASE[:24] + spread[::8])[:: options.every]
    seeds = [2000 + i for i in range(len(prompts))]
    columns = [draw[name](prompts, seeds) for name in ("teacher", "student", "shipped")]
    save(_grid(list(torch.cat(columns, 2)), prompts, 4, 160), "teacher-student.webp")

    prompts = spread[::4][:: options.every]
    generated = draw["shipped"](prompts, [3000 + i for i in range(len(prompts))])
    judge = load_judge(wait_for(os.path.join(options.runs, "judge.pt")), device)
    nearest = pool[_nearest(judge, generated, pool, device)]
    save(_grid(list(torch.cat([generated, nearest], 2)), prompts, 6, 150), "nearest-training.webp")
