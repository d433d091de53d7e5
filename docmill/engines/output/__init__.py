"""Pages of pixels on their way to a file: narrowed without loss, encoded, and put together.

- `page`: what a page of pixels is; `narrow` finds the smallest form that holds all of it.
- `tiff_page`, `tiff_file`: the strips of a page, and the streaming writer of a TIFF of many.
- `png_file`, `pillow_file`: one page a file; `deflate` chooses predictor and compressor for both kinds.
- `plan`: which of these, from what the job asks for; `collect`: one TIFF, a file a page, or a ZIP.

Encoding a page depends on nothing but the page, so it can be done in a process of its own; what comes out
travels as a file.
"""
