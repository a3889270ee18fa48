SELECT u.email FROM rota.addresses_of_people(ARRAY[%(user_id)s]::uuid[]) AS u
