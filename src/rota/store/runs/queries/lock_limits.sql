LOCK TABLE public.user_limits, rota.limits IN SHARE ROW EXCLUSIVE MODE
