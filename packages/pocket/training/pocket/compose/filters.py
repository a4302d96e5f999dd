"""Nine procedural drawing styles applied to an RGBA canvas."""

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from .palette import COLOURS, HUED, colour_rgb, hsv_to_rgb, rgb_to_hsv

FILTER_PHRASES = {
    "pixel art": ["pixel art of {}", "{}, pixel art", "pixel art {n}", "8-bit {n}"],
    "pencil sketch": ["pencil sketch of {}", "{}, pencil sketch", "a sketch of {}", "a drawing of {}"],
    "line art": ["line art of {}", "{}, line art", "coloring page of {}"],
    "neon": ["neon sign of {}", "neon {n}", "{}, neon", "glowing neon {n}"],
    "sticker": ["sticker of {}", "{}, sticker", "a {n} sticker"],
    "silhouette": ["silhouette of {}", "{} silhouette", "the silhouette of {}"],
    "mosaic": ["mosaic of {}", "{}, stained glass", "stained glass {n}", "{}, mosaic"],
    "black and white": ["black and white picture of {}", "{}, black and white", "grayscale {n}"],
    "watercolor": ["watercolor painting of {}", "watercolor {n}", "{}, watercolor", "a painting of {}"],
}
FILTERS = list(FILTER_PHRASES)
# Pixels that one latent stands for: pixel art has a cell for each. Finer cells decode with round corners, and where several sizes may
# be meant the first step has to settle on one.
LATENT_CELL = 8
COLOURLESS = {"line art", "silhouette", "black and white", "pencil sketch"}


def apply_filter(kind, canvas, rng):
    """An RGB picture of the canvas (RGBA, square) in the named style."""
    white = Image.new("RGB", canvas.size, (255, 255, 255))
    flat = white.copy()
    flat.paste(canvas, (0, 0), canvas)
    return _FILTERS[kind](canvas, flat, rng)


def _floats(image):
    return np.asarray(image, np.float32)


def _blur(image, radius):
    return image.filter(ImageFilter.GaussianBlur(radius))


def _grey_image(values, low=0, high=255):
    return Image.merge("RGB", [Image.fromarray(np.clip(values, low, high).astype(np.uint8))] * 3)


def _pixel_art(canvas, flat, rng):
    cells = canvas.width // LATENT_CELL
    base = flat
    if rng.random() < 0.3:
        base = Image.new("RGB", canvas.size, colour_rgb(rng.choice(list(COLOURS)), rng, 0.1))
        base.paste(canvas, (0, 0), canvas)
    small = base.resize((cells, cells), Image.BOX).quantize(20, dither=0).convert("RGB")
    return small.resize(canvas.size, Image.NEAREST)


def _edges(canvas, flat):
    """Inner edges from a difference of blurs, outer ones from the outline; also the grey picture and the coverage."""
    grey, alpha = flat.convert("L"), canvas.split()[3]
    inner = np.abs(_floats(_blur(grey, 0.8)) - _floats(_blur(grey, 2.6))) * 9
    coverage = _floats(_blur(alpha, 1.5))
    outer = np.abs(coverage - _floats(_blur(alpha, 4))) * 2.2
    return np.maximum(inner, outer), grey, coverage


def _line_art(canvas, flat, rng):
    edges, _, _ = _edges(canvas, flat)
    return _grey_image(255 - np.clip((edges - 34) * 6, 0, 255), 10, 252)


def _pencil_sketch(canvas, flat, rng):
    edges, grey, coverage = _edges(canvas, flat)
    y, x = np.mgrid[0: canvas.height, 0: canvas.width]
    hatch = (x + y + 3 * np.sin(y / 9)) % 6 < 2.2
    tone = np.clip((235 - _floats(grey)) / 235, 0, 1) * (coverage > 60)
    return _grey_image(250 - np.clip(edges * 0.9, 0, 190) - 75 * hatch * np.clip(tone * 1.5, 0, 1) - 40 * tone, 10, 252)


def _neon(canvas, flat, rng):
    grey, alpha = flat.convert("L"), canvas.split()[3]
    inner = np.abs(_floats(_blur(grey, 1)) - _floats(_blur(grey, 3)))
    outer = np.abs(_floats(_blur(alpha, 1)) - _floats(_blur(alpha, 3.5)))
    mask = Image.fromarray(np.clip((np.maximum(inner * 6, outer * 3) - 26) * 4, 0, 255).astype(np.uint8))
    h, s, v = rgb_to_hsv(_floats(flat) / 255)
    vivid = Image.fromarray((hsv_to_rgb(h, np.clip(s * 1.6 + 0.25, 0, 1), np.ones_like(v)) * 255).astype(np.uint8))
    tubes = Image.composite(vivid.filter(ImageFilter.MedianFilter(5)), Image.new("RGB", canvas.size), mask)
    glow = ImageChops.add(_blur(tubes, 6), _blur(tubes, 2.5))
    return ImageChops.add(ImageChops.add(Image.new("RGB", canvas.size, (12, 8, 26)), glow), tubes)


def _sticker(canvas, flat, rng):
    alpha = canvas.split()[3]
    border = _blur(alpha.filter(ImageFilter.MaxFilter(9)).filter(ImageFilter.MaxFilter(7)), 1)
    out = Image.new("RGB", canvas.size, colour_rgb(rng.choice(HUED), rng, 0.1))
    shadow = _blur(ImageChops.offset(border, 3, 5), 4).point(lambda value: value * 0.45)
    out.paste((0, 0, 0), (0, 0), shadow)
    out.paste((255, 255, 255), (0, 0), border)
    out.paste(canvas, (0, 0), canvas)
    return out


def _silhouette(canvas, flat, rng):
    out = Image.new("RGB", canvas.size, colour_rgb(rng.choice(["white", "white", "orange", "yellow", "pink", "blue", "teal"]), rng, 0.05))
    out.paste((18, 18, 24), (0, 0), canvas.split()[3])
    return out


def _nearest_cells(size, cells, random_state):
    """Voronoi cells of a jittered grid: each pixel's cell and how far it is from the border."""
    step = size / cells
    jitter = random_state.uniform(-0.42, 0.42, (2, cells, cells))
    centre_x = (np.arange(cells)[None, :] + 0.5 + jitter[0]) * step
    centre_y = (np.arange(cells)[:, None] + 0.5 + jitter[1]) * step
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    row, column = (y / step).astype(int), (x / step).astype(int)
    first = np.full((size, size), 1e9, np.float32)
    second, cell = first.copy(), np.full((size, size), -1)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            r, c = np.clip(row + dy, 0, cells - 1), np.clip(column + dx, 0, cells - 1)
            distance = (y - centre_y[r, c]) ** 2 + (x - centre_x[r, c]) ** 2
            closer, same = distance < first, (r * cells + c) == cell
            second = np.where(closer & ~same, first, np.where((distance < second) & ~same, distance, second))
            cell = np.where(closer, r * cells + c, cell)
            first = np.where(closer, distance, first)
    return cell, np.sqrt(second) - np.sqrt(first)


def _mosaic(canvas, flat, rng):
    cells = rng.choice([13, 16, 19])
    cell, border = _nearest_cells(canvas.width, cells, np.random.RandomState(rng.randrange(1 << 30)))
    pixels = _floats(flat).reshape(-1, 3)
    size = np.maximum(np.bincount(cell.ravel(), minlength=cells * cells), 1)
    mean = np.stack([np.bincount(cell.ravel(), pixels[:, c], cells * cells) / size for c in range(3)], -1)
    out = mean[cell]
    lead = np.clip(1.6 - border, 0, 1)[..., None] * np.where(out.min(-1, keepdims=True) > 240, 0.25, 0.8)
    return Image.fromarray((out * (1 - lead) + 45 * lead).astype(np.uint8))


def _black_and_white(canvas, flat, rng):
    return Image.merge("RGB", [flat.convert("L")] * 3)


def _watercolor(canvas, flat, rng):
    size = canvas.width
    random_state = np.random.RandomState(rng.randrange(1 << 30))

    def noise(cells):
        small = Image.fromarray((random_state.rand(cells, cells) * 255).astype(np.uint8))
        return _floats(small.resize((size, size), Image.BICUBIC)) / 255 - 0.5

    y, x = np.mgrid[0:size, 0:size]
    wobble_x, wobble_y = noise(24) * 13, noise(24) * 13
    at = np.clip(y + wobble_y, 0, size - 1).astype(int), np.clip(x + wobble_x, 0, size - 1).astype(int)
    paint = _floats(_blur(flat.filter(ImageFilter.ModeFilter(5)), 1.2))[at]
    alpha = _floats(_blur(canvas.split()[3], 1.5))[at] / 255
    soft = _floats(_blur(Image.fromarray((alpha * 255).astype(np.uint8)), 5)) / 255
    pooled = 0.45 * np.clip(0.85 - soft, 0, 1) * (alpha > 0.4)
    paint = 255 - (255 - paint) * (0.74 + 0.5 * noise(9) + 0.16 * noise(60) + pooled)[..., None]
    paper = 250 + 6 * noise(128)[..., None]
    cover = np.clip(alpha * 1.1, 0, 1)[..., None]
    return Image.fromarray((paint * cover + paper * (1 - cover)).clip(0, 255).astype(np.uint8))


_FILTERS = {
    "pixel art": _pixel_art, "pencil sketch": _pencil_sketch, "line art": _line_art, "neon": _neon, "sticker": _sticker,
    "silhouette": _silhouette, "mosaic": _mosaic, "black and white": _black_and_white, "watercolor": _watercolor,
}
