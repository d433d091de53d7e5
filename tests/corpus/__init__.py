"""Scores docmill's conversions of a folder of pictures and PDFs against independent decoders."""
