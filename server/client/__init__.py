"""Clients of the server: sending studies to it, and the demo. They know it by its public surface only."""
