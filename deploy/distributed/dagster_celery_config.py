"""For `celery -A dagster_celery.app worker`, with this folder on its PYTHONPATH."""

import os

broker_url = os.environ["CELERY_BROKER_URL"]
result_backend = os.environ["CELERY_RESULT_BACKEND"]
# A process for each run, as Dagster has it everywhere else: what a run leaves ends with it.
worker_max_tasks_per_child = 1
worker_prefetch_multiplier = 1
