-- What reaches a person, and by which channel.

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
CREATE INDEX notifications_created_idx ON public.notifications (created_at);

CREATE TABLE public.user_channels (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    channel text NOT NULL CHECK (channel ~ '^[a-z][a-z0-9_]{0,30}$'),
    address text NOT NULL CHECK (address <> ''),
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (channel, address)
);
CREATE INDEX user_channels_user_idx ON public.user_channels (user_id);

-- One incident, not a hundred messages: open until it is over, announced once, ended once.
CREATE TABLE public.incidents (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('missed_fires', 'scheduler_silent')),
    opened_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    announced_at timestamptz,
    closed_at timestamptz
);
CREATE UNIQUE INDEX incidents_open_idx ON public.incidents (user_id, kind)
    WHERE closed_at IS NULL;
CREATE INDEX incidents_kind_idx ON public.incidents (kind) WHERE closed_at IS NULL;
CREATE INDEX incidents_user_idx ON public.incidents (user_id, opened_at DESC);
CREATE INDEX incidents_closed_idx ON public.incidents (closed_at) WHERE closed_at IS NOT NULL;

SELECT rota.keep_to_backend('public.notifications');
SELECT rota.keep_to_backend('public.user_channels');
SELECT rota.keep_to_backend('public.incidents');

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

GRANT SELECT ON public.incidents TO authenticated;
CREATE POLICY reads_own ON public.incidents FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));
