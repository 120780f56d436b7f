"""Everything on one machine without Docker: run by `make demo` and tested by tests/stack/."""
