INSERT INTO rota.people AS p (user_id, may_run)
SELECT DISTINCT t.user_id, %(may_run)s FROM unnest(%(people)s::uuid[]) AS t (user_id) ORDER BY 1
ON CONFLICT (user_id) DO UPDATE
SET may_run = excluded.may_run, told_at = CASE WHEN NOT excluded.may_run THEN p.told_at END
