-- A person's schedules can all be paused for a while, from now or a time to come, with a note and an end
-- (`rota pause`). Schedulers go on looking at them: what falls due in a pause is skipped, and has its row.

CREATE TABLE public.pauses (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES auth.users (id) ON DELETE CASCADE,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz,
    note text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pauses_bounds_check CHECK (
        length(note) <= 1000 AND ends_at >= starts_at
        AND starts_at BETWEEN '1900-01-01Z' AND '9000-01-01Z'
        AND ends_at BETWEEN '1900-01-01Z' AND '9000-01-01Z')
);
COMMENT ON TABLE public.pauses IS
    'When all schedules of a person pause: fire times in it are skipped. Those that are over stay, so '
    'that it can be said later why nothing ran';
COMMENT ON COLUMN public.pauses.id IS 'Identifies the pause';
COMMENT ON COLUMN public.pauses.user_id IS 'Whose schedules pause; goes with the person';
COMMENT ON COLUMN public.pauses.starts_at IS 'From when on';
COMMENT ON COLUMN public.pauses.ends_at IS
    'From when on schedules fire again; NULL: until they are resumed';
COMMENT ON COLUMN public.pauses.note IS 'Why, for people';
COMMENT ON COLUMN public.pauses.created_at IS 'When the row was made';
CREATE INDEX pauses_user_idx ON public.pauses (user_id, starts_at);

SELECT rota.keep_to_backend('public.pauses');
GRANT SELECT ON public.pauses TO authenticated;
CREATE POLICY reads_own ON public.pauses FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));

-- Ends what pause a person has, or is to have; returns what its note was, NULL where there was none.
CREATE FUNCTION rota.end_pauses(person uuid) RETURNS text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    last_note text;
BEGIN
    PERFORM rota.lock_quotas(person);
    SELECT p.note INTO last_note FROM public.pauses AS p
    WHERE p.user_id = person AND (p.ends_at IS NULL OR p.ends_at > now())
    ORDER BY p.starts_at DESC LIMIT 1;
    DELETE FROM public.pauses AS p
    WHERE p.user_id = person AND p.starts_at >= now();
    UPDATE public.pauses AS p SET ends_at = now()
    WHERE p.user_id = person AND (p.ends_at IS NULL OR p.ends_at > now());
    DELETE FROM public.pauses AS p
    WHERE p.id IN (SELECT o.id FROM public.pauses AS o WHERE o.user_id = person
                   ORDER BY o.starts_at DESC OFFSET 99); -- whoever pauses in a loop fills no table
    RETURN last_note;
END
$$;

CREATE FUNCTION public.pause_everything(
    note text DEFAULT NULL, starts_at timestamptz DEFAULT NULL, ends_at timestamptz DEFAULT NULL
) RETURNS uuid
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    caller uuid := auth.uid();
    first timestamptz := greatest(starts_at, now());
    last_note text;
    new_id uuid;
BEGIN
    IF caller IS NULL THEN
        RAISE EXCEPTION 'nobody is signed in' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF ends_at <= first THEN
        RAISE EXCEPTION 'a pause ends after it begins, and in the future'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    last_note := rota.end_pauses(caller);
    INSERT INTO public.pauses (user_id, starts_at, ends_at, note)
    VALUES (caller, first, pause_everything.ends_at,
            coalesce(pause_everything.note, last_note, ''))
    RETURNING id INTO new_id;
    RETURN new_id;
END
$$;

CREATE FUNCTION public.resume_everything() RETURNS boolean
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF auth.uid() IS NULL THEN
        RAISE EXCEPTION 'nobody is signed in' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN rota.end_pauses(auth.uid()) IS NOT NULL;
END
$$;

COMMENT ON FUNCTION public.pause_everything(text, timestamptz, timestamptz) IS
    'Pauses all schedules of the caller, in place of the pause that they had: from now unless it starts '
    'later, until it ends or is ended; without a note it keeps the earlier one. Returns its id';
COMMENT ON FUNCTION public.resume_everything() IS
    'Ends the pause of all schedules of the caller, one to come too; returns whether there was one';

REVOKE ALL ON FUNCTION rota.end_pauses(uuid) FROM PUBLIC, anon, authenticated;
REVOKE ALL ON FUNCTION public.pause_everything(text, timestamptz, timestamptz)
    FROM PUBLIC, anon, service_role;
REVOKE ALL ON FUNCTION public.resume_everything() FROM PUBLIC, anon, service_role;
GRANT EXECUTE ON FUNCTION public.pause_everything(text, timestamptz, timestamptz) TO authenticated;
GRANT EXECUTE ON FUNCTION public.resume_everything() TO authenticated;
