"""Login at an external OpenID provider (OpenID Connect Core 1.0): its word for who somebody is, checked."""
