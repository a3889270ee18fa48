-- One pending action per place in a run: an attempt that replays finds the first one's row.
WITH holder AS (
    SELECT id, user_id, agent_name FROM public.agent_runs
    WHERE id = %(run_id)s AND fencing_token = %(token)s AND status = 'running'
    FOR SHARE
), inserted AS (
    INSERT INTO public.pending_actions
        (user_id, run_id, model_step, call_index, agent_name, tool_name, tool_version, arguments,
         arguments_hash, risk, reason)
    SELECT user_id, id, %(model_step)s, %(call_index)s, agent_name, %(tool_name)s,
           %(tool_version)s, %(arguments)s, %(arguments_hash)s, %(risk)s, %(reason)s
    FROM holder
    ON CONFLICT (run_id, model_step, call_index) DO NOTHING
    RETURNING id
)
SELECT id FROM inserted
UNION ALL
SELECT p.id
FROM public.pending_actions AS p JOIN holder AS h ON p.run_id = h.id
WHERE p.model_step = %(model_step)s AND p.call_index = %(call_index)s
LIMIT 1
