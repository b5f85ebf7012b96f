"""Who takes part, over HTTP."""

from uuid import uuid4

from tests.api.conftest import Caller

SESSIONS = "/api/sessions/"


async def test_an_owner_lets_people_in_changes_their_role_and_takes_them_out(ada: Caller, ben: Caller) -> None:
    session_id = await ada.new_session()
    path = f"{SESSIONS}{session_id}/members/"
    added = await ada.post(path, {"username": "ben", "role": "viewer"}, 201)
    assert set(added) == {"user_id", "username", "name", "role", "created_at"}
    assert (added["user_id"], added["role"]) == (ben.id, "viewer")
    listed = await ben.get(path)
    assert [(row["username"], row["role"]) for row in listed["results"]] == [("ada", "owner"), ("ben", "viewer")]
    assert (listed["next"], listed["previous"]) == (None, None)
    assert (await ada.post(path, {"username": "ben", "role": "member"}, 201))["role"] == "member"
    await ben.say(session_id)
    await ada.call("DELETE", f"{path}{ben.id}/", status=204)
    assert await ben.refused("GET", path) == (404, "not_found")
    assert await ada.refused("DELETE", f"{path}{ben.id}/") == (404, "not_found")


async def test_one_who_is_there_already_is_answered_the_same_again(ada: Caller, ben: Caller) -> None:
    session_id = await ada.new_session()
    path = f"{SESSIONS}{session_id}/members/"
    assert ben.user is not None
    added = await ada.post(path, {"username": "ben", "role": "member"}, 201)
    last_seq = (await ada.get(f"{SESSIONS}{session_id}/"))["last_seq"]
    assert await ada.post(path, {"username": "ben", "role": "member"}, 201) == added
    assert (await ada.post(path, {"username": "ada", "role": "owner"}, 201))["username"] == "ada"
    assert (await ada.get(f"{SESSIONS}{session_id}/"))["last_seq"] == last_seq, "nothing has changed"


async def test_a_member_may_leave_and_change_nobody_else(ada: Caller, ben: Caller, eve: Caller) -> None:
    session_id = await ada.new_session()
    path = f"{SESSIONS}{session_id}/members/"
    await ada.let_in(session_id, ben)
    assert await ben.refused("POST", path, {"username": "eve"}) == (403, "not_allowed")
    assert await ben.refused("POST", path, {"username": "ben", "role": "owner"}) == (403, "not_allowed")
    assert await ben.refused("DELETE", f"{path}{ada.id}/") == (403, "not_allowed")
    await ben.call("DELETE", f"{path}{ben.id}/", status=204)
    assert await ben.refused("GET", path) == (404, "not_found")
    assert eve.user is not None


async def test_eve_cannot_let_herself_in(ada: Caller, eve: Caller) -> None:
    session_id = await ada.new_session()
    path = f"{SESSIONS}{session_id}/members/"
    assert await eve.refused("POST", path, {"username": "eve", "role": "owner"}) == (404, "not_found")
    assert await eve.refused("DELETE", f"{path}{ada.id}/") == (404, "not_found")
    assert [row["username"] for row in (await ada.get(path))["results"]] == ["ada"]


async def test_what_cannot_be_is_refused(ada: Caller, ben: Caller) -> None:
    session_id = await ada.new_session()
    path = f"{SESSIONS}{session_id}/members/"
    assert await ada.refused("POST", path, {"username": "nobody"}) == (400, "invalid_input")
    assert await ada.refused("POST", path, {"username": "ben", "role": "king"}) == (400, "invalid_input")
    assert await ada.refused("POST", path, {"role": "member"}) == (400, "invalid_input")
    assert await ada.refused("DELETE", f"{path}{uuid4()}/") == (404, "not_found")
    assert await ada.refused("DELETE", f"{path}{ada.id}/") == (409, "conflict")
    assert await ada.refused("POST", path, {"username": "ada", "role": "viewer"}) == (409, "conflict")
    assert ben.user is not None
