"""The authorization endpoint: what an app asks, and the pages on which a user answers."""
