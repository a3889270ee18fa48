-- What is kept, for how long, and the indexes by which what is older is found.

-- One row, the operator's. NULL: for ever. 36,500 days are a hundred years.
CREATE TABLE rota.retention (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    journal_days integer DEFAULT 30 CHECK (journal_days BETWEEN 1 AND 36500),
    run_days integer DEFAULT 365 CHECK (run_days BETWEEN 1 AND 36500),
    notification_days integer DEFAULT 365 CHECK (notification_days BETWEEN 1 AND 36500),
    history_days integer DEFAULT 365 CHECK (history_days BETWEEN 1 AND 36500),
    queue_log_days integer DEFAULT 7 CHECK (queue_log_days BETWEEN 1 AND 36500),
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

-- When the steps of a run were pruned. A run goes only after its journal, so a finished run is in
-- one of the two indexes: the statement that ends it writes one entry, and those before it none.
-- They say nothing of steps, so the journal, which is written most, needs no index of its own. No
-- update of a run that was HOT before is less so: these columns change only together with `status`,
-- which other indexes of the table look at already, or long after the run's end.
ALTER TABLE public.agent_runs ADD COLUMN journal_pruned_at timestamptz;
CREATE INDEX agent_runs_journal_idx ON public.agent_runs (finished_at)
    WHERE status IN ('finished', 'cancelled') AND journal_pruned_at IS NULL;
CREATE INDEX agent_runs_pruned_idx ON public.agent_runs (finished_at)
    WHERE status IN ('finished', 'cancelled') AND journal_pruned_at IS NOT NULL;

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

-- Fire times that led to no run, or whose run is gone; those with a run go together with it.
CREATE INDEX schedule_occurrences_without_run_idx ON public.schedule_occurrences (created_at)
    WHERE run_id IS NULL;

CREATE INDEX notifications_created_idx ON public.notifications (created_at);
CREATE INDEX schedule_changes_changed_idx ON public.schedule_changes (changed_at);
CREATE INDEX incidents_closed_idx ON public.incidents (closed_at) WHERE closed_at IS NOT NULL;
