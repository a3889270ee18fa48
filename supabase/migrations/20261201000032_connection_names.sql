-- Connections have a name, so that a person has several of a kind; and what keeps them alive without
-- anybody looking: a lease, when to refresh and to check, and what their owner was told.

ALTER TABLE public.connections
    ADD COLUMN name text,
    ADD COLUMN refresh_at timestamptz,
    ADD COLUMN check_at timestamptz NOT NULL DEFAULT now() + random() * interval '1 day',
    ADD COLUMN lease_holder uuid,
    ADD COLUMN lease_until timestamptz,
    ADD COLUMN troubled_since timestamptz,
    ADD COLUMN told text NOT NULL DEFAULT '';
UPDATE public.connections SET name = service;
UPDATE public.connections SET troubled_since = now() WHERE state <> 'ok';
ALTER TABLE public.connections
    ALTER COLUMN name SET NOT NULL,
    DROP CONSTRAINT connections_user_id_service_key,
    DROP CONSTRAINT connections_service_check,
    ADD CONSTRAINT connections_user_id_name_key UNIQUE (user_id, name),
    ADD CONSTRAINT connections_service_check CHECK (service ~ '^[a-z][a-z0-9_-]{0,30}$'),
    ADD CONSTRAINT connections_name_check CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,39}$'),
    ADD CONSTRAINT connections_told_check CHECK (told IN ('', 'expiring', 'needs you', 'broken'));
COMMENT ON COLUMN public.connections.service IS
    'Its kind: gmail, google-calendar, microsoft, imap, ics, caldav';
COMMENT ON COLUMN public.connections.name IS
    'What its owner calls it, unique for them; the secret is bound to it';
COMMENT ON COLUMN public.connections.refresh_at IS
    'When its access token is to be refreshed, some time before it ends; NULL: it has none';
COMMENT ON COLUMN public.connections.check_at IS 'When it is checked next, without being asked';
COMMENT ON COLUMN public.connections.lease_holder IS
    'The one process that refreshes or checks it now; NULL: none';
COMMENT ON COLUMN public.connections.lease_until IS
    'When another process may take the lease, whatever became of the holder';
COMMENT ON COLUMN public.connections.troubled_since IS 'Since when it is not ok; NULL: it is';
COMMENT ON COLUMN public.connections.told IS
    'The state that its owner was told of last; empty: none, or that it works again';
GRANT SELECT (name, check_at, troubled_since) ON public.connections TO authenticated;
CREATE INDEX connections_refresh_at_idx ON public.connections (refresh_at)
    WHERE refresh_at IS NOT NULL;
CREATE INDEX connections_check_at_idx ON public.connections (check_at);
