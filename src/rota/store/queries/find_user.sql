SELECT rota.find_people(%(email)s, %(user_id)s)
