"""Writes the evaluation prompts: combinations that training never draws, over concepts people know.

usage: make_prompts.py PACK OUT.json [--per-family 48]
"""

import argparse
import json
import random

from pocket.compose.drawing import names_a_colour
from pocket.compose.grammar import COUNT_WORDS, STYLE_WORDS, can_be_plural, plural, with_article
from pocket.compose.holdout import is_held_out
from pocket.compose.pack import Pack
from pocket.compose.palette import HUED, MATERIALS
from pocket.compose.filters import FILTER_PHRASES
from pocket.compose.relations import HATS, VEHICLES
from pocket.compose.scenes import SCENE_PHRASES

KNOWN = (
    "dog face,cat face,red apple,automobile,rocket,hamburger,guitar,castle,house,fox,panda,lion,penguin,octopus,t-rex,unicorn,elephant,"
    "teddy bear,crown,hot beverage,pizza,doughnut,cactus,sunflower,tropical fish,butterfly,owl,frog,robot,sailboat,helicopter,bicycle,"
    "locomotive,umbrella,wrapped gift,light bulb,camera,soccer ball,banana,strawberry,birthday cake,ice cream,mushroom,key,star,turtle,"
    "whale,pig face,rabbit face,snail"
).split(",")
SHORT = {
    "dog face": "dog", "cat face": "cat", "automobile": "car", "red apple": "apple", "hamburger": "burger", "t-rex": "dinosaur",
    "hot beverage": "cup of coffee", "doughnut": "donut", "locomotive": "steam train", "wrapped gift": "gift", "pig face": "pig",
    "rabbit face": "rabbit", "light bulb": "lightbulb",
}
RELATIONS = {"on top of": ("down", False), "to the left of": ("across", False), "below": ("down", True), "to the right of": ("across", True)}


class Prompts:
    def __init__(self, pack, per_family, seed=2027):
        self.pack, self.per_family, self.rng = pack, per_family, random.Random(seed)
        self.known = [name for name in KNOWN if name in pack.index_of]
        self.items = []

    def noun(self, name, adjective=None):
        word = SHORT.get(name, name)
        return with_article(f"{adjective} {word}" if adjective else word, self.pack.concepts[self.pack.index_of[name]])

    def accepted(self, name):
        """Every concept that the prompt's word may mean."""
        word = SHORT.get(name, name)
        return sorted({i for i in self.pack.ids if word in self.pack.concepts[i]["names"]} | {self.pack.index_of[name]})

    def take(self, family, candidates):
        candidates = list(candidates)
        self.rng.shuffle(candidates)
        for prompt, names, extra in candidates[: self.per_family]:
            self.items.append({"family": family, "prompt": prompt, "accepted": [self.accepted(name) for name in names], **extra})

    def pairs(self, ones, others, allowed=lambda name: True):
        return [(a, b) for a in ones for b in others if a != b and allowed(b) and is_held_out("pair", *sorted([a, b]))]

    def build(self):
        pack, known = self.pack, self.known
        riders = [name for name in known if pack.index_of[name] in pack.riders]
        faces = [name for name in known if pack.index_of[name] in pack.faces]
        holdable = [name for name in known if pack.index_of[name] in pack.holdable]
        drawable = [pack.name(i) for i in pack.combinable if "3d" in pack.by_concept[i]]
        vehicles = [name for name in VEHICLES if name in pack.index_of]
        own_colour = lambda name: {c for ids in pack.by_concept[pack.index_of[name]].values() for c, _ in pack.sprites[ids[0]]["colours"][:1]}
        usual = self.rng.choices(pack.ids, pack.weights, k=6 * self.per_family)
        plain = [pack.name(i) for i in dict.fromkeys(usual) if "3d" in pack.by_concept[i]][: 4 * self.per_family]
        for name in plain:
            self.items.append({"family": "plain", "prompt": with_article(name, pack.concepts[pack.index_of[name]]), "accepted": [self.accepted(name)]})
        self.take("color", ((self.noun(n, c), [n], {"colour": c}) for n in known for c in HUED
                            if is_held_out("color", c, n) and not names_a_colour(n) and c not in own_colour(n)))
        self.take("pair", ((f"{self.noun(a)} and {self.noun(b)}", [a, b], {}) for a, b in self.pairs(known, known) if a < b))
        self.take("relation", ((f"{self.noun(a)} {words} {self.noun(b)}", [b, a] if swapped else [a, b], {"axis": axis})
                               for a, b in self.pairs(known, known) for words, (axis, swapped) in RELATIONS.items()))
        self.take("ride", ((f"{self.noun(a)} riding {self.noun(b)}", [a, b], {}) for a, b in self.pairs(riders, vehicles)))
        self.take("hold", ((f"{self.noun(a)} holding {self.noun(b)}", [a, b], {}) for a, b in self.pairs(riders, holdable)))
        self.take("wear", ((f"{self.noun(n)} {HATS[hat][0]}", [n, hat], {}) for n in faces for hat in HATS
                           if hat in pack.index_of and is_held_out("wear", hat, n)))
        self.take("scene", ((f"{self.noun(n)} {SCENE_PHRASES[s][0]}", [n], {"scene": s}) for n in known for s in SCENE_PHRASES if is_held_out("scene", s, n)))
        self.take("style", ((f"{self.noun(n)}, {STYLE_WORDS[s][0]} style", [n], {"style": s}) for n in drawable for s in ("flat", "cartoon", "retro")
                            if s in pack.by_concept[pack.index_of[n]] and is_held_out("style", s, n)))
        self.take("material", ((f"{self.noun(n)} made of {m}", [n], {"material": m}) for n in known for m in MATERIALS if is_held_out("material", m, n)))
        self.take("filter", ((FILTER_PHRASES[f][0].format(self.noun(n)), [n], {"filter": f}) for n in known for f in FILTER_PHRASES if is_held_out("filter", f, n)))
        self.take("count", ((f"{COUNT_WORDS[k]} {plural(SHORT.get(n, n))}", [n], {"count": k}) for n in known for k in (2, 3, 4, 5)
                            if can_be_plural(SHORT.get(n, n)) and is_held_out("count", str(k), n)))
        return self.items


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pack")
    parser.add_argument("out")
    parser.add_argument("--per-family", type=int, default=48)
    options = parser.parse_args()
    items = Prompts(Pack(options.pack), options.per_family).build()
    with open(options.out, "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(item) for item in items) + "\n]\n")
    families = {}
    for item in items:
        families.setdefault(item["family"], []).append(item["prompt"])
    for family, prompts in families.items():
        print(f"{family:9s} {len(prompts):4d}  " + "; ".join(prompts[:4]))


if __name__ == "__main__":
    main()
