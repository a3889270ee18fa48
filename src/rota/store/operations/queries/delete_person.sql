-- Everything of theirs goes with them by the foreign keys; result_texts go with their results.
DELETE FROM auth.users WHERE id = %(user_id)s
