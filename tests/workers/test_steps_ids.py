"""The ids and names of calls are given back so that any LLM's wire takes them, and any database."""

import re
from typing import Any

from tests.inside import Talk
from tests.workers.acting import Deeds, answer, calls, resumed, start, yes
from tests.workers.process import LedLLM, over, until_asked, until_row
from workers.llm.base import Called, Returned
from workers.runtime import Runtime


async def test_two_calls_of_one_id_and_a_name_that_is_none_are_given_back_so_that_any_llm_takes_them(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any
) -> None:
    await start(talk, runtime)
    llm.call("look", "c", number=1)
    llm.call("look", "c", number=2)
    llm.call("dé jà!" * 20, "", number=3)
    llm.end()
    await until_asked(llm, 2)
    turn = llm.prompts[1].talk[-4]
    assert isinstance(turn, Called)
    ids = [call.call_id for call in turn.calls]
    assert len(set(ids)) == 3 and all(ids)
    assert ids == [line.call_id for line in llm.prompts[1].talk[-3:] if isinstance(line, Returned)]
    assert turn.calls[2].tool.isascii() and len(turn.calls[2].tool) == 64


async def test_ids_that_no_wire_or_database_takes_are_replaced_and_none_comes_twice_in_a_run(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any
) -> None:
    run = await start(talk, runtime)
    given = ["c-2", "c", "c", "a\0b", "half \ud83d", "functions.look:0", "x" * 41, "a\n"]
    for step in (1, 2):
        for index, call_id in enumerate(given):
            llm.call("look", call_id, number=index + 1)
        llm.end()
        await until_asked(llm, step + 1)
    ids = [call.call_id for line in llm.prompts[-1].talk if isinstance(line, Called) for call in line.calls]
    assert ids[:2] == ["c-2", "c"] and len(set(ids)) == 2 * len(given)
    assert all(re.fullmatch("[a-zA-Z0-9_-]{1,40}", one) for one in ids)
    llm.say("Done.")
    llm.end()
    await over(runtime)
    await until_row(run, status="succeeded")


async def test_an_id_is_given_once_in_a_run_also_after_a_restart(
    talk: Talk, runtime: Runtime, llm: LedLLM, deeds: Deeds, redis: Any
) -> None:
    run = await start(talk, runtime)
    for number in (1, 2):
        llm.call("send", "c", number=number)
        llm.end()
        await over(runtime)
        await answer(talk, run, yes())
        await resumed(talk, runtime)
    await until_asked(llm, 3)
    first, second = await calls(run)
    assert first.call_id == "c" != second.call_id
    llm.end()
