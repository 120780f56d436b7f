"""Everything on one machine without Docker: what `make demo` runs and what tests/stack/ tests."""
