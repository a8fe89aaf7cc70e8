"""Audit entries rendered and forwarded."""
