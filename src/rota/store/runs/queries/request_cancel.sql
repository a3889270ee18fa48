SELECT public.request_cancel(%(run_id)s, %(note)s)
