-- How much a run has asked for; whether this very call was refused, and how often the tool was;
-- whether one waits already that no model message asked for, but another tool; which was the first of
-- this very call; and how much of what this agent asked for waits in all.
SELECT count(*) AS count,
       count(*) FILTER (WHERE a.status = 'refused' AND a.tool_name = %(tool_name)s
               AND %(arguments_hash)s IN (a.arguments_hash, a.proposed_hash)) > 0 AS was_refused,
       min(a.id::text) FILTER (WHERE a.status = 'pending' AND a.model_step IS NULL
               AND a.tool_name = %(tool_name)s AND a.arguments_hash = %(arguments_hash)s)::uuid
           AS waits_already,
       (array_agg(a.id ORDER BY a.created_at, a.model_step, a.call_index)
           FILTER (WHERE a.tool_name = %(tool_name)s
               AND %(arguments_hash)s IN (a.arguments_hash, a.proposed_hash)))[1] AS first_like_it,
       count(*) FILTER (WHERE a.status = 'refused' AND a.tool_name = %(tool_name)s) AS refusals,
       (SELECT count(*) FROM (
            SELECT FROM public.pending_actions AS w
            WHERE w.user_id = %(user_id)s AND w.agent_name = %(agent_name)s
              AND w.status = 'pending'
            LIMIT %(most)s) AS w) AS waiting
FROM public.pending_actions AS a
WHERE a.run_id = %(run_id)s
