-- What reaches a person, what waits for a person's yes, and the record of every call.

CREATE TABLE public.notifications (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    category text NOT NULL
        CHECK (category IN ('heartbeat', 'approval_needed', 'agent_result', 'error', 'info')),
    title text NOT NULL CHECK (char_length(title) <= 300),
    body text NOT NULL DEFAULT '' CHECK (char_length(body) <= 10000),
    metadata jsonb NOT NULL DEFAULT '{}',
    run_id uuid REFERENCES public.agent_runs (id) ON DELETE SET NULL,
    read_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX notifications_user_idx ON public.notifications (user_id, created_at DESC);
CREATE INDEX notifications_unread_idx ON public.notifications (user_id) WHERE read_at IS NULL;
CREATE INDEX notifications_run_idx ON public.notifications (run_id);

CREATE TABLE public.user_channels (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    channel text NOT NULL CHECK (channel ~ '^[a-z][a-z0-9_]{0,30}$'), -- telegram, ...
    address text NOT NULL CHECK (address <> ''),
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (channel, address)
);
CREATE INDEX user_channels_user_idx ON public.user_channels (user_id);

CREATE TABLE public.pending_actions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    run_id uuid REFERENCES public.agent_runs (id) ON DELETE SET NULL,
    model_step integer,
    call_index integer,
    agent_name text NOT NULL,
    tool_name text NOT NULL,
    tool_version integer, -- NULL: a tool without a row
    arguments jsonb NOT NULL,
    arguments_hash text NOT NULL, -- SHA-256 of the canonical JSON, RFC 8785
    risk text NOT NULL DEFAULT 'high' CHECK (risk IN ('low', 'medium', 'high')),
    reason text NOT NULL DEFAULT '', -- why it was held
    status text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'approved', 'refused', 'expired', 'withdrawn',
                          'running', 'succeeded', 'failed', 'unknown')),
    expires_at timestamptz NOT NULL DEFAULT now() + interval '24 hours',
    decided_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (run_id, model_step, call_index) -- a replayed attempt asks once
);
CREATE INDEX pending_actions_user_idx ON public.pending_actions (user_id, created_at DESC);

CREATE TABLE public.audit_logs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id uuid REFERENCES auth.users (id) ON DELETE SET NULL,
    run_id uuid REFERENCES public.agent_runs (id) ON DELETE SET NULL,
    agent_name text NOT NULL,
    tool_name text NOT NULL,
    tier text NOT NULL CHECK (tier IN ('auto', 'requires_approval', 'user_configurable', 'unknown')),
    decision text NOT NULL CHECK (decision IN ('allowed', 'held', 'refused')),
    outcome text NOT NULL CHECK (outcome IN ('succeeded', 'failed', 'started', 'not_run', 'unknown')),
    arguments jsonb NOT NULL DEFAULT '{}', -- redacted
    arguments_hash text NOT NULL,
    detail text NOT NULL DEFAULT '',
    called_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX audit_logs_user_idx ON public.audit_logs (user_id, id DESC);
CREATE INDEX audit_logs_run_idx ON public.audit_logs (run_id);

CREATE TABLE public.connections (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    service text NOT NULL CHECK (service ~ '^[a-z][a-z0-9_]{0,30}$'), -- gmail, ...
    account text NOT NULL DEFAULT '', -- shown to the person: an address, never a secret
    secret bytea NOT NULL, -- AES-256-GCM: 12 bytes nonce, then ciphertext and tag
    key_id text NOT NULL, -- which key encrypted it
    scopes text[] NOT NULL DEFAULT '{}',
    expires_at timestamptz,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, service)
);

CREATE TRIGGER touch_updated_at BEFORE UPDATE ON public.connections
    FOR EACH ROW EXECUTE FUNCTION rota.touch_updated_at();

SELECT rota.keep_to_backend('public.notifications');
SELECT rota.keep_to_backend('public.user_channels');
SELECT rota.keep_to_backend('public.pending_actions');
SELECT rota.keep_to_backend('public.audit_logs');
SELECT rota.keep_to_backend('public.connections');

GRANT SELECT ON public.notifications TO authenticated;
GRANT UPDATE (read_at) ON public.notifications TO authenticated;
CREATE POLICY reads_own ON public.notifications FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY marks_own ON public.notifications FOR UPDATE TO authenticated
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));

GRANT SELECT, DELETE ON public.user_channels TO authenticated;
CREATE POLICY reads_own ON public.user_channels FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY deletes_own ON public.user_channels FOR DELETE TO authenticated
    USING (user_id = (SELECT auth.uid()));

GRANT SELECT ON public.pending_actions TO authenticated;
CREATE POLICY reads_own ON public.pending_actions FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));

GRANT SELECT ON public.audit_logs TO authenticated;
CREATE POLICY reads_own ON public.audit_logs FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));
-- Append only, for the backend too.
REVOKE UPDATE, DELETE ON public.audit_logs FROM service_role;

GRANT SELECT (id, user_id, service, account, scopes, expires_at, is_active, created_at, updated_at)
    ON public.connections TO authenticated;
GRANT DELETE ON public.connections TO authenticated;
CREATE POLICY reads_own ON public.connections FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY deletes_own ON public.connections FOR DELETE TO authenticated
    USING (user_id = (SELECT auth.uid()));
