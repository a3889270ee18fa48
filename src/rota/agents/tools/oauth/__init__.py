"""OAuth: how grants are got from providers, refreshed and revoked."""
