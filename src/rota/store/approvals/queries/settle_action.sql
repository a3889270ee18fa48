SELECT public.settle_action(%(action_id)s, %(outcome)s, %(via)s)
