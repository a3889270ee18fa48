-- Which chains could not be sealed, by their people; nothing is written where that is known.
UPDATE rota.audit_cursor AS k SET stuck = s.chains
FROM (SELECT coalesce(array_agg(c.id ORDER BY c.id), '{}') AS chains FROM public.audit_chains AS c
      WHERE c.user_id = ANY (%(user_ids)s::uuid[]) OR c.id = %(nobodys)s) AS s
WHERE k.stuck <> s.chains
