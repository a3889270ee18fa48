SELECT p.user_id, u.email, p.may_run
FROM rota.people AS p
LEFT JOIN rota.addresses_of_people(ARRAY(SELECT user_id FROM rota.people)) AS u ON u.id = p.user_id
WHERE p.may_run IS NOT NULL
ORDER BY u.email, p.user_id
