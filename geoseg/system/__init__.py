"""The machine: processors, memory, allocator, threads, and a cache folder."""
