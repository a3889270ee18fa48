-- Why rota paused a schedule by itself, beside the note that people read and may change: a file of the
-- schedule holds what a person said, and not what failed here.
ALTER TABLE public.agent_schedules ADD COLUMN rota_pause_note text;
COMMENT ON COLUMN public.agent_schedules.rota_pause_note IS
    'Why rota paused it last; the pause is rota''s own while pause_note says the same';
