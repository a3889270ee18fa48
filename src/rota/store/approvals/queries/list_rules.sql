-- A person's own rules and the operator's rules for that person; for NULL all of the operator's.
SELECT p.id, p.user_id, p.effect, p.tool, p.for_user, p.agent_name, p.schedule_id, p.attendance,
       p.conditions::text AS conditions, p.risk, p.note, p.tool_version, p.expires_at, p.uses_left,
       p.from_action, p.created_at
FROM public.approval_rules AS p
WHERE (p.user_id = %(user_id)s
       OR (p.user_id IS NULL AND (%(user_id)s::uuid IS NULL OR p.for_user IS NULL
                                  OR p.for_user = %(user_id)s)))
  AND (%(prefix)s::text IS NULL OR p.id::text LIKE %(prefix)s::text || '%%')
ORDER BY p.user_id NULLS FIRST, p.created_at, p.id
