-- How much a run has asked for; whether this very call was refused; whether one waits already that
-- no model message asked for, but another tool.
SELECT count(*) AS asked,
       bool_or(a.status = 'refused' AND a.tool_name = %(tool_name)s
               AND a.arguments_hash = %(arguments_hash)s) AS was_refused,
       min(a.id::text) FILTER (WHERE a.status = 'pending' AND a.model_step IS NULL
               AND a.tool_name = %(tool_name)s AND a.arguments_hash = %(arguments_hash)s)::uuid
           AS waits_already
FROM public.pending_actions AS a
WHERE a.run_id = %(run_id)s
