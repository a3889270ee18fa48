SELECT rota.cancel_runs(%(schedule_id)s, %(reason)s)
