"""The sprite pack as the composer sees it."""

import io
import json
import os
from itertools import accumulate

import numpy as np
from PIL import Image

COMBINABLE_GROUPS = {"animals-nature", "food-drink", "travel-places", "activities", "objects"}
PLAIN_ONLY_SUBGROUPS = {"sky-weather", "time", "place-map", "hotel"}
FACES = {
    "bear", "panda", "koala", "polar bear", "fox", "lion", "wolf", "frog", "hamster", "raccoon", "chicken", "penguin", "owl", "robot",
    "alien", "ghost", "skull", "jack-o-lantern", "snowman without snow", "pile of poo", "full moon face", "sun with face",
    "grinning face", "thinking face", "smiling face with heart-eyes", "baby chick", "teddy bear",
}


class Pack:
    def __init__(self, folder):
        self.bytes = np.memmap(os.path.join(folder, "sprites.bin"), mode="r")
        with open(os.path.join(folder, "sprites.json")) as file:
            self.sprites = json.load(file)
        with open(os.path.join(folder, "concepts.json")) as file:
            self.concepts = json.load(file)
        self.by_concept = {}
        for index, sprite in enumerate(self.sprites):
            self.by_concept.setdefault(sprite["concept"], {}).setdefault(sprite["style"], []).append(index)
        drawn = [i for i, concept in enumerate(self.concepts) if concept["drawn"]]
        self.index_of = {self.concepts[i]["name"]: i for i in drawn}
        self.ids = drawn
        # The oldest artwork covers the concepts that everybody knows: they come up more often.
        self.weight = {i: self.concepts[i]["weight"] * (1 if "retro" in self.by_concept[i] else 0.35) for i in drawn}
        self.weights = list(self.weight.values())
        self.combinable = [
            i for i in drawn
            if self.concepts[i]["group"] in COMBINABLE_GROUPS and self.concepts[i]["subgroup"] not in PLAIN_ONLY_SUBGROUPS
        ]
        self.animals = [i for i in drawn if self.concepts[i]["subgroup"].startswith("animal")]
        self.faces = [i for i in drawn if self._is_face(self.concepts[i])]
        self.riders = self.animals + self.faces
        self.scenic = self.combinable + self.faces
        self.holdable = [
            i for i in self.combinable if "3d" in self.by_concept[i] and (
                self.concepts[i]["group"] in ("food-drink", "objects", "activities") or self.concepts[i]["subgroup"] == "plant-flower")
        ]
        self._decoded, self._cumulative = {}, {}

    @staticmethod
    def _is_face(concept):
        return (concept["subgroup"] == "animal-mammal" and concept["name"].endswith(" face")) or concept["name"] in FACES

    def draw(self, rng, pool):
        """A concept by weight from one of this pack's own lists."""
        cumulative = self._cumulative.get(id(pool))
        if cumulative is None:
            cumulative = self._cumulative[id(pool)] = list(accumulate(self.weight[i] for i in pool))
        return rng.choices(pool, cum_weights=cumulative)[0]

    def name(self, concept):
        return self.concepts[concept]["name"]

    def image(self, sprite):
        """The sprite as an RGBA picture, decoded once."""
        image = self._decoded.get(sprite)
        if image is None:
            entry = self.sprites[sprite]
            image = Image.open(io.BytesIO(bytes(self.bytes[entry["offset"]: entry["offset"] + entry["length"]]))).convert("RGBA")
            self._decoded[sprite] = image
        return image
