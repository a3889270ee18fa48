SELECT public.request_schedule_run(%(schedule_id)s::uuid, %(prompt)s::text)
