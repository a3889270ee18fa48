-- A connection says how it does: what a provider answered last, and when it was used and checked.

ALTER TABLE public.connections
    ADD COLUMN state text NOT NULL DEFAULT 'ok',
    ADD COLUMN problem text NOT NULL DEFAULT '',
    ADD COLUMN refused_logins integer NOT NULL DEFAULT 0,
    ADD COLUMN last_used_at timestamptz,
    ADD COLUMN last_checked_at timestamptz,
    ADD CONSTRAINT connections_state_check CHECK (state IN ('ok', 'needs you', 'broken')),
    ADD CONSTRAINT connections_problem_check CHECK (length(problem) <= 2000);
COMMENT ON COLUMN public.connections.state IS
    'ok; needs you: a person has to mend it; broken: it did not work when last used, and may again';
COMMENT ON COLUMN public.connections.problem IS
    'What is wrong, in the provider''s words; empty while nothing is';
COMMENT ON COLUMN public.connections.refused_logins IS
    'Logins refused one after another; after three none is tried until the person connects anew';
COMMENT ON COLUMN public.connections.last_used_at IS 'When a tool last used it, to the minute';
COMMENT ON COLUMN public.connections.last_checked_at IS
    'When its owner last had it checked; set when it is made, if it was checked then';
GRANT SELECT (state, problem, refused_logins, last_used_at, last_checked_at)
    ON public.connections TO authenticated;
