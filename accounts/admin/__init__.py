"""Admin pages for accounts, keys, credentials and people. Each file registers its own."""

from accounts.admin import accounts, credentials, keys, people, records  # noqa: F401
