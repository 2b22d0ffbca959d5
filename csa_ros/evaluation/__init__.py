"""How well it sees: benchmarks with their published protocols, and what comes of them."""
