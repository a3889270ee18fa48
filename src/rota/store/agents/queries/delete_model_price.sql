DELETE FROM public.model_prices WHERE model = %(model)s
