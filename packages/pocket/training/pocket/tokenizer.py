"""Reads the shipped tokenizer.json and encodes captions exactly as its byte-level BPE describes."""

import json
import unicodedata

import numpy as np

CONTEXT_LENGTH = 32
_SUFFIXES = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")


def _is_letter(char):
    return unicodedata.category(char).startswith("L")


def _is_number(char):
    return unicodedata.category(char).startswith("N")


def split_words(text):
    """CLIP's word pattern: contractions, runs of letters, single digits, runs of anything else but spaces."""
    words, i = [], 0
    while i < len(text):
        suffix = next((s for s in _SUFFIXES if text.startswith(s, i)), None)
        if suffix:
            words.append(suffix)
            i += len(suffix)
        elif text[i].isspace():
            i += 1
        elif _is_number(text[i]):
            words.append(text[i])
            i += 1
        else:
            letters, start = _is_letter(text[i]), i
            while i < len(text) and not text[i].isspace() and not _is_number(text[i]) and _is_letter(text[i]) == letters:
                i += 1
            words.append(text[start:i])
    return words


def _byte_alphabet():
    printable = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or 174 <= b <= 255]
    alphabet = {b: chr(b) for b in printable}
    for offset, b in enumerate(b for b in range(256) if b not in alphabet):
        alphabet[b] = chr(256 + offset)
    return alphabet


class Tokenizer:
    def __init__(self, path, context_length=CONTEXT_LENGTH):
        with open(path) as file:
            model = json.load(file)["model"]
        self.alphabet = _byte_alphabet()
        self.context_length = context_length
        self.use(model["vocab"], [tuple(merge.split(" ")) for merge in model["merges"]])

    def use(self, vocabulary, merges):
        self.vocabulary = vocabulary
        self.rank = {pair: i for i, pair in enumerate(merges)}
        self.start, self.end = vocabulary["<|startoftext|>"], vocabulary["<|endoftext|>"]
        self._cache = {}

    def __len__(self):
        return len(self.vocabulary)

    def word_ids(self, word):
        """The tokens of a word in lower case."""
        ids = self._cache.get(word)
        if ids is None:
            symbols = [self.alphabet[b] for b in word.encode()]
            symbols[-1] += "</w>"
            while len(symbols) > 1:
                ranked = [(self.rank.get(pair, len(self.rank)), i) for i, pair in enumerate(zip(symbols, symbols[1:]))]
                rank, i = min(ranked)
                if rank == len(self.rank):
                    break
                symbols[i: i + 2] = [symbols[i] + symbols[i + 1]]
            ids = self._cache[word] = [self.vocabulary[symbol] for symbol in symbols]
        return ids

    def encode(self, text):
        """Start, words, end; cut and padded (with the end token) to the context length."""
        text = " ".join(unicodedata.normalize("NFC", text).lower().split())
        ids = [i for word in split_words(text) for i in self.word_ids(word)][: self.context_length - 2]
        row = [self.start, *ids, self.end]
        return row + [self.end] * (self.context_length - len(row))

    def encode_all(self, texts):
        return np.array([self.encode(text) for text in texts], np.int16)
