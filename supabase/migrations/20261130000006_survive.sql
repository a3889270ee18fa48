-- Schedules outlive edits during a jitter delay, and clocks that were wrong for a while.

-- A changed rule is planned anew from the present, so a change never fires a past time. A fire whose
-- time has come and that no scheduler has taken is missed, and has its row. Where its jitter still
-- delays it, or it is due this very moment, `next_fire_time` keeps it: if the new rule has it too, the
-- scheduler takes the row back and fires it.
CREATE OR REPLACE FUNCTION rota.replan_schedule() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    due_fire timestamptz := coalesce(OLD.next_fire_time, OLD.next_fire_at);
BEGIN
    NEW.next_fire_at := NULL;
    NEW.next_fire_time := NULL;
    NEW.completed_at := NULL;
    NEW.plan_from := now();
    NEW.revision := OLD.revision + 1;
    IF OLD.is_active AND due_fire <= now() THEN
        INSERT INTO public.schedule_occurrences (schedule_id, fire_time, user_id, outcome, reason)
        VALUES (OLD.id, due_fire, OLD.user_id, 'missed',
                'the schedule was ' || CASE WHEN NEW.is_active THEN 'changed' ELSE 'paused' END
                || ' before a scheduler took this fire')
        ON CONFLICT (schedule_id, fire_time) DO NOTHING;
        IF NEW.is_active AND coalesce(OLD.next_fire_at, 'infinity') > now() - interval '5 seconds' THEN
            NEW.next_fire_time := due_fire;
        END IF;
    END IF;
    IF OLD.is_active AND NOT NEW.is_active THEN
        NEW.paused_at := now();
    ELSIF NEW.is_active AND NOT OLD.is_active THEN
        NEW.failures_in_row := 0;
    END IF;
    INSERT INTO public.schedule_changes (schedule_id, user_id, was)
    VALUES (OLD.id, OLD.user_id, to_jsonb(OLD));
    RETURN NEW;
END
$$;
COMMENT ON COLUMN public.agent_schedules.next_fire_time IS
    'The fire time that next_fire_at is for: earlier by the jitter. Without next_fire_at: the one '
    'whose delay a change came into';

-- What was planned by a clock that is ahead of the present one lies too far ahead, and is planned anew.
ALTER TABLE public.agent_schedules ADD COLUMN planned_at timestamptz;
COMMENT ON COLUMN public.agent_schedules.planned_at IS
    'The clock of the scheduler that set next_fire_at';
CREATE INDEX agent_schedules_planned_idx ON public.agent_schedules (planned_at) WHERE is_active;

ALTER TABLE rota.processes ADD COLUMN clock_ahead double precision; -- seconds before the database's

REVOKE ALL ON FUNCTION rota.replan_schedule() FROM PUBLIC, anon, authenticated;
