"""Sixteen procedural backdrops, drawn at twice the size and averaged down."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE = 256
_W = SIZE * 2

SCENE_PHRASES = {
    "snow": ["in the snow", "in a snowy field", "in winter"],
    "meadow": ["in a meadow", "on the grass", "on a green hill"],
    "night": ["at night", "under the stars", "under a starry sky"],
    "space": ["in space", "in outer space", "floating among the stars"],
    "beach": ["on the beach", "on a sandy beach", "by the sea"],
    "desert": ["in the desert", "on a sand dune"],
    "sunset": ["at sunset", "in front of a sunset"],
    "underwater": ["underwater", "under the sea", "in the ocean"],
    "city": ["in the city", "in front of a city skyline"],
    "rain": ["in the rain", "on a rainy day"],
    "forest": ["in the forest", "in front of pine trees"],
    "mountains": ["in the mountains", "in front of mountains"],
    "table": ["on a wooden table", "on a table"],
    "stage": ["on a stage", "in a spotlight"],
    "clouds": ["in the clouds", "in the sky"],
    "rainbow": ["under a rainbow", "with a rainbow behind it"],
}
FLOATING = {"space", "underwater", "clouds"}
OUTDOOR_GROUND = ["snow", "meadow", "beach", "desert", "sunset", "mountains", "night", "forest"]
_CLOUD_PUFFS = ((-1, 0.15, 0.6), (0, -0.2, 0.85), (0.95, 0.1, 0.65), (0.4, 0.3, 0.6), (-0.45, 0.3, 0.6))


class Backdrop:
    """One scene's drawing: `image`, the ground's height in pixels, and what falls in front."""

    def __init__(self, kind, rng):
        self.rng = rng
        self.canvas = Image.new("RGB", (_W, _W))
        self.draw = ImageDraw.Draw(self.canvas)
        self.ground = 196 + rng.randint(-8, 8)
        self.falling = None
        getattr(self, "_" + kind)()
        self.image = self.canvas.resize((SIZE, SIZE), Image.BOX)

    # ---- parts
    def _tint(self, colour, amount=14):
        return tuple(min(255, max(0, c + self.rng.randint(-amount, amount))) for c in colour)

    def _sky(self, top, bottom, y0=0, y1=_W):
        t = np.linspace(0, 1, y1 - y0)[:, None, None]
        rows = np.array(self._tint(top)) * (1 - t) + np.array(self._tint(bottom)) * t
        self.canvas.paste(Image.fromarray(np.broadcast_to(rows, (y1 - y0, _W, 3)).clip(0, 255).astype(np.uint8)), (0, y0))

    def _hill(self, y, colour, height=40):
        phase, frequency = self.rng.uniform(0, 6), self.rng.uniform(0.006, 0.012)
        ridge = [(x, y + height * math.sin(frequency * x + phase)) for x in range(0, _W + 8, 8)]
        self.draw.polygon(ridge + [(_W, _W), (0, _W)], fill=colour)

    def _disc(self, x, y, radius, **style):
        self.draw.ellipse([x - radius, y - radius, x + radius, y + radius], **style)

    def _cloud(self, x, y, size, colour=(255, 255, 255)):
        for dx, dy, r in _CLOUD_PUFFS:
            self.draw.ellipse([x + (dx - r) * size, y + (dy - r * 0.75) * size, x + (dx + r) * size, y + (dy + r * 0.75) * size], fill=colour)

    def _stars(self, count, bottom=_W):
        for _ in range(count):
            self._disc(self.rng.randrange(_W), self.rng.randrange(bottom), self.rng.choice([1, 1, 2, 3]), fill=(255, 250, self.rng.randint(220, 255)))

    # ---- scenes
    def _snow(self):
        self._sky((150, 195, 240), (225, 238, 252))
        self._hill(300, self._tint((215, 230, 246)))
        self._hill(360, (244, 249, 255), 24)
        self.falling = "snow"

    def _meadow(self):
        self._sky((110, 190, 250), (205, 235, 255))
        for _ in range(3):
            self._cloud(self.rng.randint(0, _W), self.rng.randint(30, 150), self.rng.randint(28, 48))
        self._hill(310, self._tint((120, 200, 90)))
        self._hill(370, self._tint((90, 180, 70)), 22)
        for _ in range(26):
            self._disc(self.rng.randint(0, _W), self.rng.randint(400, _W), 4, fill=self.rng.choice([(255, 230, 90), (255, 255, 255), (255, 150, 180)]))

    def _night(self):
        self._sky((14, 18, 56), (52, 58, 120))
        self._stars(90, 330)
        self._disc(self.rng.randint(60, 440), 74, 34, fill=(255, 246, 200))
        self._hill(380, self._tint((24, 34, 60)))

    def _space(self):
        self._sky((10, 6, 32), (44, 16, 74))
        self._stars(150)
        self._disc(self.rng.randint(40, 470), self.rng.randint(40, 470), self.rng.randint(24, 60), fill=self._tint((200, 120, 90), 60))
        self.ground = 132

    def _beach(self):
        self._sky((100, 190, 250), (190, 230, 255), 0, 240)
        self.draw.rectangle([0, 236, _W, 340], fill=self._tint((40, 150, 205)))
        self._hill(335, self._tint((245, 220, 160)), 10)

    def _desert(self):
        self._sky((255, 190, 110), (255, 225, 170))
        self._disc(370, 90, 40, fill=(255, 245, 200))
        self._hill(310, self._tint((230, 165, 90)), 46)
        self._hill(380, self._tint((240, 185, 110)), 26)

    def _sunset(self):
        self._sky((90, 50, 130), (255, 150, 80), 0, 350)
        self._disc(self.rng.randint(130, 380), 300, 70, fill=(255, 225, 120))
        self.draw.rectangle([0, 330, _W, _W], fill=self._tint((70, 45, 95)))

    def _underwater(self):
        self._sky((60, 185, 225), (8, 60, 130))
        self._hill(450, self._tint((220, 200, 150)), 12)
        for _ in range(34):
            self._disc(self.rng.randint(0, _W), self.rng.randint(0, _W), self.rng.randint(3, 11), outline=(200, 240, 255), width=2)
        self.ground = 140

    def _city(self):
        self._sky((130, 170, 220), (235, 225, 225))
        for x in range(0, _W, 46):
            height = self.rng.randint(110, 300)
            self.draw.rectangle([x, 400 - height, x + 42, 420], fill=self._tint((95, 105, 140), 24))
            for column in range(2):
                for row in range(height // 20 - 1):
                    if self.rng.random() < 0.6:
                        left, top = x + 8 + 14 * column, 410 - height + 20 * row
                        self.draw.rectangle([left, top, left + 6, top + 10], fill=(255, 235, 160))
        self.draw.rectangle([0, 400, _W, _W], fill=self._tint((90, 92, 100)))

    def _rain(self):
        self._sky((90, 105, 130), (150, 165, 185))
        self._hill(410, self._tint((85, 100, 105)), 10)
        for _ in range(4):
            self._cloud(self.rng.randint(0, _W), self.rng.randint(10, 80), self.rng.randint(44, 66), self._tint((120, 130, 150)))
        self.falling = "rain"

    def _forest(self):
        self._sky((175, 220, 235), (225, 240, 230))
        for row, colour in ((300, (70, 140, 100)), (350, (45, 110, 75))):
            for x in range(-20, _W + 20, 58):
                x, height = x + self.rng.randint(-14, 14), self.rng.randint(130, 220)
                self.draw.polygon([(x - 44, row + 60), (x, row + 60 - height), (x + 44, row + 60)], fill=self._tint(colour, 10))
        self.draw.rectangle([0, 400, _W, _W], fill=self._tint((105, 150, 80)))

    def _mountains(self):
        self._sky((140, 200, 245), (220, 238, 250))
        for _ in range(4):
            x, height, half = self.rng.randint(0, _W), self.rng.randint(160, 290), self.rng.randint(150, 230)
            self.draw.polygon([(x - half, 400), (x, 400 - height), (x + half, 400)], fill=self._tint((115, 125, 150), 20))
            snow, line = half * 0.28, 400 - height * 0.72
            self.draw.polygon([(x - snow, line), (x, 400 - height), (x + snow, line)], fill=(248, 250, 255))
        self._hill(390, self._tint((110, 170, 90)), 14)

    def _table(self):
        self.canvas.paste(self._tint((225, 215, 200), 25), (0, 0, _W, _W))
        wood = self._tint((165, 105, 60))
        self.draw.rectangle([0, 340, _W, _W], fill=wood)
        for y in range(370, _W, 38):
            self.draw.line([0, y, _W, y + self.rng.randint(-3, 3)], fill=tuple(max(0, c - 18) for c in wood), width=3)

    def _stage(self):
        curtain = self._tint((120, 20, 40))
        self.canvas.paste(curtain, (0, 0, _W, _W))
        for x in range(0, _W, 52):
            self.draw.rectangle([x, 0, x + 20, 400], fill=tuple(int(c * 0.75) for c in curtain))
        self.draw.rectangle([0, 390, _W, _W], fill=self._tint((110, 70, 45)))
        light = Image.new("L", (_W, _W), 0)
        ImageDraw.Draw(light).polygon([(230, 0), (282, 0), (470, 450), (42, 450)], fill=85)
        self.canvas.paste((255, 250, 210), (0, 0), light.filter(ImageFilter.BoxBlur(9)))

    def _clouds(self):
        self._sky((90, 165, 245), (190, 225, 255))
        for _ in range(7):
            y = self.rng.choice([self.rng.randint(20, 140), self.rng.randint(380, 500)])
            self._cloud(self.rng.randint(0, _W), y, self.rng.randint(40, 74))
        self.ground = 134

    def _rainbow(self):
        self._sky((140, 200, 250), (225, 242, 255))
        bands = [(240, 80, 80), (250, 160, 60), (250, 225, 80), (110, 200, 100), (80, 150, 240), (150, 100, 220), (205, 232, 252)]
        for i, colour in enumerate(bands):
            self._disc(256, 330, 250 - i * 20, fill=colour)
        self._hill(380, self._tint((100, 190, 90)), 14)

    # ---- in front of everything
    def draw_falling(self, image):
        draw, rng = ImageDraw.Draw(image), self.rng
        if self.falling == "snow":
            for _ in range(46):
                x, y, size = rng.randint(0, SIZE), rng.randint(0, SIZE), rng.choice([2, 3, 3, 5])
                draw.ellipse([x, y, x + size, y + size], fill=(255, 255, 255))
        if self.falling == "rain":
            for _ in range(60):
                x, y = rng.randint(0, SIZE + 20), rng.randint(-10, SIZE)
                draw.line([x, y, x - 5, y + 15], fill=(195, 215, 240), width=1)
