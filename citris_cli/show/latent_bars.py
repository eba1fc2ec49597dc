"""Pictures of a frame beside bars of its causal latents, one block of bars a variable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from citris_cli.show.colours import GREY_LIGHT, PAPER_LIGHT, TEXT_LIGHT, mixed, rgb
from citris_cli.show.latents import Group, LatentSequence, axis_ticks
from citris_cli.show.lettering import Font, lettered
from citris_cli.show.panels import panel_count, tile_columns

#: All lengths are pixels.
SIDE, MARGIN, BARS = 256, 16, 320
FONT_SIZE, LINE, SMALL = 13, 18, 11
LABEL_MOST = 170
#: About how wide one of several tiles is shown, by how many stand in a row: a whole number of times its own pixels.
TILE = {1: SIDE, 2: 192, 3: 144, 4: 128}
#: Lines of a frame's interventions that there is room for below it.
CAPTION_LINES = 4
AXIS, GAP, BLOCK_LEAST = 20, 8, 16
#: Height of a row of the variables' blocks and of psi(0)'s: the first that makes the bars no higher than TALL.
ROWS = ((12, 12), (12, 5), (8, 4), (5, 3), (3, 2))
TALL = 460

PAPER, TEXT = rgb(PAPER_LIGHT), rgb(TEXT_LIGHT)
GRID, QUIET = mixed(GREY_LIGHT, PAPER_LIGHT, 0.3), mixed(TEXT_LIGHT, PAPER_LIGHT, 0.7)
#: How much of a variable's colour covers the range that its latents have over the sequence.
RANGE_SHARE = 0.22
#: Between the paper and the text, for the edges of letters.
_SHADES = [mixed(TEXT_LIGHT, PAPER_LIGHT, step / 8) for step in range(9)]


@dataclass(frozen=True)
class _Block:
    """Where a group's bars are: the block's top and height, and for every latent its first and its last line."""

    group: Group
    top: int
    height: int
    bars: tuple[tuple[int, int, int], ...]


class LatentBars:
    """Draws the pictures of a sequence; what is the same in all of them is drawn once.

    Args:
        sequence: what to draw.
    """

    def __init__(self, sequence: LatentSequence) -> None:
        self._sequence = sequence
        self._blocks = _blocks(sequence.groups)
        self._font = ImageFont.load_default(FONT_SIZE)
        self._small = ImageFont.load_default(SMALL)
        names = [lettered(group.name, FONT_SIZE) for group in sequence.groups]
        self._labels = [(shortened(text, font, LABEL_MOST), font) for text, font in names]
        label = max(int(font.getlength(text)) for text, font in self._labels)
        self._frame = frame_size(sequence.pictures.shape[1], sequence.pictures.shape[2], sequence.tiles)
        # Left of a name there is room for the mark of an intervention.
        self._names = 2 * MARGIN + self._frame[0] + MARGIN
        self._left = self._names + label + MARGIN
        width = self._left + BARS + MARGIN
        self._edged = panel_count(sequence.images.shape[-1]) > 1  # a white panel needs an edge
        self.size = width + width % 2, picture_height(sequence.groups, self._frame[1])
        self._background = self._draw_background()

    @property
    def exact_colours(self) -> list[tuple[int, int, int]]:
        """Every colour of the pictures that does not come from the frames."""
        own = [colour for group in self._sequence.groups for colour in (rgb(group.light), _faint(group))]
        return list(dict.fromkeys([PAPER, TEXT, GRID, QUIET, *_SHADES, *own]))

    def __len__(self) -> int:
        return len(self._sequence.images)

    def __iter__(self) -> Iterator[Image.Image]:
        return (self.picture(number) for number in range(len(self)))

    def picture(self, number: int) -> Image.Image:
        """One frame beside its bars.

        Args:
            number: of the frame in the sequence, 0 … N-1.

        Returns:
            RGB, of :attr:`size` in width and height, both even.
        """
        sequence = self._sequence
        picture = self._background.copy()
        draw = ImageDraw.Draw(picture)
        frame, (side, height) = Image.fromarray(sequence.pictures[number]), self._frame
        # By a factor that is not whole, some pixels would come out larger than others.
        even = side % frame.width == 0
        way = Image.Resampling.NEAREST if even else Image.Resampling.BICUBIC
        picture.paste(frame.resize(self._frame, way), (MARGIN, MARGIN))
        if self._edged:
            draw.rectangle([MARGIN - 1, MARGIN - 1, MARGIN + side, MARGIN + height], outline=GRID)
        below = MARGIN + height + GAP
        draw.text((MARGIN, below), f"frame {sequence.first + number}", TEXT, self._font)
        caption, font = lettered(sequence.caption(number), FONT_SIZE)
        lines = wrapped(caption, font, side)
        for line, text in enumerate(lines[:CAPTION_LINES], start=1):
            more = " …" if line == CAPTION_LINES < len(lines) else ""
            draw.text((MARGIN, below + line * LINE), text + more, QUIET, font)
        if sequence.legend:
            room = side - int(self._font.getlength("frame 00000 "))
            draw.text((MARGIN + side, below), shortened(sequence.legend, self._small, room), QUIET, self._small, "ra")
        zero = self._at(0.0)
        for block in self._blocks:
            for latent, top, bottom in block.bars:
                left, right = sorted((zero, self._at(float(sequence.z[number, latent]))))
                draw.rectangle([left, top, right, bottom], rgb(block.group.light))
                if sequence.spread is not None:
                    ends = (self._at(float(value)) for value in sequence.spread[:, number, latent])
                    middle = (top + bottom) // 2
                    draw.line([point for end in ends for point in (end, middle)], TEXT)
            draw.line([(zero, block.top - 1), (zero, block.top + block.height)], TEXT)
        for index in sequence.marked(number):
            self._mark(draw, self._blocks[index])
        return picture

    def _mark(self, draw: ImageDraw.ImageDraw, block: _Block) -> None:
        """A frame around the block and a triangle before its name: seen without any colour."""
        box = [self._names - MARGIN, block.top - 3, self._left + BARS + 5, block.top + block.height + 2]
        draw.rounded_rectangle(box, 3, outline=TEXT, width=2)
        x, y = self._names - 10, block.top + block.height // 2
        draw.polygon([(x, y - 4), (x, y + 4), (x + 6, y)], TEXT)

    def _draw_background(self) -> Image.Image:
        picture = Image.new("RGB", self.size, PAPER)
        draw = ImageDraw.Draw(picture)
        end = self._blocks[-1].top + self._blocks[-1].height + GAP // 2
        for tick in axis_ticks(*self._sequence.limits):
            x = self._at(tick)
            draw.text((x, MARGIN), f"{tick:.6g}", QUIET, self._small, anchor="ma")
            draw.line([(x, MARGIN + AXIS - 4), (x, end)], GRID)
        low, high = self._sequence.ranges
        for block, (label, font) in zip(self._blocks, self._labels, strict=True):
            y = block.top + block.height // 2
            draw.text((self._names, y), label, TEXT, font, anchor="lm")
            for latent, top, bottom in block.bars:
                left, right = self._at(float(low[latent])), self._at(float(high[latent]))
                draw.rectangle([left, top, right, bottom], _faint(block.group))
            if not block.bars:
                x, half = self._left + BARS // 2, self._small.getlength("no latents") / 2 + 3
                draw.rectangle([x - half, block.top, x + half, block.top + block.height], PAPER)
                draw.text((x, y), "no latents", QUIET, self._small, anchor="mm")
        return picture

    def _at(self, value: float) -> int:
        low, high = self._sequence.limits
        return self._left + round((value - low) / (high - low) * (BARS - 1))


def frame_size(height: int, width: int, tiles: int = 1) -> tuple[int, int]:
    """Width and height that a frame, or several as tiles of one, is shown in.

    Args:
        height, width: of the picture in pixels, with all panels and tiles.
        tiles: how many frames it holds side by side and below each other.
    """
    if tiles == 1:
        return SIDE, SIDE * height // width
    columns = tile_columns(tiles)
    factor = max(1, round(TILE[columns] * columns / width))
    return width * factor, height * factor


def widest(frame: int) -> int:
    """Width that no picture beside whose frame, of this width, the bars stand has; most have shorter names."""
    return 2 * MARGIN + frame + MARGIN + LABEL_MOST + MARGIN + BARS + MARGIN


def picture_height(groups: Sequence[Group], frame: int) -> int:
    """Height of the pictures of a sequence, in pixels; even, as MP4 wants it.

    Args:
        groups: of its latents.
        frame: height of the frame in them, see :func:`frame_size`.
    """
    last = _blocks(groups)[-1]
    height = max(last.top + last.height, MARGIN + frame + GAP + (1 + CAPTION_LINES) * LINE) + MARGIN
    return height + height % 2


def _blocks(groups: Sequence[Group]) -> list[_Block]:
    """The blocks of all groups, in rows as high as make them no higher than TALL together, if any do."""
    blocks: list[_Block] = []
    for row, rest_row in ROWS:
        blocks, top = [], MARGIN + AXIS + GAP // 2
        for number, group in enumerate(groups):
            own = rest_row if number == len(groups) - 1 else row
            count = len(group.latents)
            height = max(BLOCK_LEAST, own * count)
            first = top + (height - own * count + own // 4) // 2
            bars = tuple(
                (latent, first + i * own, first + (i + 1) * own - 1 - own // 4)
                for i, latent in enumerate(group.latents)
            )
            blocks.append(_Block(group, top, height, bars))
            top += height + GAP
        if top <= TALL:
            break
    return blocks


def _faint(group: Group) -> tuple[int, int, int]:
    return mixed(group.light, PAPER_LIGHT, RANGE_SHARE)


def shortened(text: str, font: Font, width: int) -> str:
    """A text that is at most so many pixels wide, its end left out if need be."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


def wrapped(text: str, font: Font, width: int) -> list[str]:
    """A text in lines that are at most so many pixels wide, broken at its blanks."""
    lines = [""]
    for word in text.split(" "):
        word = shortened(word, font, width)
        longer = f"{lines[-1]} {word}".lstrip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
