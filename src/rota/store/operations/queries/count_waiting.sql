SELECT count(*) FILTER (WHERE status = 'running')::integer AS runs_running,
       count(*) FILTER (WHERE status = 'queued')::integer AS runs_queued,
       count(*) FILTER (WHERE status = 'waiting')::integer AS runs_waiting,
       count(*) FILTER (WHERE status = 'suspended')::integer AS runs_parked,
       (SELECT count(*)::integer FROM public.pending_actions
        WHERE user_id = %(user_id)s AND status = 'pending') AS calls_to_decide,
       (SELECT count(*)::integer FROM public.pending_actions
        WHERE user_id = %(user_id)s AND status = 'unknown') AS calls_to_settle,
       (SELECT min(expires_at) FROM public.pending_actions
        WHERE user_id = %(user_id)s AND status = 'pending') AS next_expiry,
       (SELECT count(*)::integer FROM public.notifications
        WHERE user_id = %(user_id)s AND read_at IS NULL) AS unread_notifications
FROM public.agent_runs
WHERE user_id = %(user_id)s AND status IN ('waiting', 'queued', 'running', 'suspended')
