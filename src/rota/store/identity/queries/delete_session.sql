DELETE FROM rota.sessions WHERE id = %(id)s AND user_id = %(user_id)s
