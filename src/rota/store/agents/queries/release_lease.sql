UPDATE public.connections SET lease_holder = NULL, lease_until = NULL
WHERE user_id = %(user_id)s AND name = %(name)s AND lease_holder = %(holder)s
