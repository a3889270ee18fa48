-- Which calendars a schedule keeps is part of what two people can edit, so a change counts as a revision.

-- Counts it once a statement, of schedules that are not being made in this very transaction.
CREATE FUNCTION rota.count_revision_of_calendars() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE public.agent_schedules AS s SET revision = s.revision + 1
    WHERE s.id IN (SELECT c.schedule_id FROM changed AS c) AND s.created_at <> now();
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION rota.count_revision_of_calendars() FROM PUBLIC, anon, authenticated;

CREATE TRIGGER count_revision_of_added AFTER INSERT ON public.schedule_calendars
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION rota.count_revision_of_calendars();
CREATE TRIGGER count_revision_of_removed AFTER DELETE ON public.schedule_calendars
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION rota.count_revision_of_calendars();
