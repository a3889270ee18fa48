-- A worker that stops hands its runs over: an attempt, but none that something in the run killed.

ALTER TABLE public.agent_runs
    ADD COLUMN hand_overs integer NOT NULL DEFAULT 0 CHECK (hand_overs BETWEEN 0 AND attempt);

-- Statistics of the queue that nothing reads, and nothing pruned.
TRUNCATE rota.pgqueuer_statistics;

-- The same run once more, for a person: a new run with what the first of its kind was asked, so
-- that it is retried by itself as often as that one was to be.
CREATE OR REPLACE FUNCTION public.request_retry(run_id uuid) RETURNS uuid
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = ''
AS $$
DECLARE
    caller uuid := auth.uid();
    earlier public.agent_runs%ROWTYPE;
    new_id uuid;
BEGIN
    SELECT * INTO earlier FROM public.agent_runs AS r
    WHERE r.id = request_retry.run_id AND r.user_id = caller;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such run' USING ERRCODE = 'no_data_found';
    END IF;
    IF earlier.status NOT IN ('finished', 'cancelled') THEN
        RAISE EXCEPTION 'the run is not over' USING ERRCODE = 'object_in_use';
    END IF;
    INSERT INTO public.agent_runs
        (user_id, schedule_id, agent_name, prompt, trigger, priority, is_serial, options, retry_of)
    VALUES (earlier.user_id, earlier.schedule_id, earlier.agent_name, earlier.prompt, 'retry', 100,
            earlier.is_serial,
            (WITH RECURSIVE chain AS (
                SELECT earlier.retry_of, earlier.options, 0 AS place
                UNION ALL
                SELECT r.retry_of, r.options, c.place + 1
                FROM chain AS c JOIN public.agent_runs AS r ON r.id = c.retry_of
                WHERE c.place < 100)
             SELECT c.options FROM chain AS c ORDER BY c.place DESC LIMIT 1),
            earlier.id)
    RETURNING id INTO new_id;
    RETURN new_id;
END
$$;
