UPDATE rota.limits SET max_concurrency = %(max_concurrency)s
