-- Each run's steps, all or none: an attempt that lost its run writes nothing. The lock keeps
-- another attempt from taking the run between the check and this transaction's end.
WITH holders AS (
    SELECT r.id, r.user_id, r.attempt
    FROM public.agent_runs AS r
    JOIN unnest(%(holders)s::uuid[], %(tokens)s::bigint[]) AS h (run_id, token)
        ON r.id = h.run_id AND r.fencing_token = h.token AND r.status = 'running'
    ORDER BY r.id
    FOR NO KEY UPDATE OF r
), written AS (
    INSERT INTO public.agent_run_steps
        (run_id, user_id, attempt, model_step, call_index, kind, name, status, tool_call_id,
         request, response, usage, cost_usd, attempts, error, started_at, finished_at)
    SELECT s.run_id, h.user_id, h.attempt, s.model_step, s.call_index, s.kind, s.name, s.status,
           s.tool_call_id, s.request, s.response, s.usage, s.cost_usd, s.attempts, s.error,
           s.started_at, s.finished_at
    FROM jsonb_to_recordset(%(steps)s::jsonb) AS s (
        run_id uuid, model_step integer, call_index integer, kind text, name text, status text,
        tool_call_id text, request jsonb, response jsonb, usage jsonb, cost_usd numeric,
        attempts jsonb, error text, started_at timestamptz, finished_at timestamptz)
    JOIN holders AS h ON h.id = s.run_id
    ON CONFLICT (run_id, model_step, call_index) DO UPDATE
    SET attempt = excluded.attempt, kind = excluded.kind, name = excluded.name,
        status = excluded.status, tool_call_id = excluded.tool_call_id,
        request = excluded.request, response = excluded.response, usage = excluded.usage,
        cost_usd = excluded.cost_usd, attempts = excluded.attempts, error = excluded.error,
        started_at = excluded.started_at, finished_at = excluded.finished_at
)
SELECT h.id, ARRAY (
    SELECT s.model_step FROM public.agent_run_steps AS s
    WHERE s.run_id = h.id AND s.attempt = h.attempt AND s.call_index = -1 AND s.usage IS NOT NULL
) AS counted
FROM holders AS h
