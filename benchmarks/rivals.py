"""Starts the peers: each with its own environment, and the same LLM as ours."""

from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.peers import environment
from tests.processes import Process, free_port

PEERS = Path(__file__).parent / "peers"


def chainlit(bench: Bench, llm_url: str, model: str) -> tuple[str, Process]:
    """Start Chainlit. Gives its URL and its process."""
    python, port = environment.python("chainlit"), free_port()
    root = bench.folder / f"chainlit-{port}"
    root.mkdir()
    command: list[str | Path] = [
        python.parent / "chainlit",
        "run",
        PEERS / "chainlit" / "app.py",
        "--headless",
        "--port",
        str(port),
    ]
    env = {"OPENAI_BASE_URL": llm_url, "BENCH_MODEL": model, "CHAINLIT_APP_ROOT": str(root)}
    return f"http://127.0.0.1:{port}", bench.start("chainlit", command, port, env)


def agno(bench: Bench, llm_url: str, model: str) -> tuple[str, Process]:
    """Start Agno with its durable queue, on a Postgres and a Redis. Gives its URL and its process."""
    python, port = environment.python("agno"), free_port()
    env = {"OPENAI_BASE_URL": llm_url, "BENCH_MODEL": model, "PORT": str(port), "AGNO_TELEMETRY": "false"}
    env |= {"BENCH_POSTGRES": bench.workshop.postgres.create(), "REDIS_URL": bench.redis("agno").url}
    return f"http://127.0.0.1:{port}", bench.start("agno", [python, PEERS / "agno" / "app.py"], port, env)


def prepare() -> None:
    """Install every peer. Raises Missing."""
    environment.python("chainlit")
    environment.python("agno")
    environment.node_modules("socketio")
