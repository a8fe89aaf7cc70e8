"""Which Consents are enforced, for administrators and metrics."""
