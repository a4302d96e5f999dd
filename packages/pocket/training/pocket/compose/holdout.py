"""The hold-out rule: which combinations training never draws.

A combination is held out by a hash of its words, so that training, the judge and the evaluation
agree without a list. One in MODULUS[kind] combinations is held out.
"""

MODULUS = {"color": 12, "pair": 10, "style": 12, "scene": 12, "wear": 6, "material": 12, "filter": 12, "count": 8}


def _hash(text):
    """FNV-1a with a murmur-style finaliser, 32 bits."""
    value = 2166136261
    for byte in text.encode():
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    value ^= value >> 15
    value = (value * 0x85EBCA6B) & 0xFFFFFFFF
    return value ^ (value >> 13)


def is_held_out(kind, *parts):
    """True where the combination is for evaluation only; pairs must come in sorted order."""
    return _hash(kind + "|" + "|".join(parts)) % MODULUS[kind] == 0
