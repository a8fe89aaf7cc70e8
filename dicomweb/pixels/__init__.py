"""Pixel data decoded and coded again, in child processes only (PS3.5 §8, Annex A; PS3.3 C.7.6.3)."""
