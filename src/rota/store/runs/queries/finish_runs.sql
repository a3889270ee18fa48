-- The results and the ends of runs, each only while its attempt still holds its run.
WITH given AS (
    SELECT * FROM jsonb_to_recordset(%(ends)s::jsonb) AS g (
        run_id uuid, token bigint, result_id uuid, content text, whole text, status text,
        duration_ms integer, metadata jsonb, snapshot jsonb)
), ended AS (
    UPDATE public.agent_runs AS r
    SET status = CASE WHEN g.metadata ? 'cancelled' THEN 'cancelled' ELSE 'finished' END,
        finished_at = now(), snapshot = coalesce(r.snapshot, g.snapshot)
    FROM given AS g
    WHERE r.id = g.run_id AND r.fencing_token = g.token AND r.status = 'running'
    RETURNING r.id, r.user_id, r.schedule_id, r.agent_name, r.prompt, g.result_id, g.content,
              g.whole, g.status, g.duration_ms, g.metadata
), kept AS (
    INSERT INTO public.result_texts (result_id, user_id, content)
    SELECT e.result_id, e.user_id, e.whole FROM ended AS e WHERE e.whole IS NOT NULL
)
INSERT INTO public.agent_execution_results
    (id, user_id, schedule_id, run_id, agent_name, prompt, result_content,
     status, pending_actions_created, execution_duration_ms, metadata)
SELECT e.result_id, e.user_id, e.schedule_id, e.id, e.agent_name, e.prompt, e.content, e.status,
       -- Those that the run waited for are decided by now.
       (SELECT count(*) FROM public.pending_actions AS p
        WHERE p.run_id = e.id AND p.mode = 'queue'),
       e.duration_ms, e.metadata
FROM ended AS e
RETURNING run_id, pending_actions_created
