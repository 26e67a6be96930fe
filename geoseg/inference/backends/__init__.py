"""Backends, which run a network: one protocol, one module per runtime."""
