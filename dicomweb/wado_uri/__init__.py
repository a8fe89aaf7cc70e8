"""WADO-URI: one instance by query parameters (PS3.18 §9)."""
