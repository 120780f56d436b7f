"""How people get in: passwords, second factors, an identity provider, and what keeps guesses out."""
