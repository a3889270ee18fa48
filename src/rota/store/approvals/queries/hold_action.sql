INSERT INTO public.pending_actions
    (id, user_id, run_id, model_step, call_index, agent_name, tool_name, tool_version, arguments,
     sealed_arguments, arguments_hash, argument_schema, risk, reason, account, mode, expires_at,
     remind_at, definition_hash)
VALUES (%(id)s, %(user_id)s, %(run_id)s, %(model_step)s, %(call_index)s, %(agent_name)s,
        %(tool_name)s, %(tool_version)s, %(arguments)s, %(sealed_arguments)s, %(arguments_hash)s,
        nullif(%(argument_schema)s, '{}'::jsonb), %(risk)s, %(reason)s, %(account)s, %(mode)s,
        now() + %(expires_after)s, now() + %(remind_after)s::interval,
        %(definition_hash)s)
