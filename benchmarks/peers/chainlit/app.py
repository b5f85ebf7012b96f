"""Chainlit as its guide shows it: each message goes to an OpenAI-compatible LLM, each token to the page."""

import os

import chainlit as cl
from openai import AsyncOpenAI

client = AsyncOpenAI(base_url=os.environ["OPENAI_BASE_URL"], api_key="none")


@cl.on_message
async def answer(message: cl.Message) -> None:
    reply = cl.Message(content="")
    asked = [{"role": "user", "content": message.content}]
    stream = await client.chat.completions.create(model=os.environ["BENCH_MODEL"], messages=asked, stream=True)
    async for part in stream:
        if part.choices and (token := part.choices[0].delta.content):
            await reply.stream_token(token)
    await reply.update()
