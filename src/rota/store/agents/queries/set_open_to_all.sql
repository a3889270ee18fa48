-- Opening to all forgets who was notified, so that a person who is denied later is notified again.
WITH changed AS (
    UPDATE rota.limits SET open_to_all = %(is_open)s WHERE open_to_all <> %(is_open)s
    RETURNING open_to_all
)
UPDATE rota.people AS p SET told_at = NULL FROM changed WHERE changed.open_to_all AND p.told_at IS NOT NULL
