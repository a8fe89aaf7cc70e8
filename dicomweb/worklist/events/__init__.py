"""Subscriptions to the worklist, and what is reported (PS3.18 §11.10–11.12, PS3.4 CC.2.3, CC.2.4)."""
