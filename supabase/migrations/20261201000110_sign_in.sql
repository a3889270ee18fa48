-- Who somebody is, over HTTP: identities at issuers, tokens of programs, sessions, and links that sign
-- in once. Of a secret there is only its SHA-256: it has 256 random bits, so nobody guesses one.
-- People reach these tables through rota alone.

-- Whom an issuer (OpenID Connect) means by a subject.
CREATE TABLE rota.identities (
    issuer text NOT NULL CHECK (length(issuer) BETWEEN 1 AND 1000),
    subject text NOT NULL CHECK (length(subject) BETWEEN 1 AND 1000),
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    origin text NOT NULL CHECK (origin IN ('operator', 'email')), -- who linked them
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX identities_user_id_idx ON rota.identities (user_id);
SELECT rota.keep_to_backend('rota.identities');

CREATE TABLE rota.api_tokens (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    hash bytea NOT NULL UNIQUE CHECK (length(hash) = 32),
    scopes text[] NOT NULL CHECK (
        cardinality(scopes) > 0 AND scopes <@ ARRAY['read', 'trigger', 'manage', 'decide']),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz, -- NULL: never
    last_used_at timestamptz,
    CONSTRAINT api_tokens_user_id_name_key UNIQUE (user_id, name)
);
SELECT rota.keep_to_backend('rota.api_tokens');

CREATE TABLE rota.sessions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    hash bytea NOT NULL UNIQUE CHECK (length(hash) = 32),
    signed_in_by text NOT NULL CHECK (signed_in_by IN ('link', 'oidc')),
    user_agent text NOT NULL CHECK (length(user_agent) <= 200),
    created_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    idle_ends_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL
);
CREATE INDEX sessions_user_id_idx ON rota.sessions (user_id);
SELECT rota.keep_to_backend('rota.sessions');

CREATE TABLE rota.sign_in_links (
    hash bytea PRIMARY KEY CHECK (length(hash) = 32),
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);
CREATE INDEX sign_in_links_user_id_idx ON rota.sign_in_links (user_id);
SELECT rota.keep_to_backend('rota.sign_in_links');
