-- The record of every call, and its chains: what is sealed cannot be changed unseen. See
-- docs/explanation/audit.md.

CREATE TABLE public.audit_logs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Made by whoever writes the entry: one written twice, as the answer to its commit was lost, is
    -- one. It salts the hash of the entry's content too, so that nobody can guess at what was
    -- blanked.
    entry_key uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id uuid REFERENCES auth.users (id) ON DELETE SET NULL,
    -- No references: entries outlive runs and actions, and what is hashed must not change.
    run_id uuid,
    action_id uuid,
    agent_name text NOT NULL,
    tool_name text NOT NULL,
    tier text NOT NULL CHECK (tier IN ('auto', 'requires_approval', 'user_configurable', 'unknown')),
    decision text NOT NULL CHECK (
        decision IN ('allowed', 'held', 'refused', 'approved', 'edited', 'expired', 'withdrawn',
                     'settled', 'forgotten', 'revealed')),
    outcome text NOT NULL CHECK (outcome IN ('succeeded', 'failed', 'started', 'not_run', 'unknown')),
    actor text NOT NULL DEFAULT 'agent' CHECK (actor <> '' AND char_length(actor) <= 100),
    origin text NOT NULL DEFAULT 'worker' CHECK (origin ~ '^[a-z][a-z0-9_]{0,30}$'),
    arguments jsonb NOT NULL DEFAULT '{}',
    arguments_hash text NOT NULL,
    detail text NOT NULL DEFAULT '',
    called_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Ids are handed out before the commit, so "greater than the last that was sealed" would miss
    -- what commits late; "written by a transaction not visible when we sealed" does not.
    written_in xid8 NOT NULL DEFAULT pg_current_xact_id(),
    -- Times that every reader can write down, in any zone.
    CONSTRAINT audit_logs_times_check CHECK (
        called_at >= '2000-01-01 00:00+00' AND called_at < '9999-12-31 00:00+00'
        AND created_at >= '2000-01-01 00:00+00' AND created_at < '9999-12-31 00:00+00')
);
COMMENT ON TABLE public.audit_logs IS
    'The record of every call of a tool and of every decision on one. Append only, chained, see '
    'docs/explanation/audit.md';
COMMENT ON COLUMN public.audit_logs.id IS 'Counts up; gaps mean nothing';
COMMENT ON COLUMN public.audit_logs.entry_key IS
    'Made by the writer, so that an entry written twice is one; salts the hash of the content';
COMMENT ON COLUMN public.audit_logs.user_id IS
    'For whom the agent acted; NULL: nobody, or a person who was deleted';
COMMENT ON COLUMN public.audit_logs.run_id IS 'The run; kept when that is pruned';
COMMENT ON COLUMN public.audit_logs.action_id IS 'The pending action; kept when that is pruned';
COMMENT ON COLUMN public.audit_logs.agent_name IS 'The agent that called';
COMMENT ON COLUMN public.audit_logs.tool_name IS 'The tool that was called';
COMMENT ON COLUMN public.audit_logs.tier IS 'Tier of the tool at the time';
COMMENT ON COLUMN public.audit_logs.decision IS
    'What was decided: allowed, held, refused, approved, edited, ...';
COMMENT ON COLUMN public.audit_logs.outcome IS
    'What came of the call, as far as known when the entry was written';
COMMENT ON COLUMN public.audit_logs.actor IS
    'Who acted: agent, rota, operator, or the id of a person';
COMMENT ON COLUMN public.audit_logs.origin IS 'By which way: worker, cli, api, web, telegram, ...';
COMMENT ON COLUMN public.audit_logs.arguments IS 'Arguments, secrets redacted';
COMMENT ON COLUMN public.audit_logs.arguments_hash IS
    'SHA-256, in hex, of the arguments as canonical JSON (RFC 8785)';
COMMENT ON COLUMN public.audit_logs.detail IS 'Why, for people';
COMMENT ON COLUMN public.audit_logs.called_at IS 'When the call or the decision was made';
COMMENT ON COLUMN public.audit_logs.created_at IS 'When the entry was written';
COMMENT ON COLUMN public.audit_logs.written_in IS
    'The transaction that wrote it; by it, sealing finds what was committed late';
CREATE INDEX audit_logs_user_idx ON public.audit_logs (user_id, id DESC);
CREATE INDEX audit_logs_action_idx ON public.audit_logs (action_id) WHERE action_id IS NOT NULL;
CREATE UNIQUE INDEX audit_logs_entry_idx ON public.audit_logs (run_id, entry_key);
CREATE INDEX audit_logs_written_idx ON public.audit_logs (written_in, id);

-- One chain for each person, under a name that says nothing, and one for entries that are nobody's.
CREATE TABLE public.audit_chains (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid UNIQUE REFERENCES auth.users (id) ON DELETE SET NULL,
    salt uuid DEFAULT gen_random_uuid(),
    person_hash bytea CHECK (octet_length(person_hash) = 32),
    length bigint NOT NULL DEFAULT 0 CHECK (length >= 0),
    head bytea CHECK (octet_length(head) = 32),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE public.audit_chains IS
    'One chain of sealed blocks for each person, under a name that says nothing, and one for '
    'entries that are nobody''s';
COMMENT ON COLUMN public.audit_chains.id IS 'Identifies the chain';
COMMENT ON COLUMN public.audit_chains.user_id IS
    'Whose entries it covers; NULL: nobody''s, or a person who was deleted';
COMMENT ON COLUMN public.audit_chains.salt IS 'Salts person_hash; goes when its person does';
COMMENT ON COLUMN public.audit_chains.person_hash IS
    'SHA-256 of "salt:user_id": whose it was, for whoever knows the salt; NULL: nobody''s';
COMMENT ON COLUMN public.audit_chains.length IS 'Blocks that were ever sealed';
COMMENT ON COLUMN public.audit_chains.head IS 'Hash of the last block; NULL: there is none';
COMMENT ON COLUMN public.audit_chains.created_at IS 'When the row was made';
INSERT INTO public.audit_chains (id, salt) VALUES ('00000000-0000-0000-0000-000000000000', NULL);

CREATE TABLE public.audit_blocks (
    chain_id uuid NOT NULL REFERENCES public.audit_chains (id),
    seq bigint NOT NULL CHECK (seq > 0),
    previous bytea NOT NULL CHECK (octet_length(previous) = 32),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    row_ids bigint[] NOT NULL,
    contents bytea NOT NULL,
    digests bytea NOT NULL,
    sealed_at timestamptz NOT NULL,
    PRIMARY KEY (chain_id, seq)
);
COMMENT ON TABLE public.audit_blocks IS
    'A block covers the entries of one chain that were committed since the block before it';
COMMENT ON COLUMN public.audit_blocks.chain_id IS 'The chain';
COMMENT ON COLUMN public.audit_blocks.seq IS 'Place in the chain, from 1';
COMMENT ON COLUMN public.audit_blocks.previous IS 'Hash of the block before it';
COMMENT ON COLUMN public.audit_blocks.hash IS
    'Hash of this block, over the one before it and its entries';
COMMENT ON COLUMN public.audit_blocks.row_ids IS 'Ids of its entries in audit_logs, in order';
COMMENT ON COLUMN public.audit_blocks.contents IS
    'SHA-256 of each entry''s content, 32 bytes each, in order';
COMMENT ON COLUMN public.audit_blocks.digests IS 'SHA-256 of each entry, 32 bytes each, in order';
COMMENT ON COLUMN public.audit_blocks.sealed_at IS 'When it was sealed';
CREATE INDEX audit_blocks_sealed_idx ON public.audit_blocks (sealed_at);

CREATE TABLE public.audit_checkpoints (
    chain_id uuid PRIMARY KEY REFERENCES public.audit_chains (id),
    through_seq bigint NOT NULL CHECK (through_seq > 0),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    row_count bigint NOT NULL CHECK (row_count >= 0),
    sealed_at timestamptz NOT NULL,
    pruned_at timestamptz NOT NULL,
    key_id text NOT NULL,
    signature bytea NOT NULL CHECK (octet_length(signature) = 32)
);
COMMENT ON TABLE public.audit_checkpoints IS
    'What was pruned from the beginning of a chain, signed with a key that the database does not '
    'have';
COMMENT ON COLUMN public.audit_checkpoints.chain_id IS 'The chain';
COMMENT ON COLUMN public.audit_checkpoints.through_seq IS 'The last block that was pruned';
COMMENT ON COLUMN public.audit_checkpoints.hash IS 'Hash of that block';
COMMENT ON COLUMN public.audit_checkpoints.row_count IS 'Entries that were pruned, in all';
COMMENT ON COLUMN public.audit_checkpoints.sealed_at IS 'When that block was sealed';
COMMENT ON COLUMN public.audit_checkpoints.pruned_at IS 'When it was pruned';
COMMENT ON COLUMN public.audit_checkpoints.key_id IS 'Which key signed';
COMMENT ON COLUMN public.audit_checkpoints.signature IS 'HMAC-SHA256';

-- How far sealing has come: everything visible in this snapshot is sealed. A database that was
-- restored on another server meets transaction numbers that begin anew: sealing begins anew too, and
-- passes over what is sealed.
CREATE TABLE rota.audit_cursor (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    sealed pg_snapshot,
    server bigint, -- pg_control_system().system_identifier
    stuck uuid[] NOT NULL DEFAULT '{}' -- chains that could not be sealed
);
INSERT INTO rota.audit_cursor DEFAULT VALUES;
CREATE TABLE rota.audit_sealed (audit_id bigint PRIMARY KEY); -- no entry is sealed twice

SELECT rota.keep_to_backend('public.audit_logs');
SELECT rota.keep_to_backend('public.audit_chains');
SELECT rota.keep_to_backend('public.audit_blocks');
SELECT rota.keep_to_backend('public.audit_checkpoints');
SELECT rota.keep_to_backend('rota.audit_cursor');
SELECT rota.keep_to_backend('rota.audit_sealed');

-- Append only, for the backend too.
REVOKE UPDATE, DELETE, TRUNCATE ON public.audit_logs FROM service_role;
REVOKE UPDATE, DELETE, TRUNCATE ON public.audit_blocks FROM service_role;
REVOKE UPDATE, DELETE, TRUNCATE ON public.audit_chains FROM service_role;
GRANT UPDATE (length, head) ON public.audit_chains TO service_role;
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON public.audit_checkpoints FROM service_role;
REVOKE UPDATE, DELETE, TRUNCATE ON rota.audit_sealed FROM service_role;
REVOKE INSERT, DELETE, TRUNCATE ON rota.audit_cursor FROM service_role;

GRANT SELECT ON public.audit_logs TO authenticated;
CREATE POLICY reads_own ON public.audit_logs FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));
GRANT SELECT ON public.audit_chains TO authenticated;
CREATE POLICY reads_own ON public.audit_chains FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));
GRANT SELECT ON public.audit_blocks TO authenticated;
CREATE POLICY reads_own ON public.audit_blocks FOR SELECT TO authenticated
    USING (chain_id IN (SELECT c.id FROM public.audit_chains AS c
                        WHERE c.user_id = (SELECT auth.uid())));
GRANT SELECT ON public.audit_checkpoints TO authenticated;
CREATE POLICY reads_own ON public.audit_checkpoints FOR SELECT TO authenticated
    USING (chain_id IN (SELECT c.id FROM public.audit_chains AS c
                        WHERE c.user_id = (SELECT auth.uid())));

-- A person who is deleted leaves entries that say what was called and when, and nothing of theirs.
-- The foreign keys set user_id to NULL, whoever deletes; these take the rest with it.
CREATE FUNCTION rota.blank_audit_entry() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = ''
AS $$
BEGIN
    NEW.agent_name := '';
    NEW.arguments := '{}';
    NEW.arguments_hash := '';
    NEW.detail := '';
    NEW.entry_key := gen_random_uuid();
    IF NEW.actor NOT IN ('agent', 'rota', 'operator') THEN
        NEW.actor := 'person';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER blank_entry BEFORE UPDATE OF user_id ON public.audit_logs
    FOR EACH ROW
    WHEN (OLD.user_id IS NOT NULL AND NEW.user_id IS NULL)
    EXECUTE FUNCTION rota.blank_audit_entry();

-- Nobody's log says when a chain lost its person: whoever takes one from somebody who is there
-- leaves that in it, or a chain without it.
CREATE FUNCTION rota.forget_audit_person() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = ''
AS $$
BEGIN
    NEW.salt := NULL;
    INSERT INTO public.audit_logs
        (agent_name, tool_name, tier, decision, outcome, arguments, arguments_hash, detail,
         called_at, actor, origin)
    VALUES ('', 'audit', 'unknown', 'forgotten', 'not_run', jsonb_build_object('chain', OLD.id), '',
            'the person of chain ' || OLD.id || ' was deleted', now(), 'rota', 'database');
    RETURN NEW;
END
$$;
CREATE TRIGGER forget_person BEFORE UPDATE OF user_id ON public.audit_chains
    FOR EACH ROW
    WHEN (OLD.user_id IS NOT NULL AND NEW.user_id IS NULL)
    EXECUTE FUNCTION rota.forget_audit_person();

-- Deletes the oldest blocks of a chain with their entries, and leaves the checkpoint: the backend
-- has no other way to delete an entry. What the policy (rota.retention) keeps, this does not delete,
-- whoever asks.
CREATE FUNCTION rota.prune_audit(
    of_chain uuid, through bigint, rows_in_all bigint, at timestamptz, signed_with text, sign bytea
) RETURNS bigint
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = ''
AS $$
DECLARE
    last public.audit_blocks%ROWTYPE;
    gone bigint;
    before bigint;
BEGIN
    SELECT * INTO last FROM public.audit_blocks AS b
    WHERE b.chain_id = of_chain AND b.seq = through;
    IF NOT FOUND OR EXISTS (
        SELECT FROM public.audit_blocks AS b CROSS JOIN rota.retention AS p
        WHERE b.chain_id = of_chain AND b.seq <= through
          AND (p.audit_days IS NULL OR b.sealed_at >= now() - make_interval(days => p.audit_days))
    ) THEN
        RAISE EXCEPTION 'these blocks are kept' USING ERRCODE = 'object_in_use';
    END IF;
    WITH blocks AS (
        DELETE FROM public.audit_blocks AS b WHERE b.chain_id = of_chain AND b.seq <= through
        RETURNING b.row_ids
    ), ids AS (
        SELECT i.id FROM blocks CROSS JOIN LATERAL unnest(blocks.row_ids) AS i (id)
    ), entries AS (
        DELETE FROM public.audit_logs AS a USING ids WHERE a.id = ids.id
    ), marks AS (
        DELETE FROM rota.audit_sealed AS s USING ids WHERE s.audit_id = ids.id
    )
    SELECT count(*) INTO gone FROM ids;
    SELECT c.row_count INTO before FROM public.audit_checkpoints AS c
    WHERE c.chain_id = of_chain;
    IF rows_in_all <> gone + coalesce(before, 0) THEN
        RAISE EXCEPTION 'the checkpoint counts % entries, not %', rows_in_all,
            gone + coalesce(before, 0) USING ERRCODE = 'data_exception';
    END IF;
    INSERT INTO public.audit_checkpoints
        (chain_id, through_seq, hash, row_count, sealed_at, pruned_at, key_id, signature)
    VALUES (of_chain, through, last.hash, rows_in_all, last.sealed_at, at, signed_with, sign)
    ON CONFLICT (chain_id) DO UPDATE
    SET through_seq = excluded.through_seq, hash = excluded.hash,
        row_count = excluded.row_count, sealed_at = excluded.sealed_at,
        pruned_at = excluded.pruned_at, key_id = excluded.key_id, signature = excluded.signature;
    RETURN gone;
END
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA rota FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION rota.prune_audit(uuid, bigint, bigint, timestamptz, text, bytea)
    TO service_role;
