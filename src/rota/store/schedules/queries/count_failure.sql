-- Counts results with status "error" in a row; returns the count, or nothing where none is kept.
UPDATE public.agent_schedules
SET failures_in_row = CASE WHEN %(failed)s THEN failures_in_row + 1 ELSE 0 END
WHERE id = %(schedule_id)s AND pause_after_failures IS NOT NULL
  AND (%(failed)s OR failures_in_row > 0)
RETURNING failures_in_row, pause_after_failures
