SELECT current_setting('role')
