-- Each rule once, however many runs it is for: runs/claim_runs says which of them hold for which.
SELECT p.id, p.user_id, p.effect, p.tool, p.for_user, p.agent_name, p.schedule_id, p.attendance,
       p.conditions::text AS conditions, p.risk, p.note, p.tool_version, p.expires_at, p.uses_left,
       p.from_action, p.created_at
FROM public.approval_rules AS p
WHERE p.user_id IS NULL
   OR p.user_id IN (SELECT r.user_id FROM public.agent_runs AS r WHERE r.id = ANY (%(run_ids)s))
