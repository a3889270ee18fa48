-- The audit log, chained: what is sealed cannot be changed unseen. See docs/explanation/audit.md.

-- Entries outlive their runs, and go on naming them: what is hashed must not change.
ALTER TABLE public.audit_logs
    DROP CONSTRAINT audit_logs_run_id_fkey,
    -- Made by whoever writes the entry: one written twice, as the answer to its commit was lost, is
    -- one. It salts the hash of the entry's content too, so that nobody can guess at what was
    -- blanked.
    ADD COLUMN entry_key uuid NOT NULL DEFAULT gen_random_uuid(),
    -- The transaction that wrote it. Ids are handed out before the commit, so "greater than the last
    -- that was sealed" would miss what commits late; "not visible when we sealed" does not.
    ADD COLUMN written_in xid8 NOT NULL DEFAULT pg_current_xact_id(),
    DROP CONSTRAINT audit_logs_decision_check,
    ADD CONSTRAINT audit_logs_decision_check CHECK (
        decision IN ('allowed', 'held', 'refused', 'approved', 'edited', 'expired', 'withdrawn',
                     'settled', 'forgotten')),
    -- Times that every reader can write down, in any zone.
    ADD CONSTRAINT audit_logs_times_check CHECK (
        called_at >= '2000-01-01 00:00+00' AND called_at < '9999-12-31 00:00+00'
        AND created_at >= '2000-01-01 00:00+00' AND created_at < '9999-12-31 00:00+00');
DROP INDEX public.audit_logs_run_idx;
CREATE UNIQUE INDEX audit_logs_entry_idx ON public.audit_logs (run_id, entry_key);
CREATE INDEX audit_logs_written_idx ON public.audit_logs (written_in, id);

-- One chain for each person, under a name that says nothing, and one for entries that are nobody's.
CREATE TABLE public.audit_chains (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid UNIQUE REFERENCES auth.users (id) ON DELETE SET NULL,
    salt uuid DEFAULT gen_random_uuid(), -- goes when its person does
    -- Whose it is, for whoever knows the salt: SHA-256 of "salt:user_id". NULL: nobody's.
    person_hash bytea CHECK (octet_length(person_hash) = 32),
    length bigint NOT NULL DEFAULT 0 CHECK (length >= 0), -- blocks that were ever sealed
    head bytea CHECK (octet_length(head) = 32), -- hash of the last of them
    created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO public.audit_chains (id, salt) VALUES ('00000000-0000-0000-0000-000000000000', NULL);

-- A block covers entries of one chain that were committed since the block before it.
CREATE TABLE public.audit_blocks (
    chain_id uuid NOT NULL REFERENCES public.audit_chains (id),
    seq bigint NOT NULL CHECK (seq > 0),
    previous bytea NOT NULL CHECK (octet_length(previous) = 32),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    row_ids bigint[] NOT NULL,
    contents bytea NOT NULL, -- SHA-256 of each entry's content, 32 bytes each, in order
    digests bytea NOT NULL, -- SHA-256 of each entry
    sealed_at timestamptz NOT NULL,
    PRIMARY KEY (chain_id, seq)
);
CREATE INDEX audit_blocks_sealed_idx ON public.audit_blocks (sealed_at);

-- What was pruned from the beginning of a chain, signed with a key that the database does not have.
CREATE TABLE public.audit_checkpoints (
    chain_id uuid PRIMARY KEY REFERENCES public.audit_chains (id),
    through_seq bigint NOT NULL CHECK (through_seq > 0), -- the last block that went
    hash bytea NOT NULL CHECK (octet_length(hash) = 32), -- of that block
    row_count bigint NOT NULL CHECK (row_count >= 0), -- entries that went, in all
    sealed_at timestamptz NOT NULL, -- when that block was sealed
    pruned_at timestamptz NOT NULL,
    key_id text NOT NULL,
    signature bytea NOT NULL CHECK (octet_length(signature) = 32) -- HMAC-SHA256
);

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
REVOKE ALL ON FUNCTION rota.blank_audit_entry() FROM PUBLIC, anon, authenticated;
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
REVOKE ALL ON FUNCTION rota.forget_audit_person() FROM PUBLIC, anon, authenticated;
CREATE TRIGGER forget_person BEFORE UPDATE OF user_id ON public.audit_chains
    FOR EACH ROW
    WHEN (OLD.user_id IS NOT NULL AND NEW.user_id IS NULL)
    EXECUTE FUNCTION rota.forget_audit_person();

-- The audit log is kept for ever unless the operator says otherwise.
ALTER TABLE rota.retention
    ADD COLUMN audit_days integer CHECK (audit_days BETWEEN 1 AND 36500);

-- Deletes the oldest blocks of a chain with their entries, and leaves the checkpoint: the backend
-- has no other way to delete an entry. What the policy keeps, this does not delete, whoever asks.
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
REVOKE ALL ON FUNCTION rota.prune_audit(uuid, bigint, bigint, timestamptz, text, bytea)
    FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION rota.prune_audit(uuid, bigint, bigint, timestamptz, text, bytea)
    TO service_role;
