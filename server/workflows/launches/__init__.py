"""Launches that an EHR prepares with what its user looks at."""
