"""Rows of identities, API tokens, sessions and sign-in links."""
