"""Raster pages for PDF: copied where PDF can hold the stream as it is, else re-encoded without loss."""
