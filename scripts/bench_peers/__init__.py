"""What `scripts/bench.py` compares: one file for each peer, with its server and its own client; the tools in `kit`."""
