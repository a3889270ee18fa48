SELECT u.id, u.email
FROM auth.users AS u
WHERE u.id = ANY (%(user_ids)s::uuid[]) AND u.email IS NOT NULL
