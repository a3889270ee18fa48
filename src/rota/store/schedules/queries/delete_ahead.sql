-- What a look whose clock was ahead said of fire times that have not come: whatever it wrote together
-- with a row of the future, but for runs, which there have been. Returns where each schedule goes on.
WITH ahead AS (
    SELECT DISTINCT schedule_id, created_at FROM public.schedule_occurrences
    WHERE schedule_id = ANY (%(schedule_ids)s::uuid[]) AND outcome <> 'fired'
      AND coalesce(last_fire_time, fire_time) > %(now)s
), gone AS (
    DELETE FROM public.schedule_occurrences AS o
    USING ahead AS a
    WHERE o.schedule_id = a.schedule_id AND o.created_at = a.created_at AND o.outcome <> 'fired'
    RETURNING o.schedule_id, o.fire_time
)
SELECT schedule_id, min(fire_time) AS fire_time FROM gone GROUP BY schedule_id
