SELECT to_regprocedure('auth.uid()') IS NULL
