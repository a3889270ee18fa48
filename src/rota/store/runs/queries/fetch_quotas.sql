SELECT * FROM rota.quotas_of(%(user_id)s)
