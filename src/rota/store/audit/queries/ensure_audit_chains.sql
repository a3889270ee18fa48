-- Chains of people that have none, and nobody's, should somebody have deleted it.
INSERT INTO public.audit_chains (id, user_id, salt, person_hash)
SELECT gen_random_uuid(), u.user_id, u.salt,
       sha256(convert_to(u.salt || ':' || u.user_id, 'UTF8'))
FROM (SELECT t.user_id, gen_random_uuid() AS salt
      FROM unnest(%(user_ids)s::uuid[]) AS t (user_id)) AS u
UNION ALL
SELECT %(nobodys)s, NULL, NULL, NULL
ON CONFLICT DO NOTHING
