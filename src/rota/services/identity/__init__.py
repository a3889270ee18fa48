"""Use cases of identity: tokens, sessions, sign-in links, and identities at issuers."""
