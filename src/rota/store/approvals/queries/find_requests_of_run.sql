-- The earlier approval requests of a run: the number, whether the same call was refused, how often
-- the tool was refused, a waiting request that another tool made (not a model message), the first
-- request for the same call, and the number of all waiting requests of this agent.
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
