"""One spaCy model as an HTTP service, as a team that serves models might write it."""
