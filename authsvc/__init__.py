"""A self-hosted gate for model APIs."""

__version__ = "0.2.0"
