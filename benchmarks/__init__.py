"""Speed and memory beside the peers: `python -m benchmarks --help`, and README.md here."""
