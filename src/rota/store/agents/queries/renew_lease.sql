UPDATE public.connections
SET lease_until = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE user_id = %(user_id)s AND name = %(name)s AND lease_holder = %(holder)s
