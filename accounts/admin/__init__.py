"""Admin pages for accounts, keys, credentials and people. Each file registers its own."""

from accounts.admin import credentials, keys, pages, people  # noqa: F401
