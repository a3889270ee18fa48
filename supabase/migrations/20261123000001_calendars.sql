-- Days off: calendars of a person, and the schedules that do not fire on their days. That a person
-- links only their own schedules with their own calendars is a fact of the foreign keys.

ALTER TABLE public.agent_schedules ADD UNIQUE (id, user_id);

CREATE TABLE public.calendars (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL DEFAULT auth.uid() REFERENCES auth.users (id) ON DELETE CASCADE,
    name text NOT NULL CHECK (name ~ '^\S(.{0,98}\S)?$'),
    source text NOT NULL DEFAULT '', -- the file's name, for people
    covers_until date, -- events that recur are expanded until then; NULL: none recurs
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, name),
    UNIQUE (id, user_id)
);
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON public.calendars
    FOR EACH ROW EXECUTE FUNCTION rota.touch_updated_at();

CREATE TABLE public.calendar_days (
    calendar_id uuid NOT NULL,
    user_id uuid NOT NULL DEFAULT auth.uid() REFERENCES auth.users (id) ON DELETE CASCADE,
    first_day date NOT NULL,
    last_day date NOT NULL CHECK (last_day >= first_day),
    summary text NOT NULL DEFAULT '',
    PRIMARY KEY (calendar_id, first_day, last_day),
    FOREIGN KEY (calendar_id, user_id) REFERENCES public.calendars (id, user_id) ON DELETE CASCADE
);
CREATE INDEX calendar_days_user_idx ON public.calendar_days (user_id);

-- The key to the calendar is checked at the end of the transaction: so that a calendar in use
-- cannot be removed, and a person with all they have can.
CREATE TABLE public.schedule_calendars (
    schedule_id uuid NOT NULL,
    calendar_id uuid NOT NULL,
    user_id uuid NOT NULL DEFAULT auth.uid() REFERENCES auth.users (id) ON DELETE CASCADE,
    PRIMARY KEY (schedule_id, calendar_id),
    FOREIGN KEY (schedule_id, user_id) REFERENCES public.agent_schedules (id, user_id)
        ON DELETE CASCADE,
    FOREIGN KEY (calendar_id, user_id) REFERENCES public.calendars (id, user_id)
        DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX schedule_calendars_calendar_idx ON public.schedule_calendars (calendar_id);
CREATE INDEX schedule_calendars_user_idx ON public.schedule_calendars (user_id);

SELECT rota.keep_to_backend('public.calendars');
SELECT rota.keep_to_backend('public.calendar_days');
SELECT rota.keep_to_backend('public.schedule_calendars');

GRANT SELECT, DELETE ON public.calendars TO authenticated;
GRANT INSERT (user_id, name, source, covers_until) ON public.calendars TO authenticated;
GRANT UPDATE (name, source, covers_until) ON public.calendars TO authenticated;
CREATE POLICY owns ON public.calendars FOR ALL TO authenticated
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));

GRANT SELECT, DELETE ON public.calendar_days TO authenticated;
GRANT INSERT (calendar_id, user_id, first_day, last_day, summary) ON public.calendar_days
    TO authenticated;
GRANT UPDATE (summary) ON public.calendar_days TO authenticated;
CREATE POLICY owns ON public.calendar_days FOR ALL TO authenticated
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));

GRANT SELECT, DELETE ON public.schedule_calendars TO authenticated;
GRANT INSERT (schedule_id, calendar_id, user_id) ON public.schedule_calendars TO authenticated;
CREATE POLICY owns ON public.schedule_calendars FOR ALL TO authenticated
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));
