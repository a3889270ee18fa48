SELECT public.decide_action(%(action_id)s, %(decision)s, %(version)s, %(reason)s, %(via)s,
                            %(arguments_hash)s)
