INSERT INTO public.agent_runs (user_id, schedule_id, agent_name, prompt, trigger, priority)
VALUES (%(user_id)s, %(schedule_id)s, %(agent_name)s, %(prompt)s, %(trigger)s, %(priority)s)
RETURNING id, user_id, schedule_id, fire_time, agent_name, prompt, trigger, status, session_id,
          attempt, fencing_token, created_at, started_at, finished_at
