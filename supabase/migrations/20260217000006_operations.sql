-- For whoever operates rota: which processes live, what is done once for all, what is kept how long.

-- For `rota doctor`, and for a command that wonders whether anybody will take its run.
CREATE TABLE rota.processes (
    id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('scheduler', 'worker')),
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    ticked_at timestamptz -- when a scheduler last looked at the clock
);
GRANT SELECT, INSERT, UPDATE, DELETE ON rota.processes TO service_role;

-- What is done once for the whole installation, such as the ping of a dead man's switch.
CREATE TABLE rota.marks (
    name text PRIMARY KEY,
    marked_at timestamptz NOT NULL DEFAULT now()
);
SELECT rota.keep_to_backend('rota.marks');

-- How many days what is kept: one row, the operator's. NULL: for ever. 36,500 days are a hundred
-- years.
CREATE TABLE rota.retention (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    journal_days integer DEFAULT 30 CHECK (journal_days BETWEEN 1 AND 36500),
    run_days integer DEFAULT 365 CHECK (run_days BETWEEN 1 AND 36500),
    notification_days integer DEFAULT 365 CHECK (notification_days BETWEEN 1 AND 36500),
    history_days integer DEFAULT 365 CHECK (history_days BETWEEN 1 AND 36500),
    queue_log_days integer DEFAULT 7 CHECK (queue_log_days BETWEEN 1 AND 36500),
    audit_days integer CHECK (audit_days BETWEEN 1 AND 36500),
    updated_at timestamptz NOT NULL DEFAULT now(),
    -- A journal cannot outlive its run: one that is kept for ever keeps its run for ever.
    CONSTRAINT retention_journal_goes_first
        CHECK (run_days IS NULL OR coalesce(journal_days <= run_days, false))
);
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON rota.retention
    FOR EACH ROW EXECUTE FUNCTION rota.touch_updated_at();
INSERT INTO rota.retention DEFAULT VALUES;
SELECT rota.keep_to_backend('rota.retention');
REVOKE INSERT, DELETE ON rota.retention FROM service_role;

-- The one place that says which runs may lose anything at all.
CREATE VIEW rota.prunable_runs WITH (security_invoker = true) AS
SELECT r.id, r.finished_at, r.journal_pruned_at
FROM public.agent_runs AS r
WHERE r.status IN ('finished', 'cancelled')
  AND NOT EXISTS (
      SELECT FROM public.pending_actions AS a
      WHERE a.run_id = r.id AND a.status IN ('pending', 'approved', 'running', 'unknown')
  );
COMMENT ON VIEW rota.prunable_runs IS 'Runs that are over and wait for nobody''s decision.';
GRANT SELECT, UPDATE ON rota.prunable_runs TO service_role; -- UPDATE: to lock its rows
