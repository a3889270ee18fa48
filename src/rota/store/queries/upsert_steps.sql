-- All or nothing: an attempt that lost the run writes no step. The share lock keeps another
-- attempt from taking the run between the check and this transaction's end.
WITH holder AS (
    SELECT id, user_id, attempt FROM public.agent_runs
    WHERE id = %(run_id)s AND fencing_token = %(token)s AND status = 'running'
    FOR SHARE
), written AS (
    INSERT INTO public.agent_run_steps
        (run_id, user_id, attempt, model_step, call_index, kind, name, status, tool_call_id,
         request, response, usage, error, started_at, finished_at)
    SELECT h.id, h.user_id, h.attempt, s.*
    FROM holder AS h
    CROSS JOIN unnest(
        %(model_step)s::integer[], %(call_index)s::integer[], %(kind)s::text[], %(name)s::text[],
        %(status)s::text[], %(tool_call_id)s::text[], %(request)s::jsonb[], %(response)s::jsonb[],
        %(usage)s::jsonb[], %(error)s::text[], %(started_at)s::timestamptz[],
        %(finished_at)s::timestamptz[]
    ) AS s
    ON CONFLICT (run_id, model_step, call_index) DO UPDATE
    SET attempt = excluded.attempt, kind = excluded.kind, name = excluded.name,
        status = excluded.status, tool_call_id = excluded.tool_call_id,
        request = excluded.request, response = excluded.response, usage = excluded.usage,
        error = excluded.error, started_at = excluded.started_at,
        finished_at = excluded.finished_at
)
SELECT EXISTS (SELECT FROM holder)
