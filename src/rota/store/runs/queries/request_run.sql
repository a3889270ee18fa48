SELECT public.request_run(%(agent_name)s::text, %(prompt)s::text, %(options)s::jsonb)
