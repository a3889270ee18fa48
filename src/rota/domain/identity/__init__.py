"""Values of identity: scopes, tokens, sessions, and who an issuer means."""
