"""Pages to sign in at: by a one-time link, or at an issuer of OpenID Connect."""
