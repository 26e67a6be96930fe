"""The network that is trained: how it starts, what it minimises, how it is run."""
