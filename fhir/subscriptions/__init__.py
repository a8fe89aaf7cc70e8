"""Subscriptions by rest-hook (FHIR R4 subscription.html)."""
