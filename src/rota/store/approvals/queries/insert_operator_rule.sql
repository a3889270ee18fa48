INSERT INTO public.approval_rules
    (effect, tool, for_user, agent_name, schedule_id, attendance, conditions, risk, note,
     tool_version, expires_at, uses_left)
VALUES (%(effect)s, %(tool)s, %(for_user)s, %(agent_name)s, %(schedule_id)s, %(attendance)s,
        %(conditions)s, %(risk)s, %(note)s, %(tool_version)s, %(expires_at)s, %(uses_left)s)
RETURNING id
