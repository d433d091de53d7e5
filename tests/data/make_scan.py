"""Makes scan.tif: four A4 pages that look like a letter off a scanner. `python tests/data/make_scan.py`"""

from __future__ import annotations

import random
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

A4 = (2480, 3508)  # pixels at 300 dpi
PAGES = 4
MARGIN = 300
PARAGRAPHS = (
    "The mill stands where the brook leaves the wood. Its wheel has turned for two hundred years, and the "
    "papers that tell of it fill eleven boxes: deeds, receipts, letters, and the miller's own accounts.",
    "In the spring the water is high and the stones run day and night. In August they stand still, and "
    "the miller mends the sluice, dresses the stones, and writes down what the winter has cost.",
    "Every sack that came in was weighed and marked with its owner's sign. The flour went back under the "
    "same sign, less a sixteenth, which was the miller's share. Nobody ever found a sack exchanged.",
    "When the railway came, the carts went elsewhere. The last entry in the book is of a Tuesday: two "
    "bushels of rye for the baker, paid in full. Below it someone has drawn the wheel, with all its spokes.",
)


def main() -> None:
    """Write scan.tif beside this file: bilevel, Group 4, in strips of 64 rows, as scanners do."""
    chance = random.Random(1827)
    pages = [scanned(page_of_text(number, chance), chance) for number in range(1, PAGES + 1)]
    pages[0].save(
        Path(__file__).with_name("scan.tif"),
        save_all=True,
        append_images=pages[1:],
        compression="group4",
        dpi=(300, 300),
        tiffinfo={278: 64},
    )


def page_of_text(number: int, chance: random.Random) -> Image.Image:
    """A page set in the font that comes with Pillow."""
    page = Image.new("L", A4, 255)
    draw = ImageDraw.Draw(page)
    head, body = ImageFont.load_default(70), ImageFont.load_default(46)
    draw.text((MARGIN, MARGIN), f"The papers of the mill, box {number}", font=head, fill=0)
    draw.line((MARGIN, MARGIN + 110, A4[0] - MARGIN, MARGIN + 110), fill=0, width=4)
    top = MARGIN + 200
    for paragraph in chance.sample(PARAGRAPHS, len(PARAGRAPHS)):
        text = "\n".join(textwrap.wrap(paragraph, 78))
        draw.multiline_text((MARGIN, top), text, font=body, fill=0, spacing=24)
        top += 70 * (text.count("\n") + 1) + 90
    draw.text((A4[0] // 2, A4[1] - MARGIN), str(number), font=body, fill=0, anchor="mm")
    return page


def scanned(page: Image.Image, chance: random.Random) -> Image.Image:
    """The page as a scanner gives it: not quite straight, with specks, in black and white."""
    turned = page.rotate(chance.uniform(-0.6, 0.6), Image.Resampling.BICUBIC, fillcolor=255)
    draw = ImageDraw.Draw(turned)
    for _ in range(120):
        x, y, size = chance.randrange(A4[0]), chance.randrange(A4[1]), chance.randint(1, 4)
        draw.ellipse((x, y, x + size, y + size), fill=0)
    return turned.point(lambda value: 255 if value > 150 else 0).convert("1")


if __name__ == "__main__":
    main()
