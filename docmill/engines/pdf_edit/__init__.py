"""Editing the structure of a PDF with qpdf (through pikepdf): pages are moved as they are, never drawn anew.

`opening` opens and repairs, `selection` keeps some pages and what belongs to them, `merging` appends one
document to another; `labels`, `forms`, `tags` and `destinations` are the parts that these need; `saving`
writes with metadata, encryption and linearization.
"""
