"""Families with two things in one picture: pairs, one thing in two styles, wearing, riding, holding."""

import numpy as np
from PIL import Image

from .drawing import fit, paste
from .grammar import in_style
from .labels import Labels
from .scenes import SIZE

# hat: (words, width relative to the head, share of the hat that overlaps it)
HATS = {
    "crown": ("wearing a crown", 0.56, 0.16),
    "top hat": ("wearing a top hat", 0.60, 0.12),
    "graduation cap": ("wearing a graduation cap", 0.74, 0.30),
    "billed cap": ("wearing a cap", 0.58, 0.34),
    "woman's hat": ("wearing a straw hat", 0.74, 0.30),
    "rescue worker's helmet": ("wearing a helmet", 0.62, 0.36),
    "ribbon": ("with a bow", 0.40, 0.45),
    "headphone": ("wearing headphones", 1.04, 0.86),
    "military helmet": ("wearing an army helmet", 0.64, 0.40),
}
VEHICLES = [
    "bicycle", "motorcycle", "skateboard", "motor scooter", "kick scooter", "sailboat", "canoe", "speedboat", "automobile", "pickup truck",
    "tractor", "sled", "flying saucer", "rocket", "airplane", "horse", "elephant", "turtle", "camel", "racing car", "water wave", "cloud", "broom",
]
BESIDE = ["{} and {}", "{} and {}", "{} next to {}", "{} beside {}", "{} with {}"]
LEFT_OF = ["{} to the left of {}", "{} on the left and {} on the right", "{} left of {}"]
RIGHT_OF = ["{} to the right of {}", "{} on the right and {} on the left", "{} right of {}"]
ABOVE = ["{} on top of {}", "{} above {}", "{} over {}"]
BELOW = ["{} below {}", "{} under {}", "{} underneath {}"]


class Relations:
    def _is_held_pair(self, one, other):
        return self.held("pair", *sorted([self.pack.name(one), self.pack.name(other)]))

    def _pick_pair(self):
        while True:
            one, style = self.pick(self.pack.combinable)
            other, _ = self.pick(self.pack.combinable)
            style = "3d" if self.rng.random() < 0.7 else style
            if one != other and self.allowed(one, style) and self.allowed(other, style) and not self._is_held_pair(one, other):
                return one, other, style

    def pair(self):
        """Two things side by side or one above the other; 30 % of pairs are coloured, so that colours bind to things."""
        rng = self.rng
        one, other, style = self._pick_pair()
        coloured = 1 if rng.random() < 0.3 else 0
        image_one, noun_one, colour_one = self.maybe_coloured(one, style, coloured)
        image_other, noun_other, _ = self.maybe_coloured(other, style, coloured * 0.7)
        canvas, tail, scene = self.maybe_ground(0.35, scene_share=0.25)
        size, kind = rng.randint(100, 122), rng.random()
        image_one, image_other = fit(image_one, size), fit(image_other, size)
        jitter = lambda: rng.randint(-5, 5)
        across = kind < 0.70
        if kind < 0.40:
            words, one_first = BESIDE, True  # in reading order: a picture that is the average of both orders is neither
        elif kind < 0.70:
            words, one_first = (LEFT_OF, True) if kind < 0.55 else (RIGHT_OF, False)
        else:
            words, one_first = (ABOVE, True) if kind < 0.85 else (BELOW, False)
        first, second = (image_one, image_other) if one_first else (image_other, image_one)
        if across:
            paste(canvas, first, 66 + jitter(), 128 + jitter())
            paste(canvas, second, 190 + jitter(), 128 + jitter())
        else:
            bottom = 250 - second.height / 2 - rng.randint(0, 10)
            top = max(first.height / 2 + 2, bottom - second.height / 2 - first.height / 2 + 6)
            paste(canvas, first, 128 + jitter(), top)
            paste(canvas, second, 128 + jitter(), bottom)
        caption = rng.choice(words).format(noun_one, noun_other) + tail
        labels = Labels([one, other] if one_first else [other, one], style, colour_one if one_first else None, scene=scene,
                        axis="across" if across else "down")
        return canvas, caption, labels

    def styles(self):
        """One thing twice, in two styles: captions that differ in nothing but the style's word."""
        rng = self.rng
        while True:
            concept, _ = self.pick(self.pack.combinable)
            allowed = [style for style in self.pack.by_concept[concept] if self.allowed(concept, style)]
            if len(allowed) > 1:
                break
        two, noun, size = rng.sample(allowed, 2), self.noun(concept), rng.randint(100, 122)
        canvas, tail, scene = self.maybe_ground(0.2)
        for style, x in zip(two, (66, 190)):
            paste(canvas, fit(self.image(concept, style), size), x + rng.randint(-5, 5), 128 + rng.randint(-5, 5))
        words = rng.choice(BESIDE + LEFT_OF).format(*(in_style(noun, style, rng) for style in two))
        return canvas, words + tail, Labels([concept, concept], scene=scene, axis="across")

    def wear(self):
        """A hat on a front-facing head, anchored by the head's alpha mask."""
        rng, pack = self.rng, self.pack
        hats = [hat for hat in HATS if hat in pack.index_of and "3d" in pack.by_concept[pack.index_of[hat]]]
        while True:
            head, hat = rng.choice(pack.faces), rng.choice(hats)
            if not self.held("wear", hat, pack.name(head)):
                break
        style = rng.choice([s for s in pack.by_concept[head] if self.allowed(head, s)] or ["3d"])
        hat_index = pack.index_of[hat]
        hat_style = style if style in pack.by_concept[hat_index] else "3d"
        words, width, overlap = HATS[hat]
        image, noun, colour = self.maybe_coloured(head, style, 0.25)
        canvas, tail, scene = self.maybe_ground(0.45, scene_share=0.2)
        image = fit(image, rng.randint(150, 172))
        alpha = np.asarray(image.split()[3])
        middle = alpha[:, int(image.width * 0.44): int(image.width * 0.56)].max(1)
        crown_row = int(np.argmax(middle > 128))
        head_width = (alpha[min(image.height - 1, crown_row + int(0.12 * image.height))] > 128).sum()
        hat_image = fit(self.image(hat_index, hat_style), 200)
        scale = width * max(head_width, 0.62 * image.width) / hat_image.width
        hat_image = hat_image.resize((max(8, int(hat_image.width * scale)), max(8, int(hat_image.height * scale))), Image.LANCZOS)
        y = 246 - image.height / 2 - rng.randint(0, 8)
        paste(canvas, image, SIZE / 2, y)
        brim = y - image.height / 2 + crown_row + overlap * hat_image.height
        paste(canvas, hat_image, SIZE / 2, max(hat_image.height / 2, brim - hat_image.height / 2))
        return canvas, f"{noun} {words}{tail}", Labels([head, hat_index], style, colour, scene=scene)

    def ride(self):
        """An animal or a face above a vehicle, which hides its lower edge."""
        rng, pack = self.rng, self.pack
        while True:
            vehicle = pack.index_of.get(rng.choice(VEHICLES))
            rider, style = self.pick(pack.riders)
            if vehicle not in (None, rider) and self.allowed(vehicle, style) and not self._is_held_pair(rider, vehicle):
                break
        canvas, tail, scene = self.maybe_ground(0.45, scene_share=0.35)
        rider_image, rider_noun = fit(self.image(rider, style), rng.randint(96, 116)), self.noun(rider)
        vehicle_image, vehicle_noun, _ = self.maybe_coloured(vehicle, style, 0.25)
        vehicle_image = fit(vehicle_image, rng.randint(140, 168))
        y = 246 - vehicle_image.height / 2 - rng.randint(0, 8)
        seat = y - 0.24 * vehicle_image.height
        paste(canvas, rider_image, 128 + rng.randint(-8, 8), max(rider_image.height / 2 + 3, seat - rider_image.height / 2 + 6))
        paste(canvas, vehicle_image, 128, y)
        verb = rng.choice(["riding", "riding", "on", "riding on", "sitting on"])
        return canvas, f"{rider_noun} {verb} {vehicle_noun}{tail}", Labels([rider, vehicle], style, scene=scene)

    def hold(self):
        """A large animal or face with a small thing at its lower right."""
        rng, pack = self.rng, self.pack
        while True:
            holder, style = self.pick(pack.riders)
            thing, _ = self.pick(pack.holdable)
            if thing != holder and self.allowed(thing, style) and not self._is_held_pair(holder, thing):
                break
        canvas, tail, scene = self.maybe_ground(0.45, scene_share=0.35)
        holder_image, holder_noun = fit(self.image(holder, style), rng.randint(160, 186)), self.noun(holder)
        thing_image, thing_noun, _ = self.maybe_coloured(thing, style, 0.25)
        paste(canvas, holder_image, 112, 242 - holder_image.height / 2)
        paste(canvas, fit(thing_image, rng.randint(78, 96)), 196 + rng.randint(-6, 6), 196 + rng.randint(-8, 8))
        verb = rng.choice(["holding", "holding", "with", "carrying"])
        return canvas, f"{holder_noun} {verb} {thing_noun}{tail}", Labels([holder, thing], style, scene=scene)
