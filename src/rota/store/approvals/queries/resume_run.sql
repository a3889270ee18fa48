SELECT rota.resume_run(%(run_id)s)
