"""Caption grammar: articles, plurals, style words."""

STYLE_WORDS = {
    "3d": ["3d", "3d render", "3d icon"],
    "flat": ["flat", "flat vector", "flat icon"],
    "cartoon": ["cartoon", "cartoon", "noto"],
    "retro": ["retro", "retro blob"],
}
COUNT_WORDS = {2: "two", 3: "three", 4: "four", 5: "five", 9: "many"}
_NO_PLURAL = {
    "skis", "goggles", "briefs", "milk", "bread", "fire", "snow", "ice", "popcorn", "bacon", "coffee", "broccoli", "garlic", "sushi",
    "spaghetti", "rice", "tea", "wine", "beer", "corn", "dna", "soap", "yarn", "thread", "wood",
}


def a(word):
    """The indefinite article that fits a word."""
    return "an" if word[0] in "aeiou" else "a"


def strip_article(text):
    for article in ("a ", "an ", "the "):
        if text.startswith(article):
            return text[len(article):]
    return text


def with_article(noun, concept=None):
    """Adds the article unless the concept's own phrase for this noun has none (plural or mass noun)."""
    if concept:
        for name, phrase in sorted(zip(concept["names"], concept["phrases"]), key=lambda pair: -len(pair[0])):
            if noun == name or noun.endswith(" " + name):
                if phrase == name:
                    return noun
                break
    if noun.split(" ")[0] in ("two", "three", "planet", "earth", "half"):
        return noun
    if noun.startswith(("unicorn", "unicycle", "ufo", "uni", "euro", "one")):
        return "a " + noun
    return ("an " if noun[0] in "aeiou" or noun.startswith(("hour", "x-ray")) else "a ") + noun


def can_be_plural(noun):
    looks_plural = noun.endswith("s") and not noun.endswith(("ss", "us", "is"))
    return noun not in _NO_PLURAL and not looks_plural and " of " not in noun and " with " not in noun and len(noun.split()) <= 2


def plural(noun):
    if noun.endswith("man") and not noun.endswith("human"):
        return noun[:-3] + "men"
    if noun in ("fish", "sheep", "deer", "squid"):
        return noun
    for ending, replacement in (("mouse", "mice"), ("leaf", "leaves"), ("wolf", "wolves")):
        if noun.endswith(ending):
            return noun[: -len(ending)] + replacement
    if noun.endswith(("s", "x", "z", "ch", "sh", "tomato", "potato")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def add_style(caption, style, rng):
    """Names the drawing style in one of four places; the default style (3d) mostly goes unnamed."""
    if (style == "3d" and rng.random() < 0.7) or rng.random() < 0.03:
        return caption
    if caption.startswith(("an emoji of", "a picture of")):
        return f"{caption}, {STYLE_WORDS[style][0]} style"
    word = rng.choice(STYLE_WORDS[style])
    place = rng.random()
    if word.endswith(("icon", "render")):
        return f"{caption}, {word}" if place < 0.35 else f"{word} {strip_article(caption)}" if place > 0.8 else f"{word} of {caption}"
    if place < 0.35:
        return f"{caption}, {word} style"
    if place < 0.6:
        return f"{word} style {strip_article(caption)}"
    return f"{caption} in {word} style" if place < 0.8 else f"{word} {strip_article(caption)}"


def in_style(noun, style, rng):
    """A noun phrase with its style's word, for captions that name several styles."""
    word, bare = STYLE_WORDS[style][0], strip_article(noun)
    if rng.random() < 0.4:
        return f"{noun} in {word} style"
    return f"{word} {bare}" if bare == noun else f"{a(word)} {word} {bare}"
