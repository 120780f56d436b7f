"""Mails about the life of keys and accounts: found, written, and sent once each."""
