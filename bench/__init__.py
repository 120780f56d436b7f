"""Benchmarks. `make bench` runs bench.gate."""
