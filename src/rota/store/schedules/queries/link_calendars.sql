WITH found AS (
    SELECT s.id AS schedule_id, c.id, c.name, s.user_id
    FROM public.agent_schedules AS s
    JOIN public.calendars AS c ON c.user_id = s.user_id
    WHERE s.id = %(schedule_id)s AND c.name = ANY (%(names)s)
    FOR KEY SHARE OF c -- whoever removes it waits, and then finds this schedule
), linked AS (
    INSERT INTO public.schedule_calendars (schedule_id, calendar_id, user_id)
    SELECT schedule_id, id, user_id FROM found
    ON CONFLICT (schedule_id, calendar_id) DO NOTHING
)
SELECT name FROM found
