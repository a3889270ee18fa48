INSERT INTO public.agent_runs
    (user_id, schedule_id, agent_name, prompt, trigger, priority, fire_time, options, not_before,
     retry_of, is_serial)
VALUES (%(user_id)s, %(schedule_id)s, %(agent_name)s, %(prompt)s, %(trigger)s, %(priority)s,
        %(fire_time)s, %(options)s, %(not_before)s, %(retry_of)s, %(is_serial)s)
RETURNING id, user_id, schedule_id, fire_time, agent_name, prompt, trigger, status, session_id,
          attempt, fencing_token, created_at, started_at, finished_at, is_serial, options, retry_of,
          action_id
