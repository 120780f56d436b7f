"""Signing in: passwords, second factors, an identity provider, and limits on guessing."""
