"""Colour names and the two ways a sprite changes colour: a new hue, or a new material."""

import numpy as np
from PIL import Image

# name: (hue in degrees, saturation, value)
COLOURS = {
    "red": (0, 0.86, 0.90), "orange": (27, 0.92, 1.0), "yellow": (49, 0.85, 1.0), "green": (118, 0.68, 0.72),
    "teal": (176, 0.72, 0.74), "blue": (216, 0.78, 0.93), "purple": (270, 0.62, 0.82), "pink": (330, 0.55, 1.0),
    "brown": (24, 0.62, 0.52), "black": (240, 0.12, 0.20), "white": (30, 0.03, 0.98), "gray": (220, 0.05, 0.60),
}
HUED = ["red", "orange", "yellow", "green", "teal", "blue", "purple", "pink"]
_GREY_RANGE = {"black": (0.03, 0.36), "white": (0.66, 1.0), "gray": (0.28, 0.80)}

# four stops from shadow to highlight
MATERIALS = {
    "gold": [(60, 30, 0), (170, 110, 10), (245, 195, 50), (255, 245, 190)],
    "silver": [(40, 44, 55), (120, 126, 140), (200, 205, 215), (255, 255, 255)],
    "bronze": [(40, 20, 8), (130, 75, 35), (205, 135, 75), (255, 220, 175)],
    "ice": [(30, 90, 150), (90, 170, 225), (170, 225, 250), (245, 253, 255)],
    "chocolate": [(35, 15, 8), (82, 42, 22), (125, 72, 42), (200, 150, 115)],
    "jade": [(5, 50, 35), (25, 120, 80), (95, 190, 140), (220, 250, 230)],
    "lava": [(30, 5, 5), (150, 20, 5), (245, 100, 10), (255, 235, 120)],
    "stone": [(45, 45, 48), (105, 105, 108), (160, 160, 160), (215, 215, 212)],
}


def hsv_to_rgb(h, s, v):
    """Hue in degrees, the rest in 0..1; arrays of one shape."""
    k = np.stack([(n + h / 60.0) % 6 for n in (5, 3, 1)], -1)
    ramp = np.clip(np.minimum(k, 4 - k), 0, 1)
    return v[..., None] * (1 - s[..., None] * ramp)


def rgb_to_hsv(rgb):
    high, low = rgb.max(-1), rgb.min(-1)
    delta = high - low
    safe = np.where(delta == 0, 1, delta)
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    sector = np.where(high == r, ((g - b) / safe) % 6, np.where(high == g, (b - r) / safe + 2, (r - g) / safe + 4))
    return np.where(delta == 0, 0, sector * 60), delta / np.where(high == 0, 1, high), high


def colour_rgb(name, rng=None, jitter=0.0):
    """A named colour as an 8-bit triple, moved a little if an rng is given."""
    h, s, v = COLOURS[name]
    if rng is not None and jitter > 0:
        h += rng.uniform(-8, 8)
        s = min(1, max(0, s + rng.uniform(-jitter, jitter)))
        v = min(1, max(0, v + rng.uniform(-jitter, jitter)))
    return tuple(int(255 * x) for x in hsv_to_rgb(np.float64(h), np.float64(s), np.float64(v)))


def _to_grey(rgb, h, s, v, opaque, name):
    low, high = _GREY_RANGE[name]
    dark, light = np.percentile(v[opaque], (2, 98))
    luminance = 0.35 * v + 0.65 * rgb.mean(-1)
    span = max(light, 0.05) - dark * 0.6 + 1e-3
    return hsv_to_rgb(h, s * 0.07, low + (high - low) * np.clip((luminance - dark * 0.6) / span, 0, 1))


def recolour(sprite, name):
    """Moves the sprite's dominant hue cluster (or, on a grey sprite, its light parts) to a named colour."""
    pixels = np.asarray(sprite).astype(np.float32) / 255
    rgb, alpha = pixels[..., :3], pixels[..., 3]
    opaque = alpha > 0.5
    h, s, v = rgb_to_hsv(rgb)
    hue, saturation, value = COLOURS[name]
    saturated = (s > 0.2) & (v > 0.15) & opaque
    if name in _GREY_RANGE:
        out = _to_grey(rgb, h, s, v, opaque, name)
    else:
        if saturated.sum() > 0.25 * opaque.sum():
            histogram, edges = np.histogram(h[saturated], 36, (0, 360), weights=s[saturated])
            smooth = histogram + np.roll(histogram, 1) + np.roll(histogram, -1)
            distance = (h - (edges[int(smooth.argmax())] + 5) + 180) % 360 - 180
            mask = np.clip(1.6 - np.abs(distance) / 32, 0, 1) * np.clip((s - 0.08) / 0.12, 0, 1)
            cluster = saturated & (np.abs(distance) < 35)
            new_s = np.clip(s * saturation / max(np.median(s[cluster]), 0.2), 0, 1)
            new_v = np.clip(v * (value / max(np.median(v[cluster]), 0.3)) ** 0.85, 0, 1)
            new_h = hue + distance * 0.35
        else:
            mask = np.clip((v - 0.2) / 0.25, 0, 1) * np.clip((0.45 - s) / 0.25, 0, 1)
            new_h = np.full_like(h, hue)
            new_s = np.clip(saturation * (1.15 - 0.55 * v), 0, 1)
            new_v = np.clip(v * value * 1.02, 0, 1)
        out = hsv_to_rgb(new_h, new_s, new_v) * mask[..., None] + rgb * (1 - mask[..., None])
    return Image.fromarray((np.concatenate([out, alpha[..., None]], -1) * 255).clip(0, 255).astype(np.uint8))


def apply_material(sprite, name, noise_seed=0):
    """Maps the sprite's luminance, with faint banding, to a material's four stops."""
    pixels = np.asarray(sprite).astype(np.float32) / 255
    alpha = pixels[..., 3]
    luminance = pixels[..., :3] @ np.array([0.3, 0.55, 0.15], np.float32)
    low, high = np.percentile(luminance[alpha > 0.5], (3, 97))
    t = np.clip((luminance - low) / (high - low + 0.08), 0, 1)
    t = np.clip(0.18 + 0.74 * t + 0.10 * np.sin(t * 9), 0, 1) * 3
    stops = np.array(MATERIALS[name], np.float32)
    index = np.clip(t.astype(int), 0, 2)
    blend = (t - index)[..., None]
    out = stops[index] * (1 - blend) + stops[index + 1] * blend
    if name == "stone":
        out = out + np.random.RandomState(noise_seed).normal(0, 9, out.shape[:2] + (1,))
    return Image.fromarray(np.concatenate([out.clip(0, 255), alpha[..., None] * 255], -1).astype(np.uint8))
