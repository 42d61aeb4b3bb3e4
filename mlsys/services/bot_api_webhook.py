"""Webhooks of the local Bot API: each update posted to the bot's own URL, in order, until it is
taken. The bot chooses this with setWebhook, in place of asking with getUpdates.
"""

from __future__ import annotations

import asyncio

import httpx

from mlsys.services.bot_api_chats import Chats

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0


async def deliver(chats: Chats) -> None:
    """Post updates for as long as a webhook is set; runs until it is cancelled.

    An answer 2xx confirms an update. Any other, or none within 10 s, is tried again after a pause
    that doubles; its reason shows in getWebhookInfo.
    """
    pause = FIRST_PAUSE_S
    with chats.watching() as change:
        while True:
            change.clear()
            url, secret = chats.webhook["url"], chats.webhook["secret"]
            found = chats.waiting(1) if url else []
            if not found:
                await change.wait()
                continue
            if problem := await _post(url, secret, found[0]):
                chats.webhook["error"] = problem
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE_S, 2 * pause)
            else:
                chats.confirm(found[0]["update_id"] + 1)
                pause = FIRST_PAUSE_S


async def _post(url: str, secret: str | None, update: dict) -> str | None:
    """Why the update was not taken; None when it was."""
    headers = {"X-Telegram-Bot-Api-Secret-Token": secret} if secret else {}
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            answer = await client.post(url, json=update, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return str(error) or type(error).__name__
    return None if answer.is_success else f"Wrong response from the webhook: {answer.status_code}"
