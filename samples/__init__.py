"""What the stacks protect: small services that stand for a user's own."""
