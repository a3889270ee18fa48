-- What limits hold for the caller, whosever row they come from, and how many runs count.
CREATE FUNCTION public.own_limits() RETURNS TABLE (
    max_concurrency integer,
    day_tokens bigint,
    day_cost_usd numeric,
    max_schedules integer,
    min_interval_seconds integer,
    max_waiting_runs integer,
    max_rules integer,
    max_rule_bytes integer,
    max_notifications integer,
    under_way bigint
)
LANGUAGE sql STABLE SECURITY DEFINER
BEGIN ATOMIC
    SELECT l.*, q.*,
           (SELECT count(*) FROM public.agent_runs AS r
            WHERE r.user_id = auth.uid() AND r.status IN ('queued', 'running')
              AND rota.holds_slot(r))
    FROM rota.limits_of(auth.uid()) AS l, rota.quotas_of(auth.uid()) AS q
    WHERE auth.uid() IS NOT NULL;
END;
REVOKE ALL ON FUNCTION public.own_limits() FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION public.own_limits() TO authenticated;
COMMENT ON FUNCTION public.own_limits() IS
    'The limits that hold for the caller, and how many of their runs are queued or running';
