-- Counts a person's unfinished runs of an agent, and its open approval requests.
SELECT (SELECT count(*) FROM public.agent_runs
        WHERE user_id = %(user_id)s AND agent_name = %(agent_name)s
          AND status IN ('waiting', 'queued', 'running', 'suspended')) AS runs,
       (SELECT count(*) FROM public.pending_actions
        WHERE user_id = %(user_id)s AND agent_name = %(agent_name)s
          AND status IN ('pending', 'approved', 'running', 'unknown')) AS actions
