-- Sessions and links that are over, and tokens that expired a while ago.
WITH links AS (
    DELETE FROM rota.sign_in_links WHERE expires_at <= %(now)s
), tokens AS (
    DELETE FROM rota.api_tokens WHERE expires_at <= %(tokens_before)s
)
DELETE FROM rota.sessions WHERE idle_ends_at <= %(now)s OR ends_at <= %(now)s
