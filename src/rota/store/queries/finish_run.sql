-- The result and the end of the run, only while this attempt still holds the run.
WITH ended AS (
    UPDATE public.agent_runs
    SET status = 'finished', finished_at = now()
    WHERE id = %(run_id)s AND fencing_token = %(token)s AND status = 'running'
    RETURNING id, user_id, schedule_id, agent_name, prompt, created_at
)
INSERT INTO public.agent_execution_results
    (user_id, schedule_id, run_id, agent_name, prompt, result_content, status,
     pending_actions_created, execution_duration_ms, metadata)
SELECT user_id, schedule_id, id, agent_name, prompt, %(content)s, %(status)s,
       %(pending)s, %(duration_ms)s, %(metadata)s
FROM ended
RETURNING id, created_at
