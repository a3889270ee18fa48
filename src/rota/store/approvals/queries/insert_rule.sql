INSERT INTO public.approval_rules
    (user_id, effect, tool, agent_name, schedule_id, attendance, conditions, risk, note,
     tool_version, expires_at, uses_left, from_action)
VALUES (%(user_id)s, %(effect)s, %(tool)s, %(agent_name)s, %(schedule_id)s, %(attendance)s,
        %(conditions)s, %(risk)s, %(note)s, %(tool_version)s, %(expires_at)s, %(uses_left)s,
        %(from_action)s)
RETURNING id
