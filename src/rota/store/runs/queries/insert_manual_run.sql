INSERT INTO public.agent_runs (user_id, schedule_id, agent_name, prompt, trigger)
VALUES (%(user_id)s, %(id)s, %(agent_name)s, coalesce(%(prompt)s, ''), 'manual')
RETURNING id
