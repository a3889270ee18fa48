SELECT public.request_backfill(%(schedule_id)s, %(fire_times)s::timestamptz[], %(overlap)s)
