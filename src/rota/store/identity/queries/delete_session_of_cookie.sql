DELETE FROM rota.sessions WHERE hash = %(hash)s
