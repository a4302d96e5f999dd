"""What a composed picture shows, as numbers the judge can learn from."""

from dataclasses import dataclass, field

from .filters import FILTERS
from .grammar import COUNT_WORDS, STYLE_WORDS
from .palette import COLOURS, MATERIALS
from .scenes import SCENE_PHRASES

UNKNOWN = -1
STYLES = list(STYLE_WORDS)
COLOUR_NAMES = list(COLOURS)
SCENES = ["none"] + list(SCENE_PHRASES)
MATERIAL_NAMES = ["none"] + list(MATERIALS)
FILTER_NAMES = ["none"] + FILTERS
COUNTS = [1] + list(COUNT_WORDS)
AXES = ["none", "across", "down"]

# the order of the columns in `Labels.row`
COLUMNS = ["first", "second", "style", "colour", "scene", "material", "filter", "count", "axis"]


@dataclass
class Labels:
    """Concept indices in reading order (left or top first where `axis` says how they lie) and one class per head.

    `colour` is the colour given to the first concept, UNKNOWN where none was given.
    """

    concepts: list = field(default_factory=list)
    style: str = None
    colour: str = None
    scene: str = "none"
    material: str = "none"
    filter: str = "none"
    count: int = 1
    axis: str = "none"

    def row(self):
        second = self.concepts[1] if len(self.concepts) > 1 else UNKNOWN
        return [
            self.concepts[0], second,
            STYLES.index(self.style) if self.style else UNKNOWN,
            COLOUR_NAMES.index(self.colour) if self.colour else UNKNOWN,
            SCENES.index(self.scene), MATERIAL_NAMES.index(self.material), FILTER_NAMES.index(self.filter),
            COUNTS.index(self.count), AXES.index(self.axis),
        ]
