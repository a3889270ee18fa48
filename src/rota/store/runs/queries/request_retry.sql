SELECT public.request_retry(%(run_id)s)
