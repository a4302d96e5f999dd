"""Writes what prompts can be made of, for interfaces: chips, completion, and marking words that the model never saw.

Concepts by group, the best known first; phrases for styles, scenes and the rest, with {} where the subject goes; and every
word of the captions (runs of letters, lower case) that training met more than once in twenty thousand captions.

usage: make_vocabulary.py PACK CAPTIONS.txt OUT.json
"""

import argparse
import json
import re
from collections import Counter

from pocket.compose.filters import FILTER_PHRASES
from pocket.compose.grammar import COUNT_WORDS, STYLE_WORDS
from pocket.compose.pack import Pack
from pocket.compose.palette import COLOURS, MATERIALS
from pocket.compose.relations import HATS
from pocket.compose.scenes import SCENE_PHRASES

# Prompts of the contact sheet that come out well at most seeds.
EXAMPLES = [
    "a red panda wearing a crown", "a fox", "a unicorn under a rainbow", "a robot riding a rocket", "a pink elephant", "a bear made of chocolate",
    "a purple car in the city", "a cactus in the desert", "a penguin wearing a cap", "a lion on the beach", "three green apples", "a whale underwater",
]


def words_of(text):
    return re.findall(r"[^\W\d_]+", text.lower())


def vocabulary(pack, captions):
    groups, phrases = {}, []
    for i in sorted(pack.ids, key=lambda i: -pack.weight[i]):
        concept = pack.concepts[i]
        groups.setdefault(concept["group"], []).append(concept["phrases"][0])
        phrases += concept["names"]
    parts = {
        "styles": [f"{{}}, {words[0]} style" for words in STYLE_WORDS.values()],
        "filters": [templates[0] for templates in FILTER_PHRASES.values()],
        "scenes": [f"{{}} {texts[0]}" for texts in SCENE_PHRASES.values()],
        "backgrounds": [f"{{}} on a {colour} background" for colour in COLOURS],
        "materials": [f"{{}} made of {material}" for material in MATERIALS],
        "hats": [f"{{}} {words}" for words, *_ in HATS.values()],
    }
    lists = {"colours": list(COLOURS), "counts": list(COUNT_WORDS.values())}
    counts = Counter(words_of(captions))
    known = {word for word, count in counts.items() if count > 1}
    for texts in (phrases, *parts.values(), *lists.values()):
        known.update(word for text in texts for word in words_of(text))
    return {"examples": EXAMPLES, "concepts": groups, **parts, **lists, "words": sorted(known)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pack")
    parser.add_argument("captions")
    parser.add_argument("out")
    options = parser.parse_args()
    with open(options.captions) as file:
        made = vocabulary(Pack(options.pack), file.read())
    with open(options.out, "w") as file:
        rows = [f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in made.items()]
        file.write("{\n" + ",\n".join(rows) + "\n}\n")
    unknown = sorted({word for text in EXAMPLES for word in words_of(text)} - set(made["words"]))
    print(f"{sum(map(len, made['concepts'].values()))} concepts, {len(made['words'])} words; unknown in the examples: {unknown}")


if __name__ == "__main__":
    main()
