"""Commands about who you are: API tokens, and links to sign in."""
