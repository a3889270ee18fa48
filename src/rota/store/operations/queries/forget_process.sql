DELETE FROM rota.processes WHERE id = %(id)s
