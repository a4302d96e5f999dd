"""The families of pictures: each method returns (RGB image, caption that does not name the style, Labels)."""

import numpy as np
from PIL import Image

from .drawing import Drawing, fit, names_a_colour, paste, white_canvas
from .filters import COLOURLESS, FILTER_PHRASES, FILTERS, apply_filter
from .grammar import COUNT_WORDS, a, add_style, can_be_plural, plural, strip_article
from .labels import Labels
from .palette import HUED, MATERIALS, apply_material
from .relations import Relations
from .scenes import FLOATING, SCENE_PHRASES, SIZE, Backdrop

FAMILY_SHARES = {
    "plain": 0.17, "ground": 0.06, "color": 0.11, "scene": 0.11, "pair": 0.20, "styles": 0.03, "material": 0.05, "count": 0.07,
    "wear": 0.07, "ride": 0.04, "hold": 0.04, "filter": 0.04, "size": 0.01,
}
# (x, y, size) of each copy, by how many there are
COUNT_LAYOUTS = {
    2: [(68, 128, 112), (188, 128, 112)],
    3: [(68, 74, 100), (188, 74, 100), (128, 184, 100)],
    4: [(70, 70, 104), (186, 70, 104), (70, 186, 104), (186, 186, 104)],
    5: [(64, 64, 86), (192, 64, 86), (128, 128, 86), (64, 192, 86), (192, 192, 86)],
    9: [(48 + 80 * i, 48 + 80 * j, 70) for j in range(3) for i in range(3)],
}


class Composer(Relations, Drawing):
    def sample(self, family=None):
        """One picture: (256x256 RGB image, caption, the caption without the words of a style but 3d, Labels)."""
        family = family or self.rng.choices(list(FAMILY_SHARES), list(FAMILY_SHARES.values()))[0]
        image, unstyled, labels = getattr(self, family)()
        caption = add_style(unstyled, labels.style, self.rng) if labels.style else unstyled
        if labels.style == "3d":
            unstyled = caption  # the style of captions that name none: there is nothing to leave out
        form = self.rng.random()
        if form < 0.08:
            caption, unstyled = strip_article(caption), strip_article(unstyled)
        elif form < 0.11:
            caption = caption[0].upper() + caption[1:] + "."
        return image, caption, unstyled, labels

    def plain(self):
        rng, pack = self.rng, self.pack
        concept, style = self.pick()
        index = self.sprite(concept, style, tone=style == "3d" and rng.random() < 0.3)
        sprite, entry, canvas = pack.sprites[index], pack.concepts[concept], white_canvas()
        paste(canvas, fit(pack.image(index), rng.randint(196, 236)), SIZE / 2 + rng.randint(-5, 5), SIZE / 2 + rng.randint(-5, 5))
        adjective = None
        if sprite["colours"] and concept in pack.combinable and rng.random() < 0.25:
            colour, share = sprite["colours"][0]
            adjective = colour if share >= 0.5 and not names_a_colour(entry["name"]) else None
        caption, form = self.noun(concept, adjective, sprite.get("tone")), rng.random()
        if form < 0.07 and entry["keywords"]:
            keywords = rng.sample(entry["keywords"], min(len(entry["keywords"]), rng.randint(1, 3)))
            caption = ", ".join([rng.choice(entry["names"])] + keywords)
        elif form < 0.14:
            caption = rng.choice(["an emoji of ", "a picture of "]) + caption
        elif form < 0.20:
            caption += " on a white background"
        return canvas, caption, Labels([concept], style)

    def ground(self):
        rng = self.rng
        concept, style = self.pick()
        canvas, words = self.plain_ground()
        paste(canvas, fit(self.image(concept, style), rng.randint(150, 220)), SIZE / 2 + rng.randint(-8, 8), SIZE / 2 + rng.randint(-8, 8))
        return canvas, self.noun(concept) + words, Labels([concept], style)

    def color(self):
        while True:
            concept, style = self.pick(self.pack.combinable)
            image, noun, colour = self.maybe_coloured(concept, style, 1, HUED * 2 + ["black", "white", "gray", "brown"])
            if colour:
                break
        canvas, tail, _ = self.maybe_ground(0.3)
        paste(canvas, fit(image, self.rng.randint(180, 230)), SIZE / 2, SIZE / 2)
        return canvas, noun + tail, Labels([concept], style, colour)

    def material(self):
        rng = self.rng
        while True:
            concept, style = self.pick(self.pack.combinable)
            material = rng.choice(list(MATERIALS))
            if not self.held("material", material, self.pack.name(concept)):
                break
        if "3d" in self.pack.by_concept[concept] and rng.random() < 0.7:
            style = "3d"
        canvas, tail, _ = self.maybe_ground(0.35)
        image = apply_material(self.image(concept, style), material, rng.randrange(1 << 30))
        paste(canvas, fit(image, rng.randint(180, 226)), SIZE / 2, SIZE / 2)
        noun, form = self.noun(concept, colourless=True), rng.random()
        adjective = "golden" if material == "gold" else material
        if form < 0.5:
            caption = f"{noun} made of {material}"
        elif form < 0.8:
            caption = f"{a(adjective)} {adjective} {strip_article(noun)}"
        else:
            caption = f"{a(adjective)} {adjective} statue of {noun}"
        return canvas, caption + tail, Labels([concept], material=material)

    def scene(self):
        rng = self.rng
        while True:
            concept, style = self.pick(self.pack.scenic)
            kind = rng.choice(list(SCENE_PHRASES))
            if not self.held("scene", kind, self.pack.name(concept)):
                break
        backdrop = Backdrop(kind, rng)
        image, noun, colour = self.maybe_coloured(concept, style, 0.2)
        image = fit(image, rng.randint(112, 176))
        floating, half = kind in FLOATING, image.height / 2
        y = backdrop.ground if floating else max(half + 4, min(SIZE - half - 6, backdrop.ground + 22 - half))
        paste(backdrop.image, image, SIZE / 2 + rng.randint(-34, 34), y, shadow=not floating)
        backdrop.draw_falling(backdrop.image)
        caption = f"{noun} {rng.choice(SCENE_PHRASES[kind])}"
        return backdrop.image, caption, Labels([concept], style, colour, scene=kind)

    def count(self):
        rng = self.rng
        while True:
            concept, style = self.pick(self.pack.combinable)
            number, name = rng.choice(list(COUNT_WORDS)), self.pack.name(concept)
            if can_be_plural(name) and not self.held("count", str(number), name):
                break
        image, _, colour = self.maybe_coloured(concept, style, 0.35)
        names = [n for n in self.pack.concepts[concept]["names"] if can_be_plural(n) and not (colour and names_a_colour(n))]
        canvas, tail, _ = self.maybe_ground(0.3)
        for x, y, size in COUNT_LAYOUTS[number]:
            paste(canvas, fit(image, size + rng.randint(-6, 4)), x + rng.randint(-3, 3), y + rng.randint(-3, 3))
        adjective = f"{colour} " if colour else ""
        caption = f"{COUNT_WORDS[number]} {adjective}{plural(rng.choice(names or [name]))}{tail}"
        return canvas, caption, Labels([concept], style, colour, count=number)

    def filter(self):
        rng = self.rng
        while True:
            concept, style = self.pick()
            kind = rng.choice(FILTERS)
            if not self.held("filter", kind, self.pack.name(concept)):
                break
        chance = 0.25 if kind not in COLOURLESS and concept in self.pack.combinable else 0
        image, noun, _ = self.maybe_coloured(concept, style, chance)
        image = fit(image, rng.randint(180, 222))
        canvas = Image.new("RGBA", (SIZE, SIZE), (0, 0, 0, 0))
        canvas.alpha_composite(image, (round((SIZE - image.width) / 2), round((SIZE - image.height) / 2)))
        caption = rng.choice(FILTER_PHRASES[kind]).format(noun, n=strip_article(noun))
        return apply_filter(kind, canvas, rng), caption, Labels([concept], filter=kind)

    def size(self):
        rng = self.rng
        concept, style = self.pick(self.pack.combinable)
        canvas, tail, _ = self.maybe_ground(0.5)
        x = y = SIZE // 2
        form = rng.random()
        if form < 0.35:
            caption, pixels = self.noun(concept, rng.choice(["tiny", "small"])), rng.randint(58, 90)
        elif form < 0.6:
            caption, pixels = self.noun(concept, rng.choice(["huge", "giant", "big"])), rng.randint(240, 290)
        else:
            vertical, horizontal, pixels = rng.choice(["top", "bottom"]), rng.choice(["left", "right"]), rng.randint(84, 110)
            x, y = (62 if horizontal == "left" else 194), (62 if vertical == "top" else 194)
            caption = f"{self.noun(concept)} in the {vertical} {horizontal} corner"
        paste(canvas, fit(self.image(concept, style), pixels), x, y)
        return canvas, caption + tail, Labels([concept], style)


def compose_arrays(composer, count, family=None):
    """`count` pictures as (uint8 array [n, 256, 256, 3], captions, captions without style words, int16 label rows)."""
    pictures, captions, unstyled, rows = np.empty((count, SIZE, SIZE, 3), np.uint8), [], [], []
    for i in range(count):
        image, caption, plain, labels = composer.sample(family)
        pictures[i] = np.asarray(image)
        captions.append(caption)
        unstyled.append(plain)
        rows.append(labels.row())
    return pictures, captions, unstyled, np.array(rows, np.int16)
