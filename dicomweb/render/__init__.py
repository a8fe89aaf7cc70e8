"""Rendered resources (PS3.18 10.4, §8.3.5, §8.7.4): frames as pictures, documents as text."""
