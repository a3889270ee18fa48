-- What attempts have collected, of each all or none: one that lost its run writes nothing. The
-- lock keeps another attempt from taking the run between the check and this transaction's end. Of a
-- run that somebody else has locked nothing is written either (list_held_runs tells the two apart).
-- Returns the runs that are held, and what the days come to that were added to.
WITH holders AS MATERIALIZED (
    SELECT r.id, r.user_id, r.agent_name, r.attempt, g.snapshot
    FROM public.agent_runs AS r
    JOIN jsonb_to_recordset(%(journals)s::jsonb) AS g (run_id uuid, token bigint, snapshot jsonb)
        ON r.id = g.run_id AND r.fencing_token = g.token AND r.status = 'running'
    ORDER BY r.id
    FOR NO KEY UPDATE OF r SKIP LOCKED
), kept AS (
    UPDATE public.agent_runs AS r SET snapshot = h.snapshot
    FROM holders AS h
    WHERE r.id = h.id AND r.snapshot IS NULL AND h.snapshot IS NOT NULL
), steps AS (
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
), audit AS (
    INSERT INTO public.audit_logs
        (user_id, run_id, entry_key, agent_name, tool_name, tier, decision, outcome, arguments,
         arguments_hash, detail, called_at, action_id)
    SELECT h.user_id, h.id, e.entry_key, h.agent_name, e.tool_name, e.tier, e.decision, e.outcome,
           e.arguments, e.arguments_hash, e.detail, e.called_at, e.action_id
    FROM ROWS FROM (jsonb_to_recordset(%(audit)s::jsonb) AS (
        run_id uuid, entry_key uuid, tool_name text, tier text, decision text, outcome text,
        arguments jsonb, arguments_hash text, detail text, called_at timestamptz,
        action_id uuid))
        WITH ORDINALITY AS e
        (run_id, entry_key, tool_name, tier, decision, outcome, arguments, arguments_hash, detail,
         called_at, action_id, place)
    JOIN holders AS h ON h.id = e.run_id
    ORDER BY e.place
    -- What was written, though the answer to its commit was lost, is not written again.
    ON CONFLICT (run_id, entry_key) DO NOTHING
), days AS (
    -- To the day in all, and to that of the schedule.
    INSERT INTO public.usage_days AS d
        (user_id, day, schedule_id, model_calls, input_tokens, output_tokens, cost_usd)
    SELECT h.user_id, g.day, s.schedule_id, sum(g.model_calls), sum(g.input_tokens),
           sum(g.output_tokens), sum(g.cost_usd)
    FROM jsonb_to_recordset(%(usage)s::jsonb) AS g (
        run_id uuid, model_step integer, day date, schedule_id uuid, model_calls bigint,
        input_tokens bigint, output_tokens bigint, cost_usd numeric)
    JOIN holders AS h ON h.id = g.run_id
    CROSS JOIN LATERAL (
        SELECT NULL::uuid AS schedule_id
        UNION ALL SELECT g.schedule_id WHERE g.schedule_id IS NOT NULL
    ) AS s
    -- A write whose commit was cut off may have been one all the same.
    WHERE NOT EXISTS (
        SELECT FROM public.agent_run_steps AS before
        WHERE before.run_id = g.run_id AND before.model_step = g.model_step
          AND before.call_index = -1 AND before.attempt = h.attempt AND before.usage IS NOT NULL
    )
    GROUP BY h.user_id, g.day, s.schedule_id
    ORDER BY h.user_id, g.day, s.schedule_id NULLS FIRST
    ON CONFLICT (user_id, day, schedule_id) DO UPDATE
    SET model_calls = d.model_calls + excluded.model_calls,
        input_tokens = d.input_tokens + excluded.input_tokens,
        output_tokens = d.output_tokens + excluded.output_tokens,
        cost_usd = d.cost_usd + excluded.cost_usd
    RETURNING d.user_id, d.day, d.schedule_id, d.input_tokens + d.output_tokens AS tokens,
              d.cost_usd
)
SELECT id AS run_id, user_id, NULL::date AS day, NULL::uuid AS schedule_id,
       NULL::bigint AS tokens, NULL::numeric AS cost_usd
FROM holders
UNION ALL
SELECT NULL, user_id, day, schedule_id, tokens, cost_usd FROM days
