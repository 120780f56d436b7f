"""Benchmarks: `make bench` compares the gate with others, `python -m bench.cpu` with an earlier checkout of itself."""
