SELECT rota.may_run_agents(%(user_id)s)
