"""What runs a network: one module a runtime, one protocol."""
