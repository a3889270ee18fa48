INSERT INTO rota.people AS p (user_id, told_at) VALUES (%(user_id)s, now())
ON CONFLICT (user_id) DO UPDATE SET told_at = excluded.told_at WHERE p.told_at IS NULL
