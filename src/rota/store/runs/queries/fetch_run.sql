SELECT id, user_id, schedule_id, fire_time, agent_name, prompt, trigger, status, session_id,
       attempt, fencing_token, created_at, started_at, finished_at, is_serial, options, retry_of,
       action_id
FROM public.agent_runs
WHERE id = %(run_id)s
