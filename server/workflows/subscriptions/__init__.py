"""Subscriptions where they cross packages: whose authority they act by, who runs them, who watches them."""
