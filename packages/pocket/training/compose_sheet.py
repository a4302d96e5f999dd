"""Looks at the data: a contact sheet, a caption corpus, or a speed test.

usage: compose_sheet.py PACK sheet OUT.png [--family F] [--count N] | captions OUT.txt [--count N] | bench
"""

import argparse
import time

from PIL import Image, ImageDraw

from pocket.compose.composer import Composer
from pocket.compose.pack import Pack


def sheet(composer, out, count, family, columns=8, cell=176):
    rows = -(-count // columns)
    page = Image.new("RGB", (columns * cell, rows * (cell + 26)), "white")
    draw = ImageDraw.Draw(page)
    for i in range(count):
        image, caption, *_ = composer.sample(family)
        x, y = i % columns * cell, i // columns * (cell + 26)
        page.paste(image.resize((cell - 6, cell - 6), Image.LANCZOS), (x, y))
        for line in range(2):
            draw.text((x, y + cell - 6 + 11 * line), caption[line * 28: line * 28 + 28], fill="black")
    page.save(out)


def bench(composer, count=600):
    for _ in range(100):
        composer.sample()
    start = time.time()
    for _ in range(count):
        composer.sample()
    print(f"{count / (time.time() - start):.0f} pictures/s on one core")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pack")
    parser.add_argument("command", choices=["sheet", "captions", "bench"])
    parser.add_argument("out", nargs="?")
    parser.add_argument("--family")
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    composer = Composer(Pack(options.pack), options.seed)
    if options.command == "sheet":
        sheet(composer, options.out, options.count, options.family)
    elif options.command == "captions":
        with open(options.out, "w") as file:
            file.writelines(composer.sample()[1] + "\n" for _ in range(options.count))
    else:
        bench(composer)


if __name__ == "__main__":
    main()
