-- The foreign keys delete all rows of the person; result_texts are deleted with the results.
DELETE FROM auth.users WHERE id = %(user_id)s
