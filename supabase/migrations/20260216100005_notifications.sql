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
COMMENT ON TABLE public.notifications IS 'What a person is told, on every channel';
COMMENT ON COLUMN public.notifications.id IS 'Identifies the notification';
COMMENT ON COLUMN public.notifications.user_id IS 'Who is told';
COMMENT ON COLUMN public.notifications.category IS
    'heartbeat, approval_needed, agent_result, error or info';
COMMENT ON COLUMN public.notifications.title IS 'One line';
COMMENT ON COLUMN public.notifications.body IS 'Text, markdown for results';
COMMENT ON COLUMN public.notifications.metadata IS
    'What it is about: ids of a result, an action, ...';
COMMENT ON COLUMN public.notifications.run_id IS
    'The run that it tells of; NULL: none, or it was pruned';
COMMENT ON COLUMN public.notifications.read_at IS 'When the person read it; NULL: not yet';
COMMENT ON COLUMN public.notifications.created_at IS 'When it was written';
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
COMMENT ON TABLE public.user_channels IS 'Where else a person is told: an address on a channel';
COMMENT ON COLUMN public.user_channels.id IS 'Identifies the row';
COMMENT ON COLUMN public.user_channels.user_id IS 'Whose it is; goes with the person';
COMMENT ON COLUMN public.user_channels.channel IS 'telegram, ...';
COMMENT ON COLUMN public.user_channels.address IS 'The person''s address there, such as a chat id';
COMMENT ON COLUMN public.user_channels.is_active IS 'Whether it is used';
COMMENT ON COLUMN public.user_channels.created_at IS 'When the row was made';
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
COMMENT ON TABLE public.incidents IS
    'Things that go wrong for a while: announced once, and ended once, not with a message for '
    'each fire';
COMMENT ON COLUMN public.incidents.id IS 'Identifies the incident';
COMMENT ON COLUMN public.incidents.user_id IS 'Who is told';
COMMENT ON COLUMN public.incidents.kind IS
    'missed_fires, or scheduler_silent (no scheduler looks at the clock)';
COMMENT ON COLUMN public.incidents.opened_at IS 'When it began';
COMMENT ON COLUMN public.incidents.last_seen_at IS 'When it was last seen to go on';
COMMENT ON COLUMN public.incidents.announced_at IS 'When the person was told; NULL: not yet';
COMMENT ON COLUMN public.incidents.closed_at IS 'When it was over; NULL: it is open';
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
