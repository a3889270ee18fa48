DELETE FROM rota.api_tokens WHERE id = %(id)s AND user_id = %(user_id)s
