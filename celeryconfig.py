"""Celery's settings. The Run row is the queue of record: a message carries ids and may be lost at any time."""

from django.conf import settings

broker_url = settings.REDIS_URL
result_backend = None
task_ignore_result = True

imports = ["workers.tasks"]
include: list[str] = []
task_default_queue = "runs"
task_create_missing_queues = True
task_routes = {
    "run_agent": {"queue": "runs"},
    "summarise_session": {"queue": "jobs"},
    "title_session": {"queue": "jobs"},
}

accept_content = ["json"]
task_serializer = "json"
result_serializer = "json"

# A row whose doorbell was lost or whose worker died is found by the sweep, so the broker never has to remember: early
# acknowledgement costs nothing, and a message that kills its worker is not handed to the next one.
task_acks_late = False
worker_prefetch_multiplier = 1
task_publish_retry = False
task_send_sent_event = False
worker_send_task_events = False
worker_hijack_root_logger = False
worker_consumer = "chatproject.consumer:Consumer"
# Both are about tasks that are acknowledged late: with none of them, this only keeps what is told of them out of the
# log, at each time that Redis is away.
worker_cancel_long_running_tasks_on_connection_loss = True
worker_enable_prefetch_count_reduction = False

broker_connection_retry_on_startup = True
broker_connection_max_retries = None
broker_pool_limit = 4
# For whoever listens, and for beat; doorbells are pushed by the outbox, which waits for less.
broker_transport_options = {
    "socket_timeout": 10,  # above the one second of a blocking pop
    "socket_connect_timeout": 1,
    "socket_keepalive": True,
    "health_check_interval": 10,
    "retry_on_timeout": False,
    # Redis need not remember what a worker has taken, at two transactions a doorbell: the row is what remembers.
    "ack_emulation": False,
}

# Cosmetics only: nothing that a user relies on hangs on beat.
beat_schedule = {"prune": {"task": "prune", "schedule": 3600.0, "options": {"queue": "jobs", "expires": 3000}}}
beat_schedule_filename = str(settings.CHAT_DATA_DIR / "beat-schedule")
