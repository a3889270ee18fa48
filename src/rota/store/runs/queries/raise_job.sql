UPDATE rota.pgqueuer SET priority = %(priority)s WHERE id = %(job_id)s
