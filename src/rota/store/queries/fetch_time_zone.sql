SELECT time_zone FROM public.user_settings WHERE user_id = %(user_id)s
