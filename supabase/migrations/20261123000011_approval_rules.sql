-- Rules on calls of tools: what runs, what waits, what is refused. Data, never code.

CREATE TABLE public.approval_rules (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid REFERENCES auth.users (id) ON DELETE CASCADE, -- NULL: the operator's
    effect text NOT NULL CHECK (effect IN ('allow', 'require', 'deny')),
    tool text NOT NULL -- a name, the beginning of names and *, or *
        CHECK (tool ~ '^([a-zA-Z0-9_-]{1,64}|[a-zA-Z0-9_-]{0,63}\*)$'),
    -- What the rule holds for; NULL: for all. Only the operator's rules name a person.
    for_user uuid REFERENCES auth.users (id) ON DELETE CASCADE,
    agent_name text CHECK (agent_name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    schedule_id uuid REFERENCES public.agent_schedules (id) ON DELETE CASCADE,
    attendance text NOT NULL DEFAULT 'any'
        CHECK (attendance IN ('any', 'unattended', 'interactive')),
    -- [{"arguments": [...], "test": ..., "values": [...], "not": ..., "missing": ...}]: all of them
    -- have to hold. What cannot be read requires approval.
    conditions jsonb NOT NULL DEFAULT '[]'
        CHECK (jsonb_typeof(conditions) = 'array' AND octet_length(conditions::text) <= 100000),
    risk text CHECK (risk IN ('low', 'medium', 'high')), -- the least that a call is of
    note text NOT NULL DEFAULT '' CHECK (char_length(note) <= 300),
    tool_version integer, -- only while the tool is declared as it was then
    expires_at timestamptz CHECK (expires_at > '2000-01-01Z' AND expires_at < '9000-01-01Z'),
    uses_left integer CHECK (uses_left BETWEEN 0 AND 1000000), -- calls that it still lets run
    from_action uuid, -- "always allow this"; no reference: the rule outlives the action
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT approval_rules_person_check CHECK (user_id IS NULL OR for_user IS NULL),
    CONSTRAINT approval_rules_uses_check CHECK (uses_left IS NULL OR effect = 'allow')
);
CREATE INDEX approval_rules_user_idx ON public.approval_rules (user_id);
CREATE INDEX approval_rules_for_user_idx ON public.approval_rules (for_user);
CREATE INDEX approval_rules_schedule_idx ON public.approval_rules (schedule_id);

SELECT rota.keep_to_backend('public.approval_rules');

-- People write their own rules past rota too. What they can loosen is bounded by the tools' tiers,
-- which rota looks at when it judges. A rule is not changed: it is removed, and another one made.
GRANT SELECT, DELETE ON public.approval_rules TO authenticated;
GRANT INSERT (user_id, effect, tool, agent_name, schedule_id, attendance, conditions, risk, note,
              tool_version, expires_at, uses_left, from_action)
    ON public.approval_rules TO authenticated;
CREATE POLICY reads_own_and_operators ON public.approval_rules FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid())
           OR (user_id IS NULL AND (SELECT auth.uid()) IS NOT NULL
               AND (for_user IS NULL OR for_user = (SELECT auth.uid()))));
CREATE POLICY inserts_own ON public.approval_rules FOR INSERT TO authenticated
    WITH CHECK (user_id = (SELECT auth.uid())
                AND (schedule_id IS NULL
                     OR EXISTS (SELECT FROM public.agent_schedules AS s
                                WHERE s.id = schedule_id AND s.user_id = (SELECT auth.uid()))));
CREATE POLICY deletes_own ON public.approval_rules FOR DELETE TO authenticated
    USING (user_id = (SELECT auth.uid()));

-- Every run reads its owner's rules, so there are not more than it can look at.
CREATE FUNCTION rota.bound_approval_rules() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = ''
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(
        hashtextextended('rota.approval_rules ' || coalesce(NEW.user_id::text, ''), 0));
    IF (SELECT count(*) FROM public.approval_rules AS r
        WHERE r.user_id IS NOT DISTINCT FROM NEW.user_id) >= 500 THEN
        RAISE EXCEPTION 'there are 500 rules already' USING ERRCODE = 'program_limit_exceeded';
    END IF;
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION rota.bound_approval_rules() FROM PUBLIC, anon, authenticated;
CREATE TRIGGER bound_rules BEFORE INSERT ON public.approval_rules
    FOR EACH ROW EXECUTE FUNCTION rota.bound_approval_rules();

-- What a tool says of itself, and what it was when it was declared.
ALTER TABLE public.tools
    ADD COLUMN annotations jsonb NOT NULL DEFAULT '{}'
        CHECK (jsonb_typeof(annotations) = 'object'), -- readOnlyHint, ...: they only make stricter
    ADD COLUMN definition_hash text -- SHA-256 of name, description, schema and annotations
        CHECK (definition_hash ~ '^[0-9a-f]{64}$'); -- NULL: not pinned

-- What a pinned tool was when a call of it was held: an approval is of that tool, not of another.
ALTER TABLE public.pending_actions
    ADD COLUMN definition_hash text CHECK (definition_hash ~ '^[0-9a-f]{64}$');
GRANT SELECT (definition_hash) ON public.pending_actions TO authenticated;
