-- How a call of a tool ended, told apart: it threw, was refused, or was not made by a dry run.
ALTER TABLE public.agent_run_steps DROP CONSTRAINT agent_run_steps_status_check;
ALTER TABLE public.agent_run_steps ADD CONSTRAINT agent_run_steps_status_check CHECK (status IN (
    'started', 'finished', 'failed', 'held', 'refused', 'rehearsed', 'unknown'));
COMMENT ON COLUMN public.agent_run_steps.status IS
    'started, finished, failed, held (it waits for approval), refused, rehearsed (a dry run did not '
    'make it), or unknown (begun, and nobody can say how it ended)';
