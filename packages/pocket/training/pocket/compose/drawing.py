"""Choosing sprites and words and putting them on a canvas: what every family of pictures shares."""

import random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .grammar import a, with_article
from .holdout import is_held_out
from .palette import COLOURS, HUED, colour_rgb, recolour
from .scenes import OUTDOOR_GROUND, SCENE_PHRASES, SIZE, Backdrop

STYLE_WEIGHTS = {"3d": 3.6, "flat": 1.2, "cartoon": 2.2, "retro": 3}
_COLOUR_WORDS = set(COLOURS) | {"gold", "golden"}
WHITE = (255, 255, 255)


def names_a_colour(text):
    return any(word in _COLOUR_WORDS for word in text.split())


def white_canvas():
    return Image.new("RGB", (SIZE, SIZE), WHITE)


def fit(image, size):
    """Scaled so that the longer side is `size` pixels."""
    scale = size / max(image.size)
    shape = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(shape, Image.LANCZOS if scale < 1 else Image.BICUBIC)


def paste(canvas, image, x, y, shadow=False):
    """Puts an RGBA image with its centre at (x, y), over a soft contact shadow if asked."""
    left, top = round(x - image.width / 2), round(y - image.height / 2)
    if shadow:
        mask = Image.new("L", canvas.size, 0)
        box = [x - image.width * 0.42, top + image.height * 0.93, x + image.width * 0.42, top + image.height * 1.04]
        ImageDraw.Draw(mask).ellipse(box, fill=90)
        canvas.paste((20, 20, 40), (0, 0), mask.filter(ImageFilter.GaussianBlur(4)))
    canvas.paste(image, (left, top), image)


class Drawing:
    """Random choices over a pack; `train` excludes what the hold-out rule keeps for evaluation."""

    def __init__(self, pack, seed=0, train=True):
        self.pack, self.rng, self.train = pack, random.Random(seed), train

    def held(self, kind, *parts):
        return self.train and is_held_out(kind, *parts)

    # ---- words
    def noun(self, concept, adjective=None, tone=None, colourless=False):
        """A noun phrase for the concept; `colourless` avoids names that already hold a colour."""
        entry, rng = self.pack.concepts[concept], self.rng
        names = entry["names"]
        if colourless or adjective in COLOURS:
            names = [name for name in names if not names_a_colour(name)] or names[:1]
        if entry["standalone"] and rng.random() < 0.12:
            name = rng.choice(entry["standalone"])
        else:
            name = rng.choice(names)
        if tone:
            name += f" with {tone} skin"
        return with_article(f"{adjective} {name}" if adjective else name, entry)

    # ---- choices
    def allowed(self, concept, style):
        return style in self.pack.by_concept[concept] and not (style != "3d" and self.held("style", style, self.pack.name(concept)))

    def pick(self, pool=None):
        """A concept and a style in which it may be drawn."""
        for _ in range(50):
            concept = self.pack.draw(self.rng, pool or self.pack.ids)
            styles = [style for style in self.pack.by_concept[concept] if self.allowed(concept, style)]
            if styles:
                return concept, self.rng.choices(styles, [STYLE_WEIGHTS[style] for style in styles])[0]
        raise RuntimeError("no drawable concept in the pool")

    def sprite(self, concept, style, tone=False):
        options = self.pack.by_concept[concept][style]
        matching = [i for i in options if ("tone" in self.pack.sprites[i]) == tone]
        return self.rng.choice(matching or [i for i in options if "tone" not in self.pack.sprites[i]] or options)

    def image(self, concept, style):
        return self.pack.image(self.sprite(concept, style))

    def colour_for(self, concept, choices):
        """A colour the concept may take, or None."""
        colour, name = self.rng.choice(choices), self.pack.name(concept)
        return None if names_a_colour(name) or self.held("color", colour, name) else colour

    def maybe_coloured(self, concept, style, chance, choices=HUED):
        """(image, noun phrase, colour or None), recoloured with the given chance."""
        image = self.image(concept, style)
        colour = self.colour_for(concept, choices) if self.rng.random() < chance else None
        if colour:
            return recolour(image, colour), self.noun(concept, colour), colour
        return image, self.noun(concept), None

    # ---- grounds
    def plain_ground(self):
        """A coloured background and the words for it: solid, shaded, or a gradient of two colours."""
        rng = self.rng
        name = rng.choice(list(COLOURS))
        colour = np.array(colour_rgb(name, rng, 0.08), np.float32)
        pixels, kind = np.empty((SIZE, SIZE, 3), np.float32), rng.random()
        words = f"{name} background"
        if kind < 0.6:
            pixels[:] = colour
        elif kind < 0.85:
            pixels[:] = (colour * np.linspace(1.12, 0.86, SIZE)[:, None, None]).clip(0, 255)
        else:
            other = rng.choice([c for c in COLOURS if c != name])
            blend = np.linspace(0, 1, SIZE)[:, None, None]
            pixels[:] = colour * (1 - blend) + np.array(colour_rgb(other, rng, 0.05), np.float32) * blend
            words = f"{name} and {other} gradient background"
        return Image.fromarray(pixels.astype(np.uint8)), f" on {a(words)} {words}"

    def maybe_ground(self, chance, scene_share=0.0):
        """(canvas, caption tail, scene name): white, or with the given chance a colour or an outdoor scene."""
        if self.rng.random() > chance:
            return white_canvas(), "", "none"
        if self.rng.random() < scene_share:
            scene = self.rng.choice(OUTDOOR_GROUND)
            return Backdrop(scene, self.rng).image, " " + self.rng.choice(SCENE_PHRASES[scene]), scene
        canvas, words = self.plain_ground()
        return canvas, words, "none"
