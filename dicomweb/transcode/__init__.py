"""Stored instances in another transfer syntax than they are stored in (PS3.18 §8.7.3.4)."""
