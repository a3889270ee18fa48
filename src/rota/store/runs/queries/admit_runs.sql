-- One round of admission, under the lock of lock_admission. What is admitted exceeds no limit; what
-- a limit passed over, or a line was cut off before, is for another round. So is what somebody has
-- locked, who cancels a run say: another round does `without` the people of those runs.
--
-- The order is start-time fair queuing. A run's start tag is the one after its owner's last, or the
-- one that the queue has come to: so everybody's first run is before anybody's second, whoever comes
-- late is not behind those who came in crowds, and nobody is overtaken for ever.
WITH RECURSIVE under_way AS MATERIALIZED (
    SELECT user_id, agent_name, sign(priority)::integer AS class, count(*) AS runs,
           count(*) FILTER (WHERE status = 'queued') AS queued,
           max(start_tag) AS last_tag, min(start_tag) FILTER (WHERE status = 'queued') AS next_tag
    FROM public.agent_runs AS r
    WHERE rota.holds_slot(r)
    GROUP BY user_id, agent_name, sign(priority)
), classes AS (
    SELECT class, coalesce(min(next_tag), max(last_tag)) AS tag FROM under_way GROUP BY class
), classes_of_people AS (
    SELECT user_id, class, sum(queued) AS queued, max(last_tag) AS last_tag
    FROM under_way GROUP BY user_id, class
), people AS (
    SELECT user_id, sum(runs) AS runs FROM under_way GROUP BY user_id
), lines AS ( -- who waits for which agent, by a probe of the index each
    (SELECT user_id, agent_name FROM public.agent_runs WHERE status = 'waiting'
     ORDER BY user_id, agent_name LIMIT 1)
    UNION ALL
    SELECT n.user_id, n.agent_name
    FROM lines AS l
    CROSS JOIN LATERAL (
        SELECT r.user_id, r.agent_name FROM public.agent_runs AS r
        WHERE r.status = 'waiting' AND (r.user_id, r.agent_name) > (l.user_id, l.agent_name)
        ORDER BY r.user_id, r.agent_name LIMIT 1
    ) AS n
), limited AS MATERIALIZED ( -- who runs which agent that has a limit; their own hides a shared one
    SELECT p.user_id, p.agent_name, coalesce(own.id, shared.id) AS agent_id,
           CASE WHEN own.id IS NULL THEN shared.max_concurrency ELSE own.max_concurrency END
               AS max_concurrency
    FROM (SELECT user_id, agent_name FROM lines
          UNION SELECT user_id, agent_name FROM under_way) AS p
    LEFT JOIN public.agent_configurations AS own
        ON own.user_id = p.user_id AND own.agent_name = p.agent_name AND own.is_active
    LEFT JOIN public.agent_configurations AS shared
        ON shared.user_id IS NULL AND shared.agent_name = p.agent_name AND shared.is_active
    WHERE p.agent_name IN (SELECT agent_name FROM public.agent_configurations
                           WHERE max_concurrency IS NOT NULL)
      AND CASE WHEN own.id IS NULL THEN shared.max_concurrency ELSE own.max_concurrency END
          IS NOT NULL
), agents AS (
    SELECT l.agent_id, max(l.max_concurrency) - coalesce(sum(u.runs), 0) AS room
    FROM limited AS l
    LEFT JOIN under_way AS u USING (user_id, agent_name)
    GROUP BY l.agent_id
), room AS MATERIALIZED (
    SELECT free_places, places, (SELECT max_concurrency FROM rota.limits) - runs AS in_all,
           greatest(1, 2 * places / greatest(1, (SELECT count(*) FROM lines))) AS of_line
    FROM (SELECT greatest(0, %(ahead)s - coalesce(sum(queued), 0))::bigint AS free_places,
                 coalesce(sum(runs), 0)::bigint AS runs
          FROM under_way) AS counted
    CROSS JOIN LATERAL (SELECT least(free_places, %(most)s) AS places) AS of_round
), open_lines AS (
    SELECT l.user_id, l.agent_name, m.agent_id, a.room AS of_agent, room.in_all,
           limits.max_concurrency - coalesce(p.runs, 0) AS of_person,
           least(room.of_line, room.in_all, a.room,
                 limits.max_concurrency - coalesce(p.runs, 0)) AS wanted, room.of_line
    FROM lines AS l
    CROSS JOIN room
    CROSS JOIN LATERAL rota.limits_of(l.user_id) AS limits
    LEFT JOIN people AS p USING (user_id)
    LEFT JOIN limited AS m USING (user_id, agent_name)
    LEFT JOIN agents AS a USING (agent_id)
), candidates AS (
    SELECT l.*, r.id, r.priority, sign(r.priority)::integer AS class, r.created_at, r.fire_time
    FROM open_lines AS l
    CROSS JOIN LATERAL (
        SELECT v.id, v.priority, v.created_at, v.fire_time FROM rota.runs_to_admit AS v
        WHERE v.user_id = l.user_id AND v.agent_name = l.agent_name
          AND v.user_id <> ALL (%(without)s::uuid[])
        ORDER BY v.priority DESC, v.created_at, v.fire_time NULLS FIRST, v.id
        LIMIT l.wanted
    ) AS r
    WHERE l.wanted > 0
), tagged AS (
    SELECT c.*, greatest(k.tag, p.last_tag + 1, 0) AS first_tag, coalesce(p.queued, 0) AS queued,
           row_number() OVER (PARTITION BY user_id, class
                              ORDER BY priority DESC, created_at, fire_time NULLS FIRST, id) AS nth
    FROM candidates AS c
    LEFT JOIN classes AS k USING (class)
    LEFT JOIN classes_of_people AS p USING (user_id, class)
), places AS (
    SELECT t.*, row_number() OVER in_order AS place,
           row_number() OVER (PARTITION BY user_id ORDER BY class DESC, first_tag + nth,
                              created_at, fire_time NULLS FIRST, id) AS place_of_person,
           row_number() OVER (PARTITION BY agent_id ORDER BY class DESC, first_tag + nth,
                              created_at, fire_time NULLS FIRST, id) AS place_of_agent
    FROM tagged AS t
    WINDOW in_order AS (ORDER BY class DESC, first_tag + nth, created_at, fire_time NULLS FIRST, id)
), judged AS MATERIALIZED (
    SELECT p.*,
           coalesce(place <= in_all, true) AND coalesce(place_of_person <= of_person, true)
               AND coalesce(place_of_agent <= of_agent, true) AS is_within_limits,
           -- Nobody's first run waits for room behind the runs of others.
           place <= (SELECT places FROM room)
               OR (nth = 1 AND queued = 0 AND place <= %(ahead)s) AS has_room
    FROM places AS p
), chosen AS (
    SELECT id, user_id, place, first_tag - 1 + row_number() OVER (
               PARTITION BY user_id, class ORDER BY nth) AS start_tag
    FROM judged WHERE is_within_limits AND has_room
), free AS MATERIALIZED (
    SELECT id FROM public.agent_runs
    WHERE id IN (SELECT id FROM chosen) AND status = 'waiting'
    FOR NO KEY UPDATE SKIP LOCKED
), admitted AS (
    UPDATE public.agent_runs AS r
    SET status = 'queued', queued_at = now(), start_tag = c.start_tag
    FROM chosen AS c
    JOIN free USING (id)
    WHERE r.id = c.id
    RETURNING r.id, r.priority, c.start_tag, c.place, r.attempt
), found AS (
    SELECT (SELECT free_places FROM room) AS places,
           coalesce(bool_or(is_within_limits AND NOT has_room), false)
               OR EXISTS (SELECT FROM judged GROUP BY user_id, agent_name, of_line
                          HAVING count(*) = of_line) AS lack_room,
           coalesce(bool_or(NOT is_within_limits), false) AS passed_over,
           (SELECT coalesce(array_agg(DISTINCT user_id), '{}') FROM chosen
            WHERE id NOT IN (SELECT id FROM free)) AS locked
    FROM judged
)
SELECT f.places, f.lack_room, f.passed_over, f.locked, a.id AS run_id, a.priority, a.start_tag, a.attempt
FROM found AS f
LEFT JOIN admitted AS a ON true
ORDER BY a.place
