SELECT u.id, u.email AS name FROM rota.addresses_of_people(%(user_ids)s::uuid[]) AS u
