-- What a request of the HTTP API was answered that bears the header Idempotency-Key, kept for a day.
-- A request holds its key while it is under way; whoever takes a key over from a process that died
-- becomes its holder. Each transaction of a request notes that it has an effect, if its request still
-- holds the key, and else is rolled back: see rota/store/idempotency.py.
CREATE TABLE rota.idempotency_keys (
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    key text NOT NULL CHECK (octet_length(key) BETWEEN 1 AND 255),
    request bytea NOT NULL CHECK (octet_length(request) = 32), -- SHA-256 of method, path and body
    created_at timestamptz NOT NULL DEFAULT now(),
    holder uuid NOT NULL,
    held_until timestamptz NOT NULL,
    has_effect boolean NOT NULL DEFAULT false,
    run_id uuid, -- the one run that it asked for, if it asked for one
    status smallint, -- of the answer; NULL while the request is under way
    answer bytea CHECK (octet_length(answer) <= 300000), -- sealed; NULL where it was too long
    PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_keys_created_at_idx ON rota.idempotency_keys (created_at);
SELECT rota.keep_to_backend('rota.idempotency_keys');
