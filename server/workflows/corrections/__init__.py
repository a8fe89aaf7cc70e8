"""Attribute corrections by administrators (DESIGN §5, Corrections; docs/decisions/0023)."""
