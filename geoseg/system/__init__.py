"""What this machine is and has: processors, memory, threads, a cache folder."""
