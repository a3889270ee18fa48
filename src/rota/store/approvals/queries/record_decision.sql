SELECT rota.record_decision(a, %(decision)s, %(outcome)s, %(actor)s, %(origin)s, %(detail)s)
FROM public.pending_actions AS a
WHERE a.id = %(action_id)s
