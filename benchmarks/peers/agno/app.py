"""Agno's AgentOS with its durable queue: a run is a row of Postgres, its events go through Redis."""

import os

import uvicorn
from agno.agent import Agent
from agno.db.postgres import AsyncPostgresDb
from agno.job_queue.config import QueueConfig
from agno.models.openai.like import OpenAILike
from agno.os import AgentOS

db = AsyncPostgresDb(db_url=os.environ["BENCH_POSTGRES"].replace("postgres://", "postgresql+psycopg_async://"))
model = OpenAILike(id=os.environ["BENCH_MODEL"], api_key="none", base_url=os.environ["OPENAI_BASE_URL"])
agent = Agent(id="bench", name="bench", model=model, db=db, telemetry=False)
queue = QueueConfig(durable=True, redis=os.environ["REDIS_URL"], max_concurrency=100)
app = AgentOS(agents=[agent], db=db, queue=queue, telemetry=False).get_app()

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning", access_log=False)
