-- The overlap rule, once: for schedulers and for whoever asks for a run now.

-- Whether a run is not over. One that a process executes by itself, outside the queue, does not
-- count: nobody else would ever end it. In one line and without settings, so that it is inlined.
CREATE FUNCTION rota.is_unfinished(run public.agent_runs) RETURNS boolean
    LANGUAGE sql IMMUTABLE
AS $$
    SELECT run.status IN ('waiting', 'queued', 'running', 'suspended')
       AND NOT (run.status = 'running' AND run.queued_at IS NULL)
$$;
REVOKE ALL ON FUNCTION rota.is_unfinished(public.agent_runs) FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION rota.is_unfinished(public.agent_runs) TO service_role;

DROP INDEX public.agent_runs_under_way_idx;
CREATE INDEX agent_runs_under_way_idx ON public.agent_runs (schedule_id, status)
    WHERE status IN ('waiting', 'queued', 'running', 'suspended');

-- What a new run of a schedule does, by an overlap policy: 'run', 'cancel_and_run' or 'skip'; NULL
-- for a policy that does not exist. `since` and `parked` tell of the unfinished runs it was judged
-- by.
--
-- A parked run counts: its work is not done, and another run would ask for the same once more. A
-- backfill does not: the present goes before it. Nor does a run that waits for its time, a retry
-- say: no fire is skipped because an earlier one failed.
CREATE FUNCTION rota.judge_overlap(of_schedule uuid, policy text)
    RETURNS TABLE (start text, since timestamptz, parked boolean)
    LANGUAGE sql STABLE
AS $$
    SELECT CASE policy
               WHEN 'skip' THEN CASE WHEN count(*) > 0 THEN 'skip' ELSE 'run' END
               WHEN 'buffer_one' THEN CASE WHEN count(*) > 1 THEN 'skip' ELSE 'run' END
               WHEN 'buffer_all' THEN 'run'
               WHEN 'cancel_other' THEN CASE WHEN count(*) > 0 THEN 'cancel_and_run' ELSE 'run' END
               WHEN 'allow_all' THEN 'run'
           END,
           min(coalesce(r.fire_time, r.created_at)),
           coalesce(bool_or(r.status = 'suspended'), false)
    FROM public.agent_runs AS r
    WHERE r.schedule_id = of_schedule AND rota.is_unfinished(r) AND r.trigger <> 'backfill'
      AND NOT (r.status = 'waiting' AND coalesce(r.not_before > now(), false))
$$;
REVOKE ALL ON FUNCTION rota.judge_overlap(uuid, text) FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION rota.judge_overlap(uuid, text) TO service_role;

-- Asks the unfinished runs of a schedule to stop: what has not begun ends here; what is under way
-- ends on its worker, and a parked one goes on to end, both with what they have.
CREATE OR REPLACE FUNCTION rota.cancel_runs(of_schedule uuid, why text) RETURNS integer
    LANGUAGE plpgsql
    SET search_path = ''
AS $$
DECLARE
    asked integer;
BEGIN
    UPDATE public.agent_runs AS r
    SET cancel_requested_at = now(),
        cancel_reason = why,
        status = CASE WHEN r.status IN ('running', 'suspended') THEN r.status
                      ELSE 'cancelled' END,
        finished_at = CASE WHEN r.status IN ('running', 'suspended') THEN NULL ELSE now() END
    WHERE r.schedule_id = of_schedule AND rota.is_unfinished(r)
      AND r.cancel_requested_at IS NULL AND r.trigger <> 'backfill';
    GET DIAGNOSTICS asked = ROW_COUNT;
    RETURN asked;
END
$$;

CREATE OR REPLACE FUNCTION public.request_schedule_run(
    schedule_id uuid, prompt text DEFAULT NULL, overlap text DEFAULT NULL,
    options jsonb DEFAULT NULL
) RETURNS uuid
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = ''
AS $$
DECLARE
    caller uuid := auth.uid();
    wanted_schedule public.agent_schedules%ROWTYPE;
    policy text;
    start text;
    new_id uuid;
BEGIN
    SELECT * INTO wanted_schedule FROM public.agent_schedules AS s
    WHERE s.id = request_schedule_run.schedule_id AND s.user_id = caller
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such schedule' USING ERRCODE = 'no_data_found';
    END IF;
    policy := coalesce(request_schedule_run.overlap, wanted_schedule.overlap_policy);
    SELECT o.start INTO start FROM rota.judge_overlap(wanted_schedule.id, policy) AS o;
    IF start IS NULL THEN
        RAISE EXCEPTION 'no such overlap policy' USING ERRCODE = 'invalid_parameter_value';
    ELSIF start = 'skip' THEN
        RAISE EXCEPTION 'a run of this schedule is under way' USING ERRCODE = 'object_in_use';
    ELSIF start = 'cancel_and_run' THEN
        PERFORM rota.cancel_runs(wanted_schedule.id, 'a run was asked for in its place');
    END IF;
    INSERT INTO public.agent_runs
        (user_id, schedule_id, agent_name, prompt, trigger, priority, is_serial, options)
    VALUES (wanted_schedule.user_id, wanted_schedule.id, wanted_schedule.agent_name,
            coalesce(request_schedule_run.prompt, wanted_schedule.prompt, ''), 'manual', 100,
            policy <> 'allow_all', request_schedule_run.options)
    RETURNING id INTO new_id;
    RETURN new_id;
END
$$;

-- A serial run is admitted when it is the first of its schedule's line and none has begun that is
-- not over. What waits for its time is in no line yet.
CREATE OR REPLACE VIEW rota.runs_to_admit WITH (security_invoker = true) AS
SELECT r.id, r.user_id, r.agent_name, r.priority, r.created_at, r.fire_time
FROM public.agent_runs AS r
WHERE r.status = 'waiting'
  AND (r.not_before IS NULL OR r.not_before <= now())
  AND CASE
      WHEN NOT r.is_serial THEN true
      WHEN r.id <> (
          SELECT o.id FROM public.agent_runs AS o
          WHERE o.schedule_id = r.schedule_id AND o.status = 'waiting' AND o.is_serial
            AND (o.not_before IS NULL OR o.not_before <= now())
          ORDER BY o.priority DESC, o.created_at, o.fire_time NULLS FIRST, o.id
          LIMIT 1
      ) THEN false
      ELSE NOT EXISTS (
          SELECT FROM public.agent_runs AS o
          WHERE o.schedule_id = r.schedule_id AND o.status IN ('queued', 'running', 'suspended')
            AND rota.is_unfinished(o)
      ) END;
