SELECT u.id, u.email FROM rota.addresses_of_people(%(user_ids)s::uuid[]) AS u
