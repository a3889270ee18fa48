SELECT count(*)
FROM public.search_results(
    %(words)s, %(agent_name)s, %(schedule_id)s::uuid, %(status)s, %(since)s::timestamptz,
    most => 1000)
