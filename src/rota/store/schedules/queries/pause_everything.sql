SELECT public.pause_everything(%(note)s, %(starts_at)s, %(ends_at)s)
