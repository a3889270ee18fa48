SELECT public.request_schedule_run(%(schedule_id)s, %(prompt)s, %(overlap)s, %(options)s::jsonb)
