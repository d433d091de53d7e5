"""Importing this gets a process ready to check outputs, which takes longer than most checks.

The sandbox's server does it, so that the workers that it forks need not.
"""

from __future__ import annotations

from PIL import Image, TiffImagePlugin  # noqa: F401 (registers itself)

from docmill import pdfium
from docmill.engines.verify import compare, images  # noqa: F401 (to be loaded)

# What Pillow does when it opens its first file: reads in its commonest formats.
Image.preinit()
pdfium.load()
