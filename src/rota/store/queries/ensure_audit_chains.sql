INSERT INTO public.audit_chains (user_id, salt, person_hash)
SELECT u.user_id, u.salt, sha256(convert_to(u.salt || ':' || u.user_id, 'UTF8'))
FROM (SELECT t.user_id, gen_random_uuid() AS salt
      FROM unnest(%(user_ids)s::uuid[]) AS t (user_id)) AS u
ON CONFLICT (user_id) DO NOTHING
