"""The admin's pages about customers; each file registers its own."""

from accounts.admin import credentials, keys, pages, people  # noqa: F401
