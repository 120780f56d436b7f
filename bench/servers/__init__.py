"""The servers that are compared. Each is a context manager that starts one and stops it."""
