INSERT INTO public.audit_logs
    (user_id, agent_name, tool_name, tier, decision, outcome, arguments, arguments_hash, detail,
     called_at, actor, origin)
VALUES (%(user_id)s, %(agent_name)s, %(tool_name)s, %(tier)s, %(decision)s, %(outcome)s,
        %(arguments)s, %(arguments_hash)s, %(detail)s, %(called_at)s, %(actor)s, %(origin)s)
