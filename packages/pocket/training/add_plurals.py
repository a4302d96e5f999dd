"""Gives plurals tokens of their own, and tells the model that they mean what their singulars do.

BPE breaks most of them into pieces that say nothing of the singular: "turtles" is "tur t les", "robots" is "ro bo ts". How to
read those has to be learnt from counted things alone, and some were taken for turkeys and carrots. A plural's row in the
table of embeddings begins as a copy of its singular's; training on may move it. Words that are no such plurals keep
their tokens. Writes the tokenizer, the text encoder and the vocabulary of the model's folder in place.

usage: add_plurals.py --pack pack --model ../model
"""

import argparse
import json
import os
from itertools import accumulate, pairwise

import numpy as np
import onnx
from onnx import numpy_helper

from pocket.compose.grammar import can_be_plural, plural
from pocket.tokenizer import Tokenizer

TABLE = "text_model.embeddings.token_embedding.weight"


def plurals_of(concepts):
    """Singular by plural, of the last words of names: those are what captions count."""
    names = {name for concept in concepts for name in concept["names"] if can_be_plural(name)}
    pairs = {plural(name).split()[-1]: name.split()[-1] for name in sorted(names)}
    return {many: one for many, one in pairs.items() if many != one}


class Extension:
    """New merges and tokens of a tokenizer, with the row of the table that each new token begins as."""

    def __init__(self, tokenizer, words):
        """`words` have to keep their tokens."""
        self.tokenizer, self.rows = tokenizer, {}
        self.token = {index: token for token, index in tokenizer.vocabulary.items()}
        self.neighbours = {pair for word in words for pair in pairwise(self._symbols(word))}

    def _symbols(self, word):
        return [self.token[index] for index in self.tokenizer.word_ids(word)]

    def add(self, many, one):
        """Whether the plural has a token of its own now. Where the singular has none, nothing is done."""
        symbols, singular = self._symbols(many), self.tokenizer.word_ids(one)
        if len(singular) != 1 or len(symbols) == 1:
            return False
        for merges in (self._from_left(symbols), self._from_right(symbols)):
            if self.neighbours.isdisjoint(merges):
                self._append(merges, singular[0])
                return True
        return False

    @staticmethod
    def _from_left(symbols):
        return list(zip(accumulate(symbols), symbols[1:]))

    @staticmethod
    def _from_right(symbols):
        ends = list(accumulate(reversed(symbols), lambda end, symbol: symbol + end))
        return list(zip(reversed(symbols[:-1]), ends))

    def _append(self, merges, singular):
        """They come last, and so change no word but those where they meet."""
        vocabulary = dict(self.tokenizer.vocabulary)
        for pair in merges:
            token = "".join(pair)
            if token in vocabulary:
                continue
            # A part of a word alone means nothing; its row is anyone's.
            self.token[len(vocabulary)], self.rows[token] = token, singular
            vocabulary[token] = len(vocabulary)
        self.tokenizer.use(vocabulary, [*self.tokenizer.rank, *(pair for pair in merges if pair not in self.tokenizer.rank)])


def extend_table(model, length, rows):
    """Appends copies of rows to the integers and the scales of the table of embeddings, which has one for each token so far."""
    for tensor in model.graph.initializer:
        if tensor.name in (f"{TABLE}_quantized", f"{TABLE}_scale"):
            values = numpy_helper.to_array(tensor)
            if len(values) != length:
                raise SystemExit(f"{tensor.name} has {len(values)} rows, the tokenizer {length} tokens")
            tensor.CopyFrom(numpy_helper.from_array(np.concatenate([values, values[rows]]), tensor.name))


def rewrite(path, change, **form):
    with open(path) as file:
        text = file.read()
    content = json.loads(text)
    change(content)
    with open(path, "w") as file:
        file.write(json.dumps(content, ensure_ascii=False, **form) + "\n" * text.endswith("\n"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", required=True)
    parser.add_argument("--model", required=True)
    options = parser.parse_args()
    place = lambda *parts: os.path.join(options.model, *parts)
    with open(os.path.join(options.pack, "concepts.json")) as file:
        pairs = plurals_of(json.load(file))
    with open(place("calotype.json")) as file:
        known = json.load(file)["vocabulary"]

    tokenizer = Tokenizer(place("tokenizer", "tokenizer.json"))
    graph, length = onnx.load(place("text_encoder", "model.onnx")), len(tokenizer)
    others = {word: tokenizer.word_ids(word) for word in known if word not in pairs}
    extension = Extension(tokenizer, others)
    added = [many for many, one in pairs.items() if extension.add(many, one)]
    vocabulary = tokenizer.vocabulary
    assert all(tokenizer.word_ids(word) == ids for word, ids in others.items()), "other words changed"
    assert all(len(tokenizer.word_ids(many)) == 1 for many in added), "a plural is in pieces"

    extend_table(graph, length, list(extension.rows.values()))

    def extend_tokenizer(content):
        content["model"]["vocab"] = vocabulary
        content["model"]["merges"] = [" ".join(pair) for pair in tokenizer.rank]

    rewrite(place("tokenizer", "tokenizer.json"), extend_tokenizer, separators=(",", ":"))
    rewrite(place("text_encoder", "config.json"), lambda config: config.update(vocab_size=len(vocabulary)), indent=2)
    rewrite(place("calotype.json"), lambda page: page["vocabulary"].extend(word for word in added if word not in known), separators=(",", ":"))
    onnx.save(graph, place("text_encoder", "model.onnx"))
    print(f"{len(added)} plurals, {len(vocabulary)} tokens")


if __name__ == "__main__":
    main()
