"""Pure ASGI middleware, health and metrics."""
