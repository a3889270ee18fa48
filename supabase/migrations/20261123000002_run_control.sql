-- Cancelling a run, for a person: what has not begun ends here; what is under way is asked to stop,
-- and its worker stores what there is. Returns the run's status.
CREATE FUNCTION public.request_cancel(run_id uuid, note text DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = ''
AS $$
DECLARE
    caller uuid := auth.uid();
    now_status text;
BEGIN
    UPDATE public.agent_runs AS r
    SET cancel_requested_at = now(),
        cancel_reason = coalesce(nullif(left(note, 500), ''), 'its owner asked for it'),
        status = CASE WHEN r.status = 'running' THEN 'running' ELSE 'cancelled' END,
        finished_at = CASE WHEN r.status = 'running' THEN NULL ELSE now() END
    WHERE r.id = request_cancel.run_id AND r.user_id = caller
      AND r.status IN ('waiting', 'queued', 'running') AND r.cancel_requested_at IS NULL
    RETURNING r.status INTO now_status;
    IF now_status IS NULL THEN
        SELECT r.status INTO now_status FROM public.agent_runs AS r
        WHERE r.id = request_cancel.run_id AND r.user_id = caller;
    END IF;
    IF now_status IS NULL THEN
        RAISE EXCEPTION 'no such run' USING ERRCODE = 'no_data_found';
    END IF;
    RETURN now_status;
END
$$;
REVOKE ALL ON FUNCTION public.request_cancel(uuid, text) FROM PUBLIC, anon, service_role;
GRANT EXECUTE ON FUNCTION public.request_cancel(uuid, text) TO authenticated;
