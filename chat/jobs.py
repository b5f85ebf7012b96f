"""Background jobs, by name: `chat` never imports the workers that do them."""

from chat import stream


def run_agent(run_id: object, session_id: object = None) -> None:
    """Ring for a session: whoever hears it claims its oldest claimable run, whatever run is named.

    Without the session's id, whoever hears it has to ask for that first.
    """
    stream.ring("run_agent", *(str(one) for one in (run_id, session_id) if one))


def summarise_session(session_id: object) -> None:
    stream.ring("summarise_session", str(session_id))


def title_session(run_id: object) -> None:
    """Name the session of a run that was answered."""
    stream.ring("title_session", str(run_id))
