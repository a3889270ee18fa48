-- Versions of a person's agent, or of a shared one, the newest first.
SELECT v.version, v.change, v.by_owner, v.changed_at, v.configuration
FROM public.agent_versions AS v
WHERE v.agent_name = %(agent_name)s
  AND (v.user_id = %(user_id)s OR (%(user_id)s::uuid IS NULL AND v.user_id IS NULL))
  AND (%(before)s::integer IS NULL OR v.version < %(before)s)
ORDER BY v.version DESC
LIMIT %(limit)s
