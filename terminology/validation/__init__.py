"""Validation of codes, part by part; `terminology/validate_code.py` and `membership.py` are its doors."""
