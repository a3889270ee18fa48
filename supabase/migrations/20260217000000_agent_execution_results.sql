-- SPEC-003, AC-1: one result per run, written at its end.

CREATE TABLE public.agent_execution_results (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    schedule_id uuid REFERENCES public.agent_schedules (id) ON DELETE SET NULL,
    run_id uuid NOT NULL UNIQUE REFERENCES public.agent_runs (id) ON DELETE CASCADE,
    agent_name text NOT NULL,
    prompt text NOT NULL DEFAULT '',
    result_content text NOT NULL DEFAULT '' CHECK (char_length(result_content) <= 50000),
    status text NOT NULL CHECK (status IN ('success', 'error', 'partial')),
    pending_actions_created integer NOT NULL DEFAULT 0 CHECK (pending_actions_created >= 0),
    execution_duration_ms integer NOT NULL CHECK (execution_duration_ms >= 0),
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE public.agent_execution_results IS
    'Results: one for each run, written at its end (SPEC-003)';
COMMENT ON COLUMN public.agent_execution_results.id IS 'Identifies the result';
COMMENT ON COLUMN public.agent_execution_results.user_id IS 'Whose it is; goes with the person';
COMMENT ON COLUMN public.agent_execution_results.schedule_id IS
    'The schedule of the run; NULL: none, or it was removed';
COMMENT ON COLUMN public.agent_execution_results.run_id IS 'The run';
COMMENT ON COLUMN public.agent_execution_results.agent_name IS 'The agent that ran';
COMMENT ON COLUMN public.agent_execution_results.prompt IS 'What it was asked';
COMMENT ON COLUMN public.agent_execution_results.result_content IS
    'What it answered; what is longer is cut, and the metadata say so';
COMMENT ON COLUMN public.agent_execution_results.status IS
    'success, error, or partial (a limit or a cancellation cut it short)';
COMMENT ON COLUMN public.agent_execution_results.pending_actions_created IS
    'Actions of this run that waited for approval';
COMMENT ON COLUMN public.agent_execution_results.execution_duration_ms IS
    'Milliseconds from the first attempt to the end';
COMMENT ON COLUMN public.agent_execution_results.metadata IS
    'Model, tokens, cost, errors and what else is known';
COMMENT ON COLUMN public.agent_execution_results.created_at IS 'When the run ended';
CREATE INDEX agent_execution_results_user_created_idx
    ON public.agent_execution_results (user_id, created_at DESC);
-- What a sweep looks for: results whose notification could not be written with them.
CREATE INDEX agent_execution_results_unnotified_idx ON public.agent_execution_results (created_at)
    WHERE metadata ? 'notification_error';
CREATE INDEX agent_execution_results_schedule_idx
    ON public.agent_execution_results (schedule_id);

SELECT rota.keep_to_backend('public.agent_execution_results');
GRANT SELECT ON public.agent_execution_results TO authenticated;
CREATE POLICY reads_own ON public.agent_execution_results FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));
