WITH linked AS (
    INSERT INTO public.schedule_calendars (schedule_id, calendar_id, user_id)
    SELECT s.id, c.id, s.user_id
    FROM public.agent_schedules AS s
    JOIN public.calendars AS c ON c.user_id = s.user_id
    WHERE s.id = %(schedule_id)s AND c.name = ANY (%(names)s)
    FOR KEY SHARE OF c -- whoever removes it waits, and then finds this schedule
    RETURNING calendar_id
)
SELECT c.name FROM linked JOIN public.calendars AS c ON c.id = linked.calendar_id
