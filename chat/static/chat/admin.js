// Asks again, every two seconds, for the part of a page that shows an answer in progress; not while nobody looks.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  for (const part of document.querySelectorAll("[data-chat-live]")) {
    let asking = false;
    setInterval(async () => {
      if (asking || document.hidden) return;
      asking = true;
      try {
        const answer = await fetch(part.dataset.chatLive, { redirect: "error" });
        if (answer.ok) part.innerHTML = await answer.text(); // our own template, which escapes what people wrote
      } catch {
        // the server restarts, or one is signed out: what is shown stays
      } finally {
        asking = false;
      }
    }, 2000);
  }
});
